//! Taking over a table that another process has left, at whatever moment it ended.
//!
//! What only the owner knows is found again by a walk over all entries: which units of the arena are in
//! use, and how many torrents there are. Counts of peers are put right by the next sweep.

use super::{Table, leaves::directory};
use crate::{
    family::{Family, V4, V6},
    table::{
        index::{TableShape, find},
        layout::{BUCKET_ENTRIES, Entry, Form, Memory, Meta},
        leaf::{LeafRef, groups_max},
        peer_set::{DEPTH_MAX, PeerSet},
    },
};

/// What was found in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Torrents of both families.
    pub torrents: [u32; 2],
    /// Torrents that were given up: their references led nowhere.
    pub damaged: u32,
}

impl<M: Memory> Table<M> {
    /// A table in memory that another process had made with this shape. The kernel may be using it, and
    /// what the other was about to reuse: `grace` is that of [`Table::grow`], and called at most three
    /// times.
    pub fn adopt(
        memory: M,
        shape: TableShape,
        lifetime: u32,
        torrents_max: [u32; 2],
        mut grace: impl FnMut(),
    ) -> (Self, Adopted) {
        let table = Self::new(memory, shape, lifetime, torrents_max, true);
        grace();
        table.replay();
        let mut adopted = Adopted::default();
        let v4 = table.adopt_family::<V4>(&mut adopted);
        let v6 = table.adopt_family::<V6>(&mut adopted);
        if !v4.is_empty() || !v6.is_empty() {
            grace();
            v4.iter().for_each(Entry::retire);
            v6.iter().for_each(Entry::retire);
            grace();
            v4.iter().for_each(Entry::release);
            v6.iter().for_each(Entry::release);
        }
        (table, adopted)
    }

    /// Returns entries to be given up, frozen.
    fn adopt_family<F: Family>(&self, adopted: &mut Adopted) -> Vec<Entry<'_, F>> {
        let family = usize::from(F::IS_V6);
        let mut given_up = Vec::new();
        for number in 0..self.shape.buckets::<F>() * BUCKET_ENTRIES {
            let Some(entry) = Entry::<F>::at(&self.memory, number) else { break };
            let found = || find::<F, M>(&self.memory, &self.shape, &entry.info_hash());
            if entry.meta().form() == Form::Vacant {
                // Its last torrent may have been on its way out.
                entry.head().meta.store(Meta::VACANT.0);
                entry.clear_stale_body();
            } else if found().is_none_or(|(first, _)| first != number) {
                // The torrent was on its way to the other entry, which is whole and found first.
                entry.freeze(true);
                given_up.push(entry);
            } else if entry.is_spilled() && !self.claim(entry) {
                adopted.damaged += 1;
                entry.freeze(true);
                given_up.push(entry);
            } else {
                adopted.torrents[family] += 1;
                entry.freeze(false);
            }
        }
        self.owner().torrents[family] = adopted.torrents[family];
        given_up
    }

    /// Marks the arena's units that a torrent uses, and unfreezes its leaves; `false`, and nothing of
    /// that, when a reference is to where none can be.
    fn claim<F: Family>(&self, entry: Entry<'_, F>) -> bool {
        let sets = [entry.sets().leechers(), entry.sets().seeders()];
        let pieces: Option<Vec<_>> = sets.iter().map(|set| self.pieces::<F>(set)).collect();
        let Some(pieces) = pieces else { return false };
        let pieces = pieces.concat();
        let mut owner = self.owner();
        for (i, &(unit, units)) in pieces.iter().enumerate() {
            if !owner.arena.claim(unit, units) {
                pieces[..i].iter().for_each(|&(unit, units)| owner.arena.release(unit, units));
                return false;
            }
        }
        sets.iter().for_each(|set| self.set_frozen(set, 0..1 << set.root().depth(), false));
        true
    }

    /// The leaves and the directory of a peer set: first unit and units of each.
    fn pieces<F: Family>(&self, set: &PeerSet<'_>) -> Option<Vec<(u32, u32)>> {
        let root = set.root();
        if root.depth() > DEPTH_MAX {
            return None;
        }
        let mut pieces: Vec<_> = directory(root).into_iter().collect();
        let mut last = LeafRef::NONE;
        for place in 0..1 << root.depth() {
            let leaf = root.entry(&self.memory, place).ok()?.with_frozen(false);
            if leaf == last {
                continue;
            }
            if leaf.groups() == 0 || leaf.groups() > groups_max::<F>() {
                return None;
            }
            pieces.push((leaf.unit(), leaf.groups() * F::GROUP_UNITS));
            last = leaf;
        }
        Some(pieces)
    }
}
