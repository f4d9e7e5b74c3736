//! Taking over a table that another process has left, at whatever moment it ended.
//!
//! What only the owner knows is found again by a walk over all lines: which units of the arena are in
//! use, and how many torrents there are. Counts of peers are put right by the next sweep.

use super::{Table, leaves::directory};
use crate::{
    family::{Family, V4, V6},
    table::{
        half::{DEPTH_MAX, Half},
        index::{TableShape, find},
        layout::{BUCKET_LINES, Form, Line, Memory, Meta},
        leaf::{LeafRef, groups_max},
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
            v4.iter().for_each(Line::retire);
            v6.iter().for_each(Line::retire);
            grace();
            v4.iter().for_each(Line::release);
            v6.iter().for_each(Line::release);
        }
        (table, adopted)
    }

    /// Returns lines to be given up, frozen.
    fn adopt_family<F: Family>(&self, adopted: &mut Adopted) -> Vec<Line<'_, F>> {
        let family = usize::from(F::IS_V6);
        let mut given_up = Vec::new();
        for number in 0..self.shape.buckets::<F>() * BUCKET_LINES {
            let Some(line) = Line::<F>::at(&self.memory, number) else { break };
            let found = || find::<F, M>(&self.memory, &self.shape, &line.info_hash());
            if line.meta().form() == Form::Vacant {
                // Its last torrent may have been on its way out.
                line.head().meta.store(Meta::VACANT.0);
                line.clear_stale_body();
            } else if found().is_none_or(|(first, _)| first != number) {
                // The torrent was on its way to the other line, which is whole and found first.
                line.freeze(true);
                given_up.push(line);
            } else if line.is_outgrown() && !self.claim(line) {
                adopted.damaged += 1;
                line.freeze(true);
                given_up.push(line);
            } else {
                adopted.torrents[family] += 1;
                line.freeze(false);
            }
        }
        self.owner().torrents[family] = adopted.torrents[family];
        given_up
    }

    /// Marks the arena's units that a torrent uses, and unfreezes its leaves; `false`, and nothing of
    /// that, when a reference is to where none can be.
    fn claim<F: Family>(&self, line: Line<'_, F>) -> bool {
        let halves = [line.halves().leechers(), line.halves().seeders()];
        let pieces: Option<Vec<_>> = halves.iter().map(|half| self.pieces::<F>(half)).collect();
        let Some(pieces) = pieces else { return false };
        let pieces = pieces.concat();
        let mut owner = self.owner();
        for (i, &(unit, units)) in pieces.iter().enumerate() {
            if !owner.arena.claim(unit, units) {
                pieces[..i].iter().for_each(|&(unit, units)| owner.arena.release(unit, units));
                return false;
            }
        }
        halves.iter().for_each(|half| self.set_frozen(half, 0..1 << half.root().depth(), false));
        true
    }

    /// The leaves and the directory of a half: first unit and units of each.
    fn pieces<F: Family>(&self, half: &Half<'_>) -> Option<Vec<(u32, u32)>> {
        let root = half.root();
        if root.depth() > DEPTH_MAX {
            return None;
        }
        let mut pieces: Vec<_> = directory(root).into_iter().collect();
        let mut last = LeafRef::NONE;
        for entry in 0..1 << root.depth() {
            let leaf = root.entry(&self.memory, entry).ok()?.with_frozen(false);
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
