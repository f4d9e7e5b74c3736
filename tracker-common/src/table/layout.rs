//! The bytes of the table. Every size here is part of the ABI between kernel and daemon.

use core::{marker::PhantomData, ptr::NonNull};

use crate::{
    family::Family,
    id::InfoHash,
    sync::{Word32, Word64},
    verifier::bounded,
};

/// Lines in a bucket of the index.
pub(crate) const BUCKET_LINES: u32 = 4;

/// A bucket of IPv4 torrents: four lines of 64 bytes.
#[repr(C, align(64))]
pub struct BucketV4(pub(crate) [u8; 256]);

/// A bucket of IPv6 torrents: four lines of 128 bytes.
#[repr(C, align(128))]
pub struct BucketV6(pub(crate) [u8; 512]);

/// Bytes in the unit by which blocks are addressed and allocated.
pub(crate) const UNIT_BYTES: usize = 64;

/// Units in a chunk, the largest block.
pub(crate) const CHUNK_UNITS: u32 = 16;

/// A piece of the block arena, and the largest block: 1 KiB, so that it never straddles a page.
#[repr(C, align(1024))]
pub struct Chunk(pub(crate) [u8; 1024]);

/// Bytes of a line before its body.
const HEAD_BYTES: usize = 24;

/// Bytes of a line.
pub(crate) const fn line_bytes<F: Family>() -> usize {
    if F::IS_V6 { 128 } else { 64 }
}

/// The first bytes of every line.
#[repr(C)]
pub(crate) struct LineHead {
    pub info_hash: [u32; 5],
    pub meta: Word32,
}

/// The body of a line whose peers are elsewhere.
#[repr(C)]
pub(crate) struct Outgrown {
    pub seeders: Word32,
    pub leechers: Word32,
    pub completed: Word32,
    /// The block, or the directory of blocks.
    pub root: Word32,
}

const _: () = {
    assert!(size_of::<LineHead>() == HEAD_BYTES);
    assert!(HEAD_BYTES + size_of::<Outgrown>() <= 64);
    assert!(HEAD_BYTES + 5 * 8 == 64);
    assert!(HEAD_BYTES + 4 * (8 + 16) <= 128);
};

/// One torrent of one address family: a line of the index.
#[derive(Clone, Copy)]
pub struct Line<F> {
    /// Nothing but a pointer, so that a line that was not found is a null one: the verifier refuses
    /// what LLVM leaves undefined.
    ptr: NonNull<u8>,
    family: PhantomData<F>,
}

impl<F: Family> Line<F> {
    /// The line with this number: four to a bucket.
    #[inline(always)]
    pub fn at<M: Memory>(memory: &M, number: u32) -> Option<Self> {
        let bucket = memory.bucket::<F>(number / BUCKET_LINES)?;
        let offset = bounded::<{ BUCKET_LINES - 1 }>(number) * line_bytes::<F>();
        // SAFETY: a bucket is four lines, and not at address 0.
        let ptr = unsafe { NonNull::new_unchecked(bucket.add(offset)) };
        Some(Self { ptr, family: PhantomData })
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &LineHead {
        // SAFETY: a line begins with its head, and stays mapped while the table is in use.
        unsafe { &*self.ptr.as_ptr().cast::<LineHead>() }
    }

    #[inline(always)]
    pub(crate) fn body(&self) -> *mut u8 {
        // SAFETY: a line is longer than its head.
        unsafe { self.ptr.as_ptr().add(HEAD_BYTES) }
    }

    /// Only meaningful when the form is not [`Form::Inline`].
    #[inline(always)]
    pub(crate) fn outgrown(&self) -> &Outgrown {
        // SAFETY: four words fit into the body of either family's line.
        unsafe { &*self.body().cast::<Outgrown>() }
    }

    #[inline(always)]
    pub(crate) fn meta(&self) -> Meta {
        Meta(self.head().meta.load())
    }

    /// Whether the peers are in blocks, not in the line.
    #[inline(always)]
    #[must_use]
    pub fn is_outgrown(&self) -> bool {
        matches!(self.meta().form(), Form::Block | Form::Directory)
    }

    /// What the kernel does with this torrent.
    #[inline(always)]
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.meta().gate()
    }

    /// Changes the meta word, whatever others do to it meanwhile.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn update_meta(&self, change: impl Fn(Meta) -> Meta) {
        loop {
            let old = self.meta();
            if self.head().meta.replace(old.0, change(old).0) {
                return;
            }
        }
    }

    /// Names the torrent of a vacant line, before its meta word is published.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn set_info_hash(&self, info_hash: &InfoHash) {
        // SAFETY: a line begins with its info-hash, and nobody reads that of a vacant one.
        unsafe { self.ptr.as_ptr().copy_from_nonoverlapping(info_hash.0.as_ptr(), 20) };
    }

    /// Makes the line vacant. The caller knows that nobody can still be using it.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn clear(&self) {
        self.head().meta.store(Meta::VACANT.0);
        // SAFETY: the body ends where the line does.
        unsafe { self.body().write_bytes(0, line_bytes::<F>() - HEAD_BYTES) };
    }

    #[inline(always)]
    pub(crate) fn holds(&self, info_hash: &InfoHash) -> bool {
        let ours = self.head() as *const LineHead as *const u64;
        let theirs = info_hash.0.as_ptr().cast::<u64>();
        // SAFETY: both are 20 readable bytes; ours are aligned to 8, theirs may not be.
        unsafe {
            let difference = (ours.read() ^ theirs.read_unaligned())
                | (ours.add(1).read() ^ theirs.add(1).read_unaligned())
                | (ours.add(2).cast::<u32>().read() ^ theirs.add(2).cast::<u32>().read_unaligned())
                    as u64;
            difference == 0 && self.meta().form() != Form::Vacant
        }
    }
}

/// How a torrent's peers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// There is no torrent in this line.
    Vacant,
    /// In the line itself.
    Inline,
    /// In one block.
    Block,
    /// In many blocks of a chunk each, found through a directory.
    Directory,
}

/// What the kernel does with a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// Answers.
    Open,
    /// Passes every announce to the daemon: a hook must see it.
    Pass,
    /// Refuses: the torrent is not approved.
    Refuse,
}

/// The state of a torrent in 32 bits:
/// `completed:21 | depth:5 | listed:1 | gate:2 | frozen:1 | form:2`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta(pub u32);

impl Meta {
    pub(crate) const VACANT: Self = Self(0);
    const FROZEN: u32 = 1 << 2;
    const GATE_SHIFT: u32 = 3;
    const LISTED: u32 = 1 << 5;
    const DEPTH_SHIFT: u32 = 6;
    const DEPTH_MASK: u32 = 0x1f;
    const COMPLETED_SHIFT: u32 = 11;
    /// One completed download, as an addend of the whole word.
    pub(crate) const COMPLETED_ONE: u32 = 1 << Self::COMPLETED_SHIFT;
    /// An inline torrent counts no further (an outgrown one has 32 bits). Short of the field's
    /// limit by more than can be added concurrently.
    pub(crate) const COMPLETED_MAX: u32 = (1 << 21) - 1024;

    #[inline(always)]
    pub(crate) fn form(self) -> Form {
        match self.0 & 3 {
            0 => Form::Vacant,
            1 => Form::Inline,
            2 => Form::Block,
            _ => Form::Directory,
        }
    }

    /// The daemon is moving the torrent's peers: nobody else may read or change them.
    #[inline(always)]
    pub(crate) fn is_frozen(self) -> bool {
        self.0 & Self::FROZEN != 0
    }

    #[inline(always)]
    pub(crate) fn gate(self) -> Gate {
        match self.0 >> Self::GATE_SHIFT & 3 {
            0 => Gate::Open,
            1 => Gate::Pass,
            _ => Gate::Refuse,
        }
    }

    /// On a list: kept even without peers.
    #[inline(always)]
    pub(crate) fn is_listed(self) -> bool {
        self.0 & Self::LISTED != 0
    }

    /// The block's size class, or the binary logarithm of the directory's length.
    #[inline(always)]
    pub(crate) fn depth(self) -> u32 {
        self.0 >> Self::DEPTH_SHIFT & Self::DEPTH_MASK
    }

    /// Completed downloads of an inline torrent.
    #[inline(always)]
    pub(crate) fn completed(self) -> u32 {
        self.0 >> Self::COMPLETED_SHIFT
    }

    pub(crate) const fn with_form(self, form: Form, depth: u32) -> Self {
        let form = match form {
            Form::Vacant => 0,
            Form::Inline => 1,
            Form::Block => 2,
            Form::Directory => 3,
        };
        Self(
            self.0 & !(3 | Self::DEPTH_MASK << Self::DEPTH_SHIFT)
                | form
                | depth << Self::DEPTH_SHIFT,
        )
    }

    pub(crate) const fn with_frozen(self, frozen: bool) -> Self {
        Self(if frozen { self.0 | Self::FROZEN } else { self.0 & !Self::FROZEN })
    }

    pub(crate) const fn with_gate(self, gate: Gate, listed: bool) -> Self {
        let gate = match gate {
            Gate::Open => 0,
            Gate::Pass => 1,
            Gate::Refuse => 2,
        };
        let rest = self.0 & !(3 << Self::GATE_SHIFT | Self::LISTED);
        Self(rest | gate << Self::GATE_SHIFT | if listed { Self::LISTED } else { 0 })
    }

    pub(crate) const fn with_completed(self, completed: u32) -> Self {
        Self(self.0 & (Self::COMPLETED_ONE - 1) | completed << Self::COMPLETED_SHIFT)
    }
}

/// Where a block or directory begins in the arena, in units of 64 bytes. Blocks are aligned to
/// their own size. Chunk 0 is never allocated, so 0 is no reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct BlockRef(pub u32);

impl BlockRef {
    #[inline(always)]
    pub(crate) fn chunk(self) -> u32 {
        self.0 / CHUNK_UNITS
    }

    #[inline(always)]
    pub(crate) fn unit_in_chunk(self) -> u32 {
        self.0 % CHUNK_UNITS
    }
}

/// The largest block's size class: 2^4 units, a chunk.
pub(crate) const CLASS_MAX: u32 = 4;

/// The deepest directory: 65,536 blocks, five million IPv4 peers.
pub(crate) const DEPTH_MAX: u32 = 16;

/// The size class that an outgrown line moves to first.
pub(crate) const fn class_min<F: Family>() -> u32 {
    if F::IS_V6 { 2 } else { 1 }
}

/// Peers that a block of this size class holds.
#[inline(always)]
pub(crate) const fn block_capacity<F: Family>(class: u32) -> u32 {
    ((UNIT_BYTES as u32) << class) / (8 + F::SIDE_BYTES as u32)
}

/// One of the two kinds of memory that a table lives in.
///
/// The kernel's is BPF maps, the daemon's a mapping of them, or plain memory.
pub trait Memory {
    /// The bucket of the family's index at `index`, or `None` past the end.
    fn bucket<F: Family>(&self, index: u32) -> Option<*mut u8>;

    /// The chunk of the block arena at `index`, or `None` past the end.
    fn chunk(&self, index: u32) -> Option<*mut u8>;
}

/// A word in a block or line.
///
/// # Safety
/// `ptr` points to eight aligned bytes of a table.
#[inline(always)]
pub(crate) unsafe fn word<'a>(ptr: *mut u8) -> &'a Word64 {
    // SAFETY: the caller's promise; all bit patterns are valid.
    unsafe { &*ptr.cast::<Word64>() }
}
