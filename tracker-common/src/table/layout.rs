//! The bytes of the table. Every size here is part of the ABI between kernel and daemon.

use core::{marker::PhantomData, ptr::NonNull};

use super::{peer_set::PeerSets, peer_slots::PeerSlots};
use crate::{
    family::Family,
    id::InfoHash,
    limit::Meter,
    sync::{Word32, Word64},
    verifier::{BranchlessBool, assert_within, bounded},
};

/// Entries in a bucket of the index.
pub(crate) const BUCKET_ENTRIES: u32 = 4;

/// A bucket of IPv4 torrents: four entries of 64 bytes.
#[repr(C, align(64))]
pub struct BucketV4(pub(crate) [u8; 256]);

/// A bucket of IPv6 torrents: four entries of 128 bytes.
#[repr(C, align(128))]
pub struct BucketV6(pub(crate) [u8; 512]);

/// Bytes in the unit by which leaves and directories are addressed and allocated.
pub(crate) const UNIT_BYTES: usize = 64;

/// Units in a chunk, the largest leaf.
pub(crate) const CHUNK_UNITS: u32 = 16;

/// The most chunks of an arena: 64 GiB, and the first, in which no leaf is.
pub const CHUNKS_MAX: u32 = (64 << 20) + 1;

/// A piece of the arena that leaves and directories are in: 1 KiB, so that no leaf straddles a page.
#[repr(C, align(1024))]
pub struct Chunk(pub(crate) [u8; 1024]);

/// Bytes of an entry before its body.
const HEAD_BYTES: usize = 24;

/// Bytes of an entry.
pub(crate) const fn entry_bytes<F: Family>() -> usize {
    if F::IS_V6 { 128 } else { 64 }
}

/// The first bytes of every entry.
#[repr(C)]
pub(crate) struct EntryHead {
    /// The first 16 bytes of the info-hash.
    pub hash: [Word64; 2],
    /// The last four.
    pub hash_end: Word32,
    pub meta: Word32,
}

const _: () = {
    assert!(size_of::<EntryHead>() == HEAD_BYTES);
    assert!(HEAD_BYTES + size_of::<PeerSets>() <= 64);
    assert!(HEAD_BYTES + 5 * 8 == 64);
    // A reference counts units in 32 bits.
    assert!(CHUNKS_MAX < u32::MAX / CHUNK_UNITS);
    assert!(HEAD_BYTES + 4 * (8 + 16) <= 128);
};

/// The four entries of a bucket, borrowed from their memory.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a, F> {
    first: Entry<'a, F>,
}

impl<'a, F: Family> Entries<'a, F> {
    /// Those of the bucket at `index`, or `None` past the end.
    #[inline(always)]
    pub(crate) fn of<M: Memory>(memory: &'a M, index: u32) -> Option<Self> {
        let ptr = memory.bucket::<F>(index)?;
        Some(Self { first: Entry { ptr, memory: PhantomData } })
    }

    /// The entry in a slot, which is below [`BUCKET_ENTRIES`].
    #[inline(always)]
    pub(crate) fn entry(&self, slot: usize) -> Entry<'a, F> {
        assert_within::<{ BUCKET_ENTRIES as usize }>(slot);
        // SAFETY: a bucket is four entries.
        let ptr = unsafe { self.first.ptr.add(slot * entry_bytes::<F>()) };
        Entry { ptr, memory: PhantomData }
    }
}

/// One torrent of one address family: an entry of the index, borrowed from its memory, which it cannot outlive:
///
/// ```compile_fail,E0505
/// use tracker_common::{family::V4, table::layout::{Entry, Memory}};
///
/// fn give_back(memory: impl Memory) -> bool {
///     let entry = Entry::<V4>::at(&memory, 0);
///     drop(memory);
///     entry.is_some_and(|entry| entry.is_spilled())
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Entry<'a, F> {
    /// Nothing but a pointer, so that an entry that was not found is a null one: the verifier refuses
    /// what LLVM leaves undefined.
    ptr: NonNull<u8>,
    memory: PhantomData<(&'a Word64, F)>,
}

impl<'a, F: Family> Entry<'a, F> {
    /// The entry with this number: four to a bucket.
    #[inline(always)]
    pub fn at<M: Memory>(memory: &'a M, number: u32) -> Option<Self> {
        let entries = Entries::of(memory, number / BUCKET_ENTRIES)?;
        Some(entries.entry(bounded::<{ BUCKET_ENTRIES - 1 }>(number)))
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> &'a EntryHead {
        // SAFETY: an entry begins with its head, is in its memory for `'a`, and changes by words only.
        unsafe { self.ptr.cast::<EntryHead>().as_ref() }
    }

    #[inline(always)]
    fn body(&self) -> NonNull<u8> {
        // SAFETY: an entry is longer than its head.
        unsafe { self.ptr.add(HEAD_BYTES) }
    }

    /// The slots in the entry: `N` is the family's [`Family::INLINE_PEERS`]. Only meaningful when
    /// the form is [`Form::Inline`].
    #[inline(always)]
    pub(crate) fn peer_slots<const N: usize>(&self) -> PeerSlots<'a, F, N> {
        assert!(N == F::INLINE_PEERS as usize);
        // SAFETY: the body has room for so many slots, and is in its memory for `'a`.
        unsafe { PeerSlots::new(self.body()) }
    }

    /// Only meaningful when the form is [`Form::Spilled`].
    #[inline(always)]
    pub(crate) fn sets(&self) -> &'a PeerSets {
        // SAFETY: they fit into the body of either family's entry, which is aligned to 8 and in its memory for `'a`.
        unsafe { self.body().cast::<PeerSets>().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn meta(&self) -> Meta {
        Meta(self.head().meta.load())
    }

    /// Whether the peers are in leaves, not in the entry.
    #[inline(always)]
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.meta().form() == Form::Spilled
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

    /// Names the torrent of a vacant entry, before its meta word is published.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn set_info_hash(&self, info_hash: &InfoHash) {
        let HashWords([first, second, end]) = HashWords::new(info_hash);
        let head = self.head();
        head.hash[0].put(first);
        head.hash[1].put(second);
        head.hash_end.put(end as u32);
    }

    /// The info-hash of an entry that is not vacant, in words.
    #[inline(always)]
    pub(crate) fn hash_words(&self) -> [u64; 3] {
        let head = self.head();
        [head.hash[0].load(), head.hash[1].load(), head.hash_end.load() as u64]
    }

    /// The info-hash of an entry that is not vacant.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn info_hash(&self) -> InfoHash {
        let words = self.hash_words();
        let mut info_hash = InfoHash([0; 20]);
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
        info_hash.0.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        info_hash
    }

    /// Takes the torrent out of an entry, which is frozen. The kernel may still find it there and look at
    /// the meta word again, so no other torrent may have the entry before a grace period has passed.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn retire(&self) {
        self.head().meta.store(Meta::RETIRED.0);
        self.clear_body();
    }

    /// After that grace period, or where there is no kernel: another torrent may have the entry.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn release(&self) {
        if self.meta() == Meta::RETIRED {
            self.head().meta.store(Meta::VACANT.0);
        }
    }

    /// Makes all slots vacant, under the same condition.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn clear_body(&self) {
        self.body_words().iter().for_each(|word| word.put(0));
    }

    /// Makes all slots of a vacant entry vacant, and touches no memory where they are.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn clear_stale_body(&self) {
        if self.body_words().iter().any(|word| word.load() != 0) {
            self.clear_body();
        }
    }

    /// The body as words, whatever they mean.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn body_words(&self) -> &'a [Word64] {
        let words = (entry_bytes::<F>() - HEAD_BYTES) / 8;
        // SAFETY: the body is aligned to 8, ends where the entry does, and is in its memory for `'a`.
        unsafe { core::slice::from_raw_parts(self.body().as_ptr().cast(), words) }
    }

    /// Copies the body of another entry, under the same condition for both.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn copy_body(&self, other: &Self) {
        let words = self.body_words().iter().zip(other.body_words());
        words.for_each(|(to, from)| to.put(from.load()));
    }

    /// Whether this may be the entry of a torrent: whether the last four bytes of the info-hash are the same.
    #[inline(always)]
    pub(crate) fn resembles(&self, info_hash: &InfoHash) -> BranchlessBool {
        let difference = self.head().hash_end.load() ^ info_hash.end();
        BranchlessBool::less(difference as u64, 1)
    }

    /// Whether this is the entry of a torrent.
    #[inline(always)]
    pub(crate) fn is_of(&self, wanted: &HashWords) -> BranchlessBool {
        let head = self.head();
        // First, for the info-hash of a vacant entry may be another one a moment later.
        let vacant = BranchlessBool::less(u64::from(head.meta.load()) & Meta::FORM, 1);
        let [first, second] = [head.hash[0].load(), head.hash[1].load()];
        let third = head.hash_end.load() as u64;
        let difference = (first ^ wanted.0[0]) | (second ^ wanted.0[1]) | (third ^ wanted.0[2]);
        BranchlessBool::is_zero(difference).and(vacant.not())
    }
}

/// An info-hash as words, to be compared with those of entries.
pub(crate) struct HashWords([u64; 3]);

impl HashWords {
    #[inline(always)]
    pub(crate) fn new(info_hash: &InfoHash) -> Self {
        let from = info_hash.0.as_ptr().cast::<u64>();
        // SAFETY: 20 readable bytes, of any alignment.
        unsafe {
            Self([from.read_unaligned(), from.add(1).read_unaligned(), info_hash.end() as u64])
        }
    }
}

/// How a torrent's peers are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// There is no torrent in this entry.
    Vacant,
    /// In the entry itself.
    Inline,
    /// In leaves, seeders and leechers apart.
    Spilled,
}

/// What the kernel does with a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Gate {
    /// Answers.
    Open = 0,
    /// Passes every announce to the daemon: a hook must see it.
    Pass = 1,
    /// Refuses: the torrent is not approved.
    Refuse = 2,
}

impl Gate {
    /// The gate of a number; any that is none refuses.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Open,
            1 => Self::Pass,
            _ => Self::Refuse,
        }
    }
}

/// The state of a torrent in 32 bits: `completed:26 | listed:1 | gate:2 | frozen:1 | form:2`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta(pub u32);

impl Meta {
    const FORM: u64 = 3;
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const VACANT: Self = Self(0);
    /// Vacant, but frozen still.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const RETIRED: Self = Self(Self::FROZEN);
    const FROZEN: u32 = 1 << 2;
    const GATE_SHIFT: u32 = 3;
    #[cfg(not(target_arch = "bpf"))]
    const LISTED: u32 = 1 << 5;
    const COMPLETED_SHIFT: u32 = 6;
    /// One completed download, as an addend of the whole word.
    pub(crate) const COMPLETED_ONE: u32 = 1 << Self::COMPLETED_SHIFT;
    /// A torrent counts no further. Short of the field's limit by more than can be added
    /// concurrently.
    pub(crate) const COMPLETED_MAX: u32 = (1 << 26) - 1024;

    #[inline(always)]
    pub(crate) fn form(self) -> Form {
        match self.0 & 3 {
            0 => Form::Vacant,
            1 => Form::Inline,
            _ => Form::Spilled,
        }
    }

    /// The daemon is moving the torrent's peers: nobody else may read or change them.
    #[inline(always)]
    pub(crate) fn is_frozen(self) -> bool {
        self.0 & Self::FROZEN != 0
    }

    #[inline(always)]
    pub(crate) fn gate(self) -> Gate {
        Gate::from_number(self.0 >> Self::GATE_SHIFT & 3)
    }

    /// On a list: kept even without peers.
    #[cfg(not(target_arch = "bpf"))]
    #[inline(always)]
    pub(crate) fn is_listed(self) -> bool {
        self.0 & Self::LISTED != 0
    }

    /// Completed downloads.
    #[inline(always)]
    pub(crate) fn completed(self) -> u32 {
        self.0 >> Self::COMPLETED_SHIFT
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn with_completed(self, completed: u32) -> Self {
        let max = Self::COMPLETED_MAX;
        let completed = if completed > max { max } else { completed };
        Self(self.0 & (Self::COMPLETED_ONE - 1) | completed << Self::COMPLETED_SHIFT)
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn with_form(self, form: Form) -> Self {
        let form = match form {
            Form::Vacant => 0,
            Form::Inline => 1,
            Form::Spilled => 2,
        };
        Self(self.0 & !3 | form)
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn with_frozen(self, frozen: bool) -> Self {
        Self(if frozen { self.0 | Self::FROZEN } else { self.0 & !Self::FROZEN })
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn with_gate(self, gate: Gate, listed: bool) -> Self {
        let rest = self.0 & !(3 << Self::GATE_SHIFT | Self::LISTED);
        Self(rest | (gate as u32) << Self::GATE_SHIFT | if listed { Self::LISTED } else { 0 })
    }
}

/// The memory that a table lives in: in the kernel BPF maps, in the daemon a mapping of them or plain memory.
///
/// The table's own code, which is safe to call, reads and writes at the pointers that it gets from here.
///
/// # Safety
/// Of each pointer that is returned for an index, for as long as the borrow of `self` lives that it was asked for with:
///
/// * **Size.** All bytes are in one allocation that can be read and written: 256 for a bucket of IPv4
///   ([`BucketV4`]), 512 for one of IPv6 ([`BucketV6`]), 1024 for a chunk ([`Chunk`]).
/// * **Alignment.** It is aligned to 8, for the words in it. The alignments of those types are wider, so that
///   the processor loads one cache line for an entry; nothing but speed depends on that.
/// * **Lifetime.** The bytes stay where they are, and the same index leads to them each time, whatever else is
///   asked for meanwhile and by however many threads.
/// * **No overlap.** The bytes of different buckets and chunks, and the meters, are different ones.
/// * **Aliasing.** All references to any of the bytes are to [`Word32`], [`Word64`] or cells, which may change
///   while they are borrowed. All access is by atomics or by aligned loads and stores of one word; that holds for
///   the XDP program on every processor, and for all processes that map the same memory.
/// * **Contents.** The bytes are initialized. Which values they have is no matter of safety: every number in the
///   table is checked or masked before it becomes an address, whether a damaged process or another program wrote it.
///   A *new* table is right only in bytes that are zero, as BPF arrays and anonymous pages are at first.
///
/// Without these promises there is no implementation:
///
/// ```compile_fail,E0200
/// use std::ptr::NonNull;
/// use tracker_common::{family::Family, table::layout::Memory};
///
/// struct Dangling;
///
/// impl Memory for Dangling {
///     fn bucket<F: Family>(&self, _: u32) -> Option<NonNull<u8>> {
///         Some(NonNull::dangling())
///     }
///
///     fn chunk(&self, _: u32) -> Option<NonNull<u8>> {
///         None
///     }
/// }
/// ```
pub unsafe trait Memory {
    /// The bucket of the family's index at `index`, or `None` past the end.
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>>;

    /// The chunk of the arena at `index`, or `None` past the end.
    fn chunk(&self, index: u32) -> Option<NonNull<u8>>;

    /// The meter at `index` of those that [budgets](crate::budget) are kept with, or `None` past the end. Memory
    /// without any has no budgets.
    #[inline(always)]
    fn meter(&self, _index: u32) -> Option<&Meter> {
        None
    }
}
