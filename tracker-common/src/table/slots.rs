//! A run of peer slots: in a line, or in a block.
//!
//! All words come first, then (IPv6) all addresses, so that a search reads words only.

use core::marker::PhantomData;

use super::{
    Miss,
    layout::{BlockRef, block_capacity, word},
    word::{PeerKey, PeerWord},
};
use crate::{
    family::Family,
    peers::Cursor,
    sync::Word64,
    time::Clock,
    verifier::{Veil, bounded, less},
};

/// Access to a run of slots. Indices are below [`Slots::capacity`]; the kernel's verifier is
/// convinced by each implementation in its own way.
pub(crate) trait Slots<F: Family> {
    /// The most slots that a run of this kind has.
    const CAPACITY_MAX: u32;

    fn capacity(&self) -> u32;

    /// An index below twice the capacity, as one below the capacity.
    fn wrap(&self, index: u32) -> u32;

    /// An index that was found, as one that might be any: for the verifier, every index at which a
    /// search can end would otherwise be another way through all that comes after.
    fn found(&self, index: u32) -> u32;

    fn word(&self, index: u32) -> &Word64;

    /// The two halves of the address beside the word (IPv6).
    fn addr(&self, index: u32) -> [*mut u64; 2];

    #[inline(always)]
    fn peer(&self, index: u32) -> PeerWord {
        PeerWord(self.word(index).load())
    }

    #[inline(always)]
    fn has_addr(&self, index: u32, addr: &F::Addr) -> bool {
        if !F::IS_V6 {
            return true;
        }
        let [first, second] = self.addr(index);
        // SAFETY: both are aligned words of the table; a torn pair fails the comparison.
        unsafe { [first.read_volatile(), second.read_volatile()] == F::words(addr) }
    }
}

/// The slots in a line.
pub(crate) struct InlineSlots<F> {
    body: *mut u8,
    family: PhantomData<F>,
}

impl<F> InlineSlots<F> {
    /// # Safety
    /// `body` is the body of an inline torrent's line.
    #[inline(always)]
    pub(crate) unsafe fn new(body: *mut u8) -> Self {
        Self { body, family: PhantomData }
    }
}

impl<F: Family> Slots<F> for InlineSlots<F> {
    const CAPACITY_MAX: u32 = F::INLINE_PEERS;

    #[inline(always)]
    fn capacity(&self) -> u32 {
        F::INLINE_PEERS
    }

    #[inline(always)]
    fn wrap(&self, index: u32) -> u32 {
        if index >= F::INLINE_PEERS { index - F::INLINE_PEERS } else { index }
    }

    #[inline(always)]
    fn found(&self, index: u32) -> u32 {
        index
    }

    #[inline(always)]
    fn word(&self, index: u32) -> &Word64 {
        // SAFETY: the body has INLINE_PEERS words.
        unsafe { word(self.body.add(index as usize * 8)) }
    }

    #[inline(always)]
    fn addr(&self, index: u32) -> [*mut u64; 2] {
        let offset = F::INLINE_PEERS as usize * 8 + index as usize * 16;
        // SAFETY: the addresses follow the words, INLINE_PEERS of them.
        unsafe { [self.body.add(offset).cast(), self.body.add(offset + 8).cast()] }
    }
}

/// The slots in a block.
pub(crate) struct BlockSlots<F> {
    chunk: *mut u8,
    /// Offset of the block in its chunk, in words.
    first: u32,
    capacity: u32,
    veil: Veil,
    family: PhantomData<F>,
}

impl<F: Family> BlockSlots<F> {
    /// # Safety
    /// `chunk` is the chunk that holds `block`, whose size class is `class`.
    #[inline(always)]
    pub(crate) unsafe fn new(chunk: *mut u8, block: BlockRef, class: u32, veil: Veil) -> Self {
        Self {
            chunk,
            first: block.unit_in_chunk() * 8,
            capacity: veil.hide(block_capacity::<F>(class)),
            veil,
            family: PhantomData,
        }
    }

    #[inline(always)]
    fn at(&self, index: u32) -> *mut u8 {
        // SAFETY: a chunk is 128 words.
        unsafe { self.chunk.add(bounded::<127>(self.first + index) * 8) }
    }
}

impl<F: Family> Slots<F> for BlockSlots<F> {
    const CAPACITY_MAX: u32 = block_capacity::<F>(super::layout::CLASS_MAX);

    #[inline(always)]
    fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline(always)]
    fn wrap(&self, index: u32) -> u32 {
        if less(index, self.capacity) { index } else { index - self.capacity }
    }

    #[inline(always)]
    fn found(&self, index: u32) -> u32 {
        bounded::<127>(self.veil.hide(index)) as u32
    }

    #[inline(always)]
    fn word(&self, index: u32) -> &Word64 {
        // SAFETY: `at` stays within the chunk.
        unsafe { word(self.at(index)) }
    }

    #[inline(always)]
    fn addr(&self, index: u32) -> [*mut u64; 2] {
        let first = self.capacity + index * 2;
        [self.at(first).cast(), self.at(first + 1).cast()]
    }
}

/// Where a peer stands in its run, and what its word was.
#[inline(always)]
fn position<F: Family, S: Slots<F>>(
    slots: &S,
    key: PeerKey,
    addr: &F::Addr,
) -> Option<(u32, PeerWord)> {
    for index in 0..S::CAPACITY_MAX {
        if !less(index, slots.capacity()) {
            break;
        }
        let word = slots.peer(index);
        if word.key() == key && slots.has_addr(index, addr) {
            return Some((slots.found(index), word));
        }
    }
    None
}

/// Inserts the peer, or replaces its word. Returns the word that was there: the peer's own, or
/// that of a vacant or stale slot.
#[inline(always)]
pub(crate) fn upsert<F: Family, S: Slots<F>>(
    slots: &S,
    addr: &F::Addr,
    new: PeerWord,
    clock: &Clock,
) -> Result<PeerWord, Miss> {
    // One search for both, and not one after the other: the verifier would take each index at which
    // the first can end as another beginning of the second.
    const NONE: u32 = u32::MAX;
    let mut free = NONE;
    for index in 0..S::CAPACITY_MAX {
        if !less(index, slots.capacity()) {
            break;
        }
        let old = slots.peer(index);
        if old.key() == new.key() && slots.has_addr(index, addr) {
            let slot = slots.word(slots.found(index));
            return if slot.replace(old.0, new.0) { Ok(old) } else { Err(Miss::Contended) };
        }
        if free == NONE && old.is_free(clock) {
            free = slots.found(index);
        }
    }
    if free == NONE {
        return Err(Miss::Full);
    }
    let old = slots.peer(free);
    if !old.is_free(clock) {
        return Err(Miss::Contended);
    }
    insert(slots, free, addr, old, new, clock)
}

#[inline(always)]
fn insert<F: Family, S: Slots<F>>(
    slots: &S,
    index: u32,
    addr: &F::Addr,
    old: PeerWord,
    new: PeerWord,
    clock: &Clock,
) -> Result<PeerWord, Miss> {
    let slot = slots.word(index);
    let first = if F::IS_V6 { PeerWord::claim(clock) } else { new };
    if !slot.replace(old.0, first.0) {
        return Err(Miss::Contended);
    }
    if F::IS_V6 {
        let [low, high] = F::words(addr);
        let [low_at, high_at] = slots.addr(index);
        // SAFETY: the claim makes this slot ours; readers check the word around their reads.
        unsafe {
            low_at.write_volatile(low);
            high_at.write_volatile(high);
        }
        slot.store(new.0);
    }
    Ok(old)
}

/// Takes the peer out. Returns its word, or a vacant one when it was not there.
#[inline(always)]
pub(crate) fn remove<F: Family, S: Slots<F>>(
    slots: &S,
    key: PeerKey,
    addr: &F::Addr,
) -> Result<PeerWord, Miss> {
    let Some((index, old)) = position(slots, key, addr) else { return Ok(PeerWord::VACANT) };
    if slots.word(index).replace(old.0, PeerWord::VACANT.0) {
        Ok(old)
    } else {
        Err(Miss::Contended)
    }
}

/// Live seeders and leechers.
#[inline(always)]
pub(crate) fn count<F: Family, S: Slots<F>>(slots: &S, clock: &Clock) -> (u32, u32) {
    let (mut seeders, mut leechers) = (0, 0);
    for index in 0..S::CAPACITY_MAX {
        if !less(index, slots.capacity()) {
            break;
        }
        let word = slots.peer(index);
        let live = word.is_live(clock) as u32;
        let seeder = word.is_seeder() as u32;
        seeders += live & seeder;
        leechers += live & (seeder ^ 1);
    }
    (seeders, leechers)
}

/// Writes live peers to `out`, all but the announcer, beginning at a slot that `seed` chooses.
#[inline(always)]
pub(crate) fn select<F: Family, S: Slots<F>>(
    slots: &S,
    announcer: PeerKey,
    seeders: bool,
    seed: u16,
    clock: &Clock,
    out: &mut Cursor<'_, F>,
) {
    let capacity = slots.capacity();
    let first = (seed as u32 * capacity) >> 16;
    for turn in 0..S::CAPACITY_MAX {
        if !less(turn, capacity) || out.is_full() {
            break;
        }
        let here = slots.wrap(first + turn);
        let word = slots.peer(here);
        if word.is_seeder() != seeders || word.key() == announcer || !word.is_live(clock) {
            continue;
        }
        if F::IS_V6 {
            let [low, high] = slots.addr(here);
            // SAFETY: both are aligned words of the table.
            let addr = unsafe { [low.read_volatile(), high.read_volatile()] };
            // The slot may have changed hands since its word was read.
            if slots.peer(here).key() == word.key() {
                out.push_v6(addr, word.port());
            }
        } else {
            out.push_v4(word.0);
        }
    }
}
