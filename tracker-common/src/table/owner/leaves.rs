//! Leaves and directories as their owner sees them: made, filled, referred to and given back.

use std::ops::Range;

use super::{Arena, Table};
use crate::{
    family::Family,
    sync::Word64,
    table::{
        half::{Half, Root, UNIT_ENTRIES},
        layout::{CHUNK_UNITS, Line, Memory, UNIT_BYTES},
        leaf::{GROUP_SLOTS, Leaf, LeafRef, groups_max},
        run::Run,
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

/// The live peers of a run of slots, and how many slots held a peer at all.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) live: Vec<Moving>,
    pub(super) all: u32,
}

impl Collected {
    fn add<F: Family, const N: usize>(&mut self, run: &Run<'_, F, N>, clock: &Clock) {
        for slot in 0..N {
            let mut word = run.peer(slot);
            let mut addr = [word.0 & 0xffff_ffff, 0];
            if F::IS_V6 {
                addr = run.addr(slot);
                // Unless it is frozen, the slot may change hands between the two.
                while run.peer(slot) != word {
                    word = run.peer(slot);
                    addr = run.addr(slot);
                }
            }
            self.all += u32::from(word.is_peer());
            if word.is_live(clock).bit() == 1 {
                self.live.push(Moving { word, addr });
            }
        }
    }

    /// Those in a line.
    pub(super) fn of_line<F: Family>(line: Line<'_, F>, clock: &Clock) -> Self {
        let mut collected = Self::default();
        if F::IS_V6 {
            collected.add(&line.run::<4>(), clock);
        } else {
            collected.add(&line.run::<5>(), clock);
        }
        collected
    }
}

/// Writes peers into the first slots of an inline torrent's line, which are vacant.
pub(super) fn fill_line<F: Family>(line: Line<'_, F>, peers: &[Moving]) {
    fn fill<F: Family, const N: usize>(run: &Run<'_, F, N>, peers: &[Moving]) {
        for (slot, peer) in peers.iter().enumerate().take(N) {
            write(run, slot, peer);
        }
    }
    if F::IS_V6 {
        fill(&line.run::<4>(), peers);
    } else {
        fill(&line.run::<5>(), peers);
    }
}

fn write<F: Family, const N: usize>(run: &Run<'_, F, N>, slot: usize, peer: &Moving) {
    if F::IS_V6 {
        run.set_addr(slot, peer.addr);
    }
    run.word(slot).store(peer.word.0);
}

impl<M: Memory> Table<M> {
    /// Where in its half a peer belongs.
    pub(super) fn place_of<F: Family>(&self, peer: &Moving) -> u64 {
        self.shape.place::<F>(peer.addr, peer.word.port().to_ne_bytes())
    }

    /// The peers of a leaf.
    pub(super) fn collect<F: Family>(&self, leaf: LeafRef, clock: &Clock) -> Collected {
        let mut collected = Collected::default();
        self.each_group::<F>(leaf, |run| collected.add(run, clock));
        collected
    }

    /// Calls `see` for every group of a leaf.
    pub(super) fn each_group<F: Family>(
        &self,
        leaf: LeafRef,
        mut see: impl FnMut(&Run<'_, F, { GROUP_SLOTS as usize }>),
    ) {
        let Some(leaf) = Leaf::<F>::open(&self.memory, leaf) else { return };
        (0..leaf.groups()).filter_map(|group| leaf.group(group)).for_each(|run| see(&run));
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
            let (run, slot) = (0..groups)
                .filter_map(|turn| leaf.group((home + turn) % groups))
                .find_map(|run| {
                    let slot = (0..GROUP_SLOTS as usize)
                        .find(|&slot| run.peer(slot) == PeerWord::VACANT)?;
                    Some((run, slot))
                })?;
            write(&run, slot, peer);
        }
        Some(made)
    }

    pub(super) fn release_leaf<F: Family>(&self, arena: &mut Arena, leaf: LeafRef) {
        if leaf.groups() > 0 {
            arena.release(leaf.unit(), leaf.groups() * F::GROUP_UNITS);
        }
    }

    /// Gives back all leaves of a half, and its directory.
    pub(super) fn release_half<F: Family>(&self, arena: &mut Arena, half: &Half<'_>) {
        for leaf in self.leaves_of(half.root()) {
            self.release_leaf::<F>(arena, leaf);
        }
        if let Some((unit, units)) = directory(half.root()) {
            arena.release(unit, units);
        }
        half.set_root(Root::leaf(LeafRef::NONE));
    }

    /// All leaves of a half, each once.
    pub(super) fn leaves_of(&self, root: Root) -> Vec<LeafRef> {
        let entries = (0..1_u32 << root.depth()).filter_map(|e| root.entry(&self.memory, e).ok());
        let mut leaves: Vec<_> =
            entries.map(|leaf| leaf.with_frozen(false)).filter(|l| *l != LeafRef::NONE).collect();
        leaves.dedup();
        leaves
    }

    /// The entries that refer to the leaf which `entry` refers to.
    pub(super) fn span(&self, root: Root, entry: u32) -> Range<u32> {
        let same = |other: u32| {
            let leaf = |entry| root.entry(&self.memory, entry).ok();
            leaf(other) == leaf(entry)
        };
        let mut size = 1;
        // A leaf's entries are a power of two in number, and aligned to it.
        while size < 1 << root.depth() && same(entry ^ size) {
            size *= 2;
        }
        let start = entry & !(size - 1);
        start..start + size
    }

    /// Has the entries of a span refer to a leaf.
    pub(super) fn refer(&self, half: &Half<'_>, span: Range<u32>, leaf: LeafRef) {
        let root = half.root();
        if root.depth() == 0 {
            return half.set_root(Root::leaf(leaf));
        }
        for entry in span {
            if let Ok(slot) = root.slot(&self.memory, entry) {
                slot.store(leaf.0);
            }
        }
    }

    /// Keeps the kernel away from the leaves that some entries refer to, or lets it have them again.
    pub(super) fn set_frozen(&self, half: &Half<'_>, entries: Range<u32>, frozen: bool) {
        let root = half.root();
        for entry in entries {
            let Ok(leaf) = root.entry(&self.memory, entry) else { return };
            if leaf.is_frozen() != frozen {
                self.refer(half, entry..entry + 1, leaf.with_frozen(frozen));
            }
        }
    }

    /// A directory twice as long that refers to the same leaves; `None` when there is no room. The
    /// old one is retired: the kernel may still be reading it.
    pub(super) fn double(
        &self,
        arena: &mut Arena,
        retired: &mut Vec<(u32, u32)>,
        half: &Half<'_>,
    ) -> Option<Root> {
        let old = half.root();
        let depth = old.depth() + 1;
        let unit = arena.allocate(directory_units(depth))?;
        let new = Root::directory(unit, depth);
        for entry in 0..1 << depth {
            let leaf = old.entry(&self.memory, entry / 2).ok()?;
            new.slot(&self.memory, entry).ok()?.store(leaf.0);
        }
        half.set_root(new);
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
