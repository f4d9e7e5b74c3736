//! Making room in a full bucket: a torrent moves to its other one (cuckoo hashing).

use super::Table;
use crate::{
    family::Family,
    id::InfoHash,
    table::layout::{Line, Memory, Meta},
};

/// Torrents that move for one newcomer, at most, less one. At a load of 80 % one nearly always does.
const DEPTH_MAX: u32 = 2;

/// One torrent's move. Both lines are of the same table.
#[derive(Clone, Copy)]
pub(super) struct Move<F> {
    pub(super) from: Line<F>,
    to: Line<F>,
}

impl<F: Family> Move<F> {
    /// Both lines, one of which is vacant unless the move was not made.
    pub(super) fn lines(&self) -> [Line<F>; 2] {
        [self.from, self.to]
    }
}

impl<M: Memory> Table<M> {
    /// Makes room at once, for a table that the kernel does not use.
    pub(super) fn displace_now<F: Family>(&self, info_hash: &InfoHash) -> bool {
        let _moving = self.write_lock();
        self.plan_displacement::<F>(info_hash).is_some_and(|moves| self.displace(&moves))
    }

    /// The moves that vacate a line for a torrent, the first to be made first.
    pub(super) fn plan_displacement<F: Family>(
        &self,
        info_hash: &InfoHash,
    ) -> Option<Vec<Move<F>>> {
        let buckets = self.buckets::<F>(info_hash);
        (0..=DEPTH_MAX)
            .find_map(|depth| buckets.iter().find_map(|&bucket| self.vacate::<F>(bucket, depth)))
    }

    fn vacate<F: Family>(&self, bucket: u32, depth: u32) -> Option<Vec<Move<F>>> {
        let movable = self.lines::<F>(bucket).filter(|line| !line.meta().is_frozen());
        movable.into_iter().find_map(|from| {
            let other = self.buckets::<F>(&from.info_hash()).into_iter().find(|&b| b != bucket)?;
            if depth == 0 {
                let to = self.vacant_line(other)?;
                return Some(vec![Move { from, to }]);
            }
            let mut moves = self.vacate::<F>(other, depth - 1)?;
            let to = moves.last()?.from;
            moves.push(Move { from, to });
            Some(moves)
        })
    }

    /// Carries out moves whose torrents nobody else uses. `false`, and no further move, when a line
    /// was taken in the meantime.
    pub(super) fn displace<F: Family>(&self, moves: &[Move<F>]) -> bool {
        // Admissions hold this lock too.
        let _owner = self.owner();
        for Move { from, to } in moves {
            if to.meta() != Meta::VACANT || from.meta() == Meta::VACANT {
                return false;
            }
            to.set_info_hash(&from.info_hash());
            to.copy_body(from);
            to.head().meta.store(from.meta().0);
            from.clear();
        }
        true
    }
}
