//! Leaves and directories as their owner sees them: made, filled, referred to and given back.

use std::ops::Range;

use super::{Arena, Table};
use crate::{
    family::Family,
    sync::Word64,
    table::{
        layout::{CHUNK_UNITS, Entry, Memory, UNIT_BYTES},
        leaf::{GROUP_SLOTS, Leaf, LeafRef, groups_max},
        peer_set::{PeerSet, Root, UNIT_ENTRIES},
        peer_slots::PeerSlots,
        word::PeerWord,
    },
    time::Clock,
};

/// A peer on its way from one place to another.
#[derive(Clone, Copy)]
pub(super) struct Moving {
    pub(super) word: PeerWord,
    /// Of an IPv4 address the first word holds it.
    pub(super) addr: [u64; 2],
}

/// The live peers of some slots, and how many slots held a peer at all.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) live: Vec<Moving>,
    pub(super) all: u32,
}

impl Collected {
    fn add<F: Family, const N: usize>(&mut self, slots: &PeerSlots<'_, F, N>, clock: &Clock) {
        for slot in 0..N {
            let mut word = slots.peer(slot);
            let mut addr = [word.0 & 0xffff_ffff, 0];
            if F::IS_V6 {
                addr = slots.addr(slot);
                // Unless it is frozen, the slot may change hands between the two.
                while slots.peer(slot) != word {
                    word = slots.peer(slot);
                    addr = slots.addr(slot);
                }
            }
            self.all += u32::from(word.is_peer());
            if word.is_live(clock).bit() == 1 {
                self.live.push(Moving { word, addr });
            }
        }
    }

    /// Those in an entry.
    pub(super) fn of_line<F: Family>(entry: Entry<'_, F>, clock: &Clock) -> Self {
        let mut collected = Self::default();
        if F::IS_V6 {
            collected.add(&entry.peer_slots::<4>(), clock);
        } else {
            collected.add(&entry.peer_slots::<5>(), clock);
        }
        collected
    }
}

/// Writes peers into the first slots of an inline torrent's entry, which are vacant.
pub(super) fn fill_entry<F: Family>(entry: Entry<'_, F>, peers: &[Moving]) {
    fn fill<F: Family, const N: usize>(slots: &PeerSlots<'_, F, N>, peers: &[Moving]) {
        for (slot, peer) in peers.iter().enumerate().take(N) {
            write(slots, slot, peer);
        }
    }
    if F::IS_V6 {
        fill(&entry.peer_slots::<4>(), peers);
    } else {
        fill(&entry.peer_slots::<5>(), peers);
    }
}

fn write<F: Family, const N: usize>(slots: &PeerSlots<'_, F, N>, slot: usize, peer: &Moving) {
    if F::IS_V6 {
        slots.set_addr(slot, peer.addr);
    }
    slots.word(slot).store(peer.word.0);
}

impl<M: Memory> Table<M> {
    /// Where in its peer set a peer belongs.
    pub(super) fn place_of<F: Family>(&self, peer: &Moving) -> u64 {
        self.shape.place::<F>(peer.addr, peer.word.port().to_ne_bytes())
    }

    /// The peers of a leaf.
    pub(super) fn collect<F: Family>(&self, leaf: LeafRef, clock: &Clock) -> Collected {
        let mut collected = Collected::default();
        self.each_group::<F>(leaf, |slots| collected.add(slots, clock));
        collected
    }

    /// Calls `see` for every group of a leaf.
    pub(super) fn each_group<F: Family>(
        &self,
        leaf: LeafRef,
        mut see: impl FnMut(&PeerSlots<'_, F, { GROUP_SLOTS as usize }>),
    ) {
        let Some(leaf) = Leaf::<F>::open(&self.memory, leaf) else { return };
        (0..leaf.groups()).filter_map(|group| leaf.group(group)).for_each(|slots| see(&slots));
    }

    /// A leaf of so many groups with these peers in it; `None` when the arena has no room.
    pub(super) fn make_leaf<F: Family>(
        &self,
        arena: &mut Arena,
        groups: u32,
        peers: &[Moving],
    ) -> Option<LeafRef> {
        let unit = arena.allocate(groups * F::GROUP_UNITS)?;
        let made = LeafRef::new(unit, groups);
        self.zero(unit, groups * F::GROUP_UNITS);
        let leaf = Leaf::<F>::open(&self.memory, made)?;
        for peer in peers {
            let home = leaf.home(self.place_of::<F>(peer));
            let (slots, slot) = (0..groups)
                .filter_map(|turn| leaf.group((home + turn) % groups))
                .find_map(|slots| {
                let slot =
                    (0..GROUP_SLOTS as usize).find(|&slot| slots.peer(slot) == PeerWord::VACANT)?;
                Some((slots, slot))
            })?;
            write(&slots, slot, peer);
        }
        Some(made)
    }

    pub(super) fn release_leaf<F: Family>(&self, arena: &mut Arena, leaf: LeafRef) {
        if leaf.groups() > 0 {
            arena.release(leaf.unit(), leaf.groups() * F::GROUP_UNITS);
        }
    }

    /// Gives back all leaves of a peer set, and its directory.
    pub(super) fn release_set<F: Family>(&self, arena: &mut Arena, set: &PeerSet<'_>) {
        for leaf in self.leaves_of(set.root()) {
            self.release_leaf::<F>(arena, leaf);
        }
        if let Some((unit, units)) = directory(set.root()) {
            arena.release(unit, units);
        }
        set.set_root(Root::leaf(LeafRef::NONE));
    }

    /// All leaves of a peer set, each once.
    pub(super) fn leaves_of(&self, root: Root) -> Vec<LeafRef> {
        let entries = (0..1_u32 << root.depth()).filter_map(|e| root.entry(&self.memory, e).ok());
        let mut leaves: Vec<_> =
            entries.map(|leaf| leaf.with_frozen(false)).filter(|l| *l != LeafRef::NONE).collect();
        leaves.dedup();
        leaves
    }

    /// The entries that refer to the leaf which `entry` refers to.
    pub(super) fn span(&self, root: Root, place: u32) -> Range<u32> {
        let same = |other: u32| {
            let leaf = |place| root.entry(&self.memory, place).ok();
            leaf(other) == leaf(place)
        };
        let mut size = 1;
        // A leaf's entries are a power of two in number, and aligned to it.
        while size < 1 << root.depth() && same(place ^ size) {
            size *= 2;
        }
        let start = place & !(size - 1);
        start..start + size
    }

    /// Has the entries of a span refer to a leaf.
    pub(super) fn refer(&self, set: &PeerSet<'_>, span: Range<u32>, leaf: LeafRef) {
        let root = set.root();
        if root.depth() == 0 {
            return set.set_root(Root::leaf(leaf));
        }
        for place in span {
            if let Ok(slot) = root.slot(&self.memory, place) {
                slot.store(leaf.0);
            }
        }
    }

    /// Keeps the kernel away from the leaves that some entries refer to, or lets it have them again.
    pub(super) fn set_frozen(&self, set: &PeerSet<'_>, entries: Range<u32>, frozen: bool) {
        let root = set.root();
        for place in entries {
            let Ok(leaf) = root.entry(&self.memory, place) else { return };
            if leaf.is_frozen() != frozen {
                self.refer(set, place..place + 1, leaf.with_frozen(frozen));
            }
        }
    }

    /// A directory twice as long that refers to the same leaves; `None` when there is no room. The
    /// old one is retired: the kernel may still be reading it.
    pub(super) fn double(
        &self,
        arena: &mut Arena,
        retired: &mut Vec<(u32, u32)>,
        set: &PeerSet<'_>,
    ) -> Option<Root> {
        let old = set.root();
        let depth = old.depth() + 1;
        let unit = arena.allocate(directory_units(depth))?;
        let new = Root::directory(unit, depth);
        for place in 0..1 << depth {
            let leaf = old.entry(&self.memory, place / 2).ok()?;
            new.slot(&self.memory, place).ok()?.store(leaf.0);
        }
        set.set_root(new);
        retired.extend(directory(old));
        Some(new)
    }

    fn zero(&self, unit: u32, units: u32) {
        for unit in unit..unit + units {
            let Some(chunk) = self.memory.chunk(unit / CHUNK_UNITS) else { return };
            let offset = (unit % CHUNK_UNITS) as usize * UNIT_BYTES;
            // SAFETY: the unit is within its chunk, and aligned to its length.
            let words = unsafe { chunk.add(offset).cast::<[Word64; UNIT_BYTES / 8]>().as_ref() };
            words.iter().for_each(|word| word.put(0));
        }
    }
}

/// Groups for so many peers and a quarter more, if a leaf can have as many.
pub(super) fn groups_for<F: Family>(peers: usize) -> u32 {
    let peers = peers as u32;
    ((peers + peers / 4) / GROUP_SLOTS + 1).min(groups_max::<F>())
}

/// The first unit of a directory, and its units.
pub(super) fn directory(root: Root) -> Option<(u32, u32)> {
    (root.depth() > 0).then(|| (root.unit(), directory_units(root.depth())))
}

pub(super) fn directory_units(depth: u32) -> u32 {
    (1_u32 << depth).div_ceil(UNIT_ENTRIES)
}
