//! A leaf: the peers of one role, or a part of them, in a block of their own.
//!
//! A leaf is a number of groups of eight slots within one chunk. A peer's hash names the group to
//! look in first, so that finding one's own slot is a short search.

use core::{marker::PhantomData, ptr::NonNull};

use super::{
    layout::{CHUNK_UNITS, Memory, UNIT_BYTES},
    peer_slots::{PeerSlots, Slot},
    prepared::PreparedAnnounce,
    word::PeerWord,
};
use crate::{
    family::Family,
    peers::{Cursor, List as _, PeerBuf},
    sync::Word64,
    verifier::{BranchlessBool, bounded, bounded_range, opaque},
};

/// Slots in a group.
pub(crate) const GROUP_SLOTS: u32 = 8;

/// The most groups of a leaf: it is within one chunk.
#[cfg(not(target_arch = "bpf"))]
pub(crate) const fn groups_max<F: Family>() -> u32 {
    CHUNK_UNITS / F::GROUP_UNITS
}

/// Where a leaf is and how long: `frozen:1 | 0:26 | groups:5 | unit:32`, or zero for none. A [`Root`] that
/// is a directory has its depth where a leaf has zeros.
///
/// [`Root`]: super::spilled::Root
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafRef(pub u64);

impl LeafRef {
    pub(crate) const NONE: Self = Self(0);
    const FROZEN: u64 = 1 << 63;
    const GROUPS_SHIFT: u32 = 32;

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn new(unit: u32, groups: u32) -> Self {
        Self((groups as u64) << Self::GROUPS_SHIFT | unit as u64)
    }

    /// The daemon is moving the leaf's peers: nobody else may read or change them.
    #[inline(always)]
    pub(crate) const fn is_frozen(self) -> bool {
        self.0 & Self::FROZEN != 0
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn with_frozen(self, frozen: bool) -> Self {
        Self(if frozen { self.0 | Self::FROZEN } else { self.0 & !Self::FROZEN })
    }

    #[inline(always)]
    pub(crate) const fn groups(self) -> u32 {
        (self.0 >> Self::GROUPS_SHIFT) as u32 & 31
    }

    /// Where it begins in the arena, in units of 64 bytes.
    #[inline(always)]
    pub(crate) const fn unit(self) -> u32 {
        self.0 as u32
    }
}

/// What came of an attempt to change a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Outcome(pub u32);

impl Outcome {
    /// The announcer is not in this leaf.
    pub const ABSENT: Self = Self(0);
    /// The slot has been changed; if it was another's, that was vacant.
    pub const DONE: Self = Self(1);
    /// The announcer has taken the slot of a peer that had gone silent.
    pub const TAKEN_OVER: Self = Self(2);
    /// There is no free slot.
    pub const FULL: Self = Self(3);
    /// Somebody else changed the same slot at the same moment.
    pub const CONTENDED: Self = Self(4);
    /// The announcer's source has its budget of peers.
    pub const OVER_BUDGET: Self = Self(5);
}

/// What becomes of the announcer's slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Write(pub u32);

impl Write {
    /// It gets the announcer's new word.
    pub const NEW: Self = Self(0);
    /// It becomes vacant.
    pub const VACANT: Self = Self(1);
    /// It stays as it is: the announcer is only looked for.
    pub const NOTHING: Self = Self(2);
}

/// Which peers of a leaf are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Pick(pub u32);

impl Pick {
    /// All. The announcer is not among them.
    pub const ANY: Self = Self(0);
    /// All but the announcer.
    pub const OTHERS: Self = Self(1);
    /// Those of the announcer's subnet, but not the announcer.
    pub const NEAR: Self = Self(2);
    /// Those of other subnets.
    pub const FAR: Self = Self(3);
}

/// A leaf's groups, borrowed from their memory.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a, F> {
    chunk: NonNull<u8>,
    unit: u32,
    groups: u32,
    memory: PhantomData<(&'a Word64, F)>,
}

/// No slot.
const NOWHERE: u32 = u32::MAX;

impl<'a, F: Family> Leaf<'a, F> {
    /// `None` past the end of the arena.
    #[inline(always)]
    pub(crate) fn open<M: Memory>(memory: &'a M, leaf: LeafRef) -> Option<Self> {
        let chunk = memory.chunk(leaf.unit() / CHUNK_UNITS)?;
        let unit = leaf.unit() % CHUNK_UNITS;
        Some(Self { chunk, unit, groups: leaf.groups(), memory: PhantomData })
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn groups(&self) -> u32 {
        self.groups
    }

    #[inline(always)]
    pub(crate) fn group(&self, index: u32) -> Option<PeerSlots<'a, F, { GROUP_SLOTS as usize }>> {
        let unit = bounded::<{ CHUNK_UNITS - 1 }>(self.unit + index * F::GROUP_UNITS);
        // A group of one unit is always within the chunk.
        if F::GROUP_UNITS > 1 && unit > (CHUNK_UNITS - F::GROUP_UNITS) as usize {
            return None;
        }
        // SAFETY: the group lies within the chunk, which is in its memory for `'a`.
        Some(unsafe { PeerSlots::new(self.chunk.add(unit * UNIT_BYTES)) })
    }

    /// The group to look in first for a peer.
    #[inline(always)]
    pub(crate) const fn home(&self, hash: u64) -> u32 {
        ((hash as u32 & 0xffff) * self.groups) >> 16
    }

    /// The next group, around the end.
    #[inline(always)]
    fn after(&self, group: u32) -> u32 {
        let next = group + 1;
        next * BranchlessBool::less(next.into(), self.groups.into()).bit() as u32
    }

    /// The first slot, from the announcer's home on, that `is_it`.
    #[inline(always)]
    fn search(
        &self,
        prepared: &PreparedAnnounce,
        is_it: impl Fn(&PeerSlots<'_, F, { GROUP_SLOTS as usize }>, usize) -> bool,
    ) -> u32 {
        let mut group = self.home(prepared.hash);
        for _ in bounded_range::<CHUNK_UNITS>(self.groups) {
            let Some(slots) = self.group(group) else { break };
            for slot in 0..GROUP_SLOTS {
                if is_it(&slots, slot as usize) {
                    return opaque(group * GROUP_SLOTS + slot, &prepared.zero);
                }
            }
            group = self.after(group);
        }
        NOWHERE
    }

    /// Changes the announcer's slot.
    #[inline(always)]
    pub(crate) fn replace(&self, prepared: &PreparedAnnounce, write: Write) -> Outcome {
        let at = self.search(prepared, |slots, slot| slots.is_of(slot, prepared));
        if at == NOWHERE {
            return Outcome::ABSENT;
        }
        let Some(slots) = self.group(at / GROUP_SLOTS) else { return Outcome::CONTENDED };
        let slot = bounded::<{ GROUP_SLOTS - 1 }>(at);
        let old = slots.peer(slot);
        if !prepared.key.is_of(old) {
            return Outcome::CONTENDED;
        }
        let word = if write == Write::VACANT { PeerWord::VACANT } else { prepared.new };
        if write == Write::NOTHING || old == word || slots.word(slot).replace(old.0, word.0) {
            Outcome::DONE
        } else {
            Outcome::CONTENDED
        }
    }

    /// Gives the announcer, who is not in this leaf, a free slot.
    #[inline(always)]
    pub(crate) fn join(&self, prepared: &PreparedAnnounce) -> Outcome {
        let is_free = |word: PeerWord| word.is_free(&prepared.clock).bit() != 0;
        let at = self.search(prepared, |slots, slot| is_free(slots.peer(slot)));
        if at == NOWHERE {
            return Outcome::FULL;
        }
        let Some(slots) = self.group(at / GROUP_SLOTS) else { return Outcome::CONTENDED };
        let slot = bounded::<{ GROUP_SLOTS - 1 }>(at);
        let old = slots.peer(slot);
        if !is_free(old) || !slots.take(slot, old, prepared) {
            return Outcome::CONTENDED;
        }
        if old.is_peer() { Outcome::TAKEN_OVER } else { Outcome::DONE }
    }

    /// The group from which on peers are drawn.
    #[inline(always)]
    const fn drawn_first(&self, prepared: &PreparedAnnounce) -> u32 {
        ((prepared.seed & 0xffff) * self.groups) >> 16
    }

    /// Begins to load what will be drawn first.
    #[inline(always)]
    pub(crate) fn prefetch(&self, prepared: &PreparedAnnounce) {
        if let Some(slots) = self.group(self.drawn_first(prepared)) {
            slots.peer(0);
        }
    }

    /// Appends peers to `list`, beginning at a group that the announce's seed chooses. Returns
    /// whether the list is full.
    #[inline(always)]
    pub(crate) fn draw(&self, prepared: &PreparedAnnounce, pick: Pick, list: &mut PeerBuf) -> bool {
        if pick == Pick::ANY {
            self.draw_all(prepared, list, |_| BranchlessBool::NO);
        } else if pick == Pick::OTHERS {
            self.draw_all(prepared, list, |slot| prepared.key.names(slot.word));
        } else {
            let far = (pick.0 as u64 & 1) << 63;
            self.draw_all(prepared, list, |slot| {
                prepared.key.names(slot.word).or(prepared.is_near(slot.addr()).not().xor(far))
            });
        }
        list.is_full()
    }

    #[inline(always)]
    fn draw_all(
        &self,
        prepared: &PreparedAnnounce,
        list: &mut PeerBuf,
        unwanted: impl Fn(&Slot<F>) -> BranchlessBool,
    ) {
        let mut cursor = list.cursor();
        // LLVM would fetch it for each slot, since the list could be where it is.
        let clock = prepared.clock;
        let draw = |cursor: &mut Cursor<'_>, slot: Slot<F>| {
            slot.append(cursor, slot.is_live(&clock).and(unwanted(&slot).not()));
        };
        let mut group = self.drawn_first(prepared);
        for _ in bounded_range::<CHUNK_UNITS>(self.groups) {
            let Some(slots) = self.group(group) else { break };
            cursor.make_room();
            if cursor.takes(GROUP_SLOTS * F::PEER_BYTES as u32) {
                for slot in 0..GROUP_SLOTS {
                    draw(&mut cursor, slots.read(slot as usize));
                }
            } else {
                // Not all of them may be wanted. Exclusive-or with one number visits the slots of a group in
                // another order; older kernels do not know what it leaves, so its result is masked.
                for slot in 0..GROUP_SLOTS {
                    let slot = bounded::<{ GROUP_SLOTS - 1 }>(slot ^ prepared.seed);
                    draw(&mut cursor, slots.read(slot));
                }
                if cursor.is_full() {
                    break;
                }
            }
            group = self.after(group);
        }
        cursor.cut();
    }
}
