//! Making room in a full bucket: a torrent moves to its other one (cuckoo hashing).

use std::ptr;

use super::Table;
use crate::{
    family::Family,
    id::InfoHash,
    table::{
        index::find,
        layout::{Entry, Form, Memory},
    },
};

/// Torrents that move for one newcomer, at most, less one. At a load of 80 % one nearly always does.
const DEPTH_MAX: u32 = 2;

/// One torrent's move. Both entries are of the same table.
#[derive(Clone, Copy)]
pub(super) struct Move<'a, F> {
    pub(super) from: Entry<'a, F>,
    to: Entry<'a, F>,
}

impl<F: Family> Move<'_, F> {
    fn copy(&self) {
        self.to.set_info_hash(&self.from.info_hash());
        self.to.copy_body(&self.from);
        self.to.head().meta.store(self.from.meta().0);
    }
}

impl<M: Memory> Table<M> {
    /// Makes room at once, for a table that the kernel does not use.
    pub(super) fn displace_now<F: Family>(&self, info_hash: &InfoHash) -> bool {
        let _moving = self.write_lock();
        let Some(moves) = self.plan_displacement::<F>(info_hash) else { return false };
        moves.iter().all(|step| {
            let is_made = self.occupy(step);
            if is_made {
                step.from.retire();
                step.from.release();
            }
            is_made
        })
    }

    /// The moves that vacate an entry for a torrent, the first to be made first.
    pub(super) fn plan_displacement<F: Family>(
        &self,
        info_hash: &InfoHash,
    ) -> Option<Vec<Move<'_, F>>> {
        let buckets = self.buckets::<F>(info_hash);
        (0..=DEPTH_MAX)
            .find_map(|depth| buckets.iter().find_map(|&bucket| self.vacate::<F>(bucket, depth)))
    }

    fn vacate<F: Family>(&self, bucket: u32, depth: u32) -> Option<Vec<Move<'_, F>>> {
        let movable = self.entries::<F>(bucket).filter(|entry| !entry.meta().is_frozen());
        movable.into_iter().find_map(|from| {
            let other = self.buckets::<F>(&from.info_hash()).into_iter().find(|&b| b != bucket)?;
            if depth == 0 {
                let to = self.vacant_entry(other)?;
                return Some(vec![Move { from, to }]);
            }
            let mut moves = self.vacate::<F>(other, depth - 1)?;
            let to = moves.last()?.from;
            moves.push(Move { from, to });
            Some(moves)
        })
    }

    /// Carries out moves whose torrents are frozen, and which a grace period ago began to be, and
    /// unfreezes them. A torrent is in both entries for a grace period, so that the kernel finds it in one.
    pub(super) fn displace<F: Family>(&self, plans: &[Vec<Move<'_, F>>], grace: &mut impl FnMut()) {
        let longest = plans.iter().map(Vec::len).max().unwrap_or(0);
        for turn in 0..longest {
            let steps = plans.iter().filter_map(|moves| moves.get(turn));
            let made: Vec<_> = steps
                .filter(|step| {
                    let _moving = self.write_lock();
                    self.occupy(step)
                })
                .collect();
            grace();
            made.into_iter().for_each(|step| self.vacate_after(step));
        }
        if longest > 0 {
            grace();
        }
        for entry in plans.iter().flatten().flat_map(|step| [step.from, step.to]) {
            entry.release();
            entry.freeze(false);
        }
    }

    /// Puts the torrent into its new entry too; `false` when that was taken in the meantime. The caller
    /// holds the lock exclusively: no frontend is at work on the torrent, having found it in the other entry.
    fn occupy<F: Family>(&self, step: &Move<'_, F>) -> bool {
        // Admissions hold this lock too.
        let _owner = self.owner();
        let is_possible =
            step.to.meta().form() == Form::Vacant && step.from.meta().form() != Form::Vacant;
        if is_possible {
            step.copy();
        }
        is_possible
    }

    /// Takes the torrent out of its former entry. The daemon's frontends have used whichever of the two
    /// they found first.
    fn vacate_after<F: Family>(&self, step: &Move<'_, F>) {
        let _moving = self.write_lock();
        let _owner = self.owner();
        let found = find::<F, M>(&self.memory, &self.shape, &step.from.info_hash());
        if found.is_some_and(|(_, entry)| ptr::eq(entry.head(), step.from.head())) {
            step.copy();
        }
        step.from.retire();
    }
}
