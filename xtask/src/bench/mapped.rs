//! Arrays of a BPF program, mapped into this process.

use std::{num::NonZeroUsize, os::fd::AsFd as _, ptr::NonNull};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{Ebpf, maps::Map};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The elements of an array map with `BPF_F_MMAPABLE`. Programs change them at any time.
pub struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: elements are plain integers, read and written as volatile.
unsafe impl<T: Copy + Send> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Sync for Mapped<T> {}

impl<T: Copy> Mapped<T> {
    /// Maps the array `name`, whose elements are `T`: a structure of integers without padding.
    ///
    /// # Errors
    /// There is none, or its elements have another size.
    pub fn new(ebpf: &Ebpf, name: &str) -> Result<Self> {
        let Some(Map::Array(map)) = ebpf.map(name) else { bail!("the programs have no {name}") };
        let info = map.info()?;
        ensure!(info.value_size() as usize == size_of::<T>(), "{name} has other elements");
        let len = info.max_entries() as usize;
        let bytes = NonZeroUsize::new(len * size_of::<T>()).context("an empty map")?;
        // SAFETY: a new mapping.
        let start = unsafe {
            let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            mmap(None, bytes, protection, MapFlags::MAP_SHARED, map.fd().as_fd(), 0)
        }
        .with_context(|| format!("cannot map {name}"))?;
        Ok(Self { start: start.cast(), len })
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The element as it is now.
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.len);
        // SAFETY: within the mapping, which is aligned for any element.
        unsafe { self.start.add(index).read_volatile() }
    }

    /// Changes the element.
    pub fn set(&self, index: usize, value: T) {
        assert!(index < self.len);
        // SAFETY: as above.
        unsafe { self.start.add(index).write_volatile(value) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, of which no reference is left.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<T>()) };
    }
}
