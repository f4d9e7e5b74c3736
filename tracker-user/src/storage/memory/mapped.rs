//! The table's bytes: pages of this process alone, or of BPF maps that the kernel uses too.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
};

use tracker_common::{family::Family, limit::Meter, table::layout::Memory};

use super::TableSize;

/// Four mapped regions: the buckets of both families, the chunks, and the meters of sources.
#[derive(Debug)]
pub struct MappedMemory {
    v4: Region,
    v6: Region,
    chunks: Region,
    meters: Region,
}

impl MappedMemory {
    /// Zeroed pages of this process; the system provides them when they are first touched.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn anonymous(size: &TableSize) -> io::Result<Self> {
        Ok(Self {
            v4: Region::map(size.buckets_v4, TableSize::BUCKET_V4_BYTES, None)?,
            v6: Region::map(size.buckets_v6, TableSize::BUCKET_V6_BYTES, None)?,
            chunks: Region::map(size.chunks, TableSize::CHUNK_BYTES, None)?,
            meters: Region::map(size.meters(), TableSize::METER_BYTES, None)?,
        })
    }

    /// The values of four BPF arrays made with `BPF_F_MMAPABLE`, each of as many entries as `size`
    /// says. They stay mapped when the files are closed.
    ///
    /// # Errors
    /// When one cannot be mapped.
    pub fn of_maps(
        size: &TableSize,
        v4: BorrowedFd<'_>,
        v6: BorrowedFd<'_>,
        chunks: BorrowedFd<'_>,
        meters: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        Ok(Self {
            v4: Region::map(size.buckets_v4, TableSize::BUCKET_V4_BYTES, Some(v4))?,
            v6: Region::map(size.buckets_v6, TableSize::BUCKET_V6_BYTES, Some(v6))?,
            chunks: Region::map(size.chunks, TableSize::CHUNK_BYTES, Some(chunks))?,
            meters: Region::map(size.meters(), TableSize::METER_BYTES, Some(meters))?,
        })
    }
}

// SAFETY: each pointer is into a region, which is mapped readable and writable, at one place, for as long as this
// lives, and has whole items only, of the sizes that the table's have; it begins at a page, so all are aligned.
// Regions do not overlap. The pages are zeroed at first; the table changes them by its words only, here and in
// other processes, and so does the XDP program. What those do wrong they do to themselves: any contents will do.
unsafe impl Memory for MappedMemory {
    #[inline]
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        if F::IS_V6 {
            self.v6.item::<{ TableSize::BUCKET_V6_BYTES }>(index)
        } else {
            self.v4.item::<{ TableSize::BUCKET_V4_BYTES }>(index)
        }
    }

    #[inline]
    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        self.chunks.item::<{ TableSize::CHUNK_BYTES }>(index)
    }

    #[inline]
    fn meter(&self, index: u32) -> Option<&Meter> {
        const { assert!(size_of::<Meter>() == TableSize::METER_BYTES) };
        let meter = self.meters.item::<{ TableSize::METER_BYTES }>(index)?;
        // SAFETY: an aligned word within the region, which is changed by atomics only; any value is valid.
        Some(unsafe { meter.cast().as_ref() })
    }
}

/// Pages that are mapped for as long as this lives.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a region is an address range, not tied to the thread that mapped it; those who write to
// it do so through atomics.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `count` items of `item_bytes` each, from the beginning of `file` or else zeroed.
    pub(crate) fn map(
        count: u32,
        item_bytes: usize,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<Self> {
        let bytes = count as usize * item_bytes;
        let (flags, fd) = match file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the system's choice affects nobody.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, bytes })
    }

    #[inline]
    pub(crate) fn item<const BYTES: usize>(&self, index: u32) -> Option<NonNull<u8>> {
        let offset = index as usize * BYTES;
        // SAFETY: the offset lies within the region.
        (offset < self.bytes).then(|| unsafe { self.start.add(offset) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: what refers to the region is borrowed from the memory that it is part of, which nothing borrows
        // any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TableConfig;
    use bytesize::ByteSize;
    use tracker_common::{
        family::{V4, V6},
        table::layout::CHUNKS_MAX,
    };

    #[test]
    fn sixty_four_gibibytes_of_blocks_are_mapped_without_being_taken() {
        let config = TableConfig { blocks: ByteSize::gib(64), ..TableConfig::default() };
        let size = TableSize::of(&config);
        assert_eq!(size.chunks, CHUNKS_MAX);
        let memory = MappedMemory::anonymous(&size).unwrap();
        let chunk = |index| memory.chunk(index).unwrap();
        assert_eq!(chunk(CHUNKS_MAX - 1).addr().get() - chunk(0).addr().get(), 64 << 30);
        assert!(memory.chunk(CHUNKS_MAX).is_none());
        for index in [0, 4 << 20, CHUNKS_MAX - 1] {
            // SAFETY: it is within the mapping, and nobody else's.
            unsafe { chunk(index).write(1) };
        }
    }

    #[test]
    fn there_is_nothing_past_the_end() {
        let size = TableSize {
            buckets_v4: 3,
            buckets_v6: 2,
            chunks: 5,
            torrents_max: [12, 8],
            subnet: Default::default(),
            meters_of_row: 1,
        };
        let memory = MappedMemory::anonymous(&size).unwrap();
        let exists = |item: Option<_>| item.is_some();
        assert!(exists(memory.bucket::<V4>(2)) && !exists(memory.bucket::<V4>(3)));
        assert!(exists(memory.bucket::<V6>(1)) && !exists(memory.bucket::<V6>(2)));
        assert!(exists(memory.chunk(4)) && !exists(memory.chunk(5)));
    }
}
