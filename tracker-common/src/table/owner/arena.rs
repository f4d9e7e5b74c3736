//! Allocation of leaves and directories, in units of 64 bytes.
//!
//! A piece of at most a chunk lies within one chunk, wherever it fits best. Longer ones, which only
//! big directories are, take whole chunks in a row.

use std::collections::BTreeSet;

use crate::table::layout::CHUNK_UNITS;

/// All units of a chunk.
const WHOLE: u16 = u16::MAX;

/// Whole chunks that stay free for [`Arena::open_reserve`], and the chunks of an arena that can spare them.
const RESERVE: u32 = 1;
const RESERVE_FROM: u32 = 64;

/// Which units are in use.
#[derive(Debug)]
pub(super) struct Arena {
    /// A bit for each free unit of the chunks that were ever used.
    free: Vec<u16>,
    /// Chunks with free units, by the length of their longest free run.
    by_run: [BTreeSet<u32>; CHUNK_UNITS as usize + 1],
    chunks: u32,
    units_used: u64,
    /// Whole chunks that stay free.
    reserve: u32,
}

impl Arena {
    /// All of an arena of so many chunks is free, but for chunk 0: a reference to unit 0 means none.
    pub(super) fn new(chunks: u32) -> Self {
        Self {
            free: vec![0],
            by_run: Default::default(),
            chunks: chunks.max(1),
            units_used: 0,
            reserve: reserve(chunks),
        }
    }

    /// Lets allocations have the last free chunk too, or keeps it from them. Moving peers together takes room
    /// for a moment before it makes some: without a reserve, a full arena would stay full.
    pub(super) fn open_reserve(&mut self, is_open: bool) {
        self.reserve = if is_open { 0 } else { reserve(self.chunks) };
    }

    /// One of which all chunks before `first` are in use, for good.
    #[cfg(test)]
    pub(super) fn beginning_at(chunks: u32, first: u32) -> Self {
        Self { free: vec![0; first as usize], ..Self::new(chunks) }
    }

    /// The first unit of a free piece of so many units.
    pub(super) fn allocate(&mut self, units: u32) -> Option<u32> {
        debug_assert!(units > 0);
        let unit = if units > CHUNK_UNITS {
            self.whole_chunks(units.div_ceil(CHUNK_UNITS))? * CHUNK_UNITS
        } else {
            self.within_chunk(units)?
        };
        self.units_used += u64::from(rounded(units));
        Some(unit)
    }

    /// Gives back a piece that was allocated with as many units.
    pub(super) fn release(&mut self, unit: u32, units: u32) {
        self.units_used -= u64::from(rounded(units));
        let chunk = unit / CHUNK_UNITS;
        if units > CHUNK_UNITS {
            for chunk in chunk..chunk + units.div_ceil(CHUNK_UNITS) {
                self.set_free(chunk, WHOLE);
            }
        } else {
            let freed = mask(units) << (unit % CHUNK_UNITS);
            self.set_free(chunk, self.free[chunk as usize] | freed);
        }
    }

    /// Marks a piece as allocated that another owner had allocated; `false`, and no change, where there
    /// can be none, or another one is.
    pub(super) fn claim(&mut self, unit: u32, units: u32) -> bool {
        let (first, at) = (unit / CHUNK_UNITS, unit % CHUNK_UNITS);
        let chunks = units.div_ceil(CHUNK_UNITS);
        let is_long = units > CHUNK_UNITS;
        let is_straddling = if is_long { at > 0 } else { at + units > CHUNK_UNITS };
        if units == 0 || first == 0 || is_straddling || chunks > self.chunks.saturating_sub(first) {
            return false;
        }
        let seen = self.free.len() as u32;
        let _ = self.fresh_chunks((first + chunks).saturating_sub(seen));
        let taken = if is_long { WHOLE } else { mask(units) << at };
        let wanted = first..first + chunks;
        if !wanted.clone().all(|chunk| self.free[chunk as usize] & taken == taken) {
            return false;
        }
        wanted.for_each(|chunk| self.set_free(chunk, self.free[chunk as usize] & !taken));
        self.units_used += u64::from(rounded(units));
        true
    }

    /// Units in use.
    pub(super) fn units_used(&self) -> u64 {
        self.units_used
    }

    fn within_chunk(&mut self, units: u32) -> Option<u32> {
        let fitting = (units..=CHUNK_UNITS).find_map(|run| self.by_run[run as usize].first());
        let is_split = |chunk: &u32| self.free[*chunk as usize] != WHOLE;
        let chunk = match fitting.copied().filter(is_split) {
            Some(chunk) => chunk,
            None if self.whole_free() <= self.reserve => return None,
            None => fitting.copied().or_else(|| self.fresh_chunks(1))?,
        };
        let free = self.free[chunk as usize];
        let at = (0..=CHUNK_UNITS - units).find(|at| free >> at & mask(units) == mask(units))?;
        self.set_free(chunk, free & !(mask(units) << at));
        Some(chunk * CHUNK_UNITS + at)
    }

    /// Chunks of which nothing is in use.
    fn whole_free(&self) -> u32 {
        self.by_run[CHUNK_UNITS as usize].len() as u32 + self.chunks - self.free.len() as u32
    }

    fn whole_chunks(&mut self, count: u32) -> Option<u32> {
        if self.whole_free() < count + self.reserve {
            return None;
        }
        let first = self.free_row(count).or_else(|| self.fresh_chunks(count))?;
        for chunk in first..first + count {
            self.set_free(chunk, 0);
        }
        Some(first)
    }

    /// The first of so many chunks in a row that were used and are free.
    fn free_row(&self, count: u32) -> Option<u32> {
        let mut row = 0;
        let mut last = None;
        for &chunk in &self.by_run[CHUNK_UNITS as usize] {
            row = if last == Some(chunk.wrapping_sub(1)) { row + 1 } else { 1 };
            if row == count {
                return Some(chunk + 1 - count);
            }
            last = Some(chunk);
        }
        None
    }

    /// The first of so many chunks that were never used.
    fn fresh_chunks(&mut self, count: u32) -> Option<u32> {
        let first = u32::try_from(self.free.len()).ok()?;
        if count > self.chunks.saturating_sub(first) {
            return None;
        }
        for chunk in first..first + count {
            self.free.push(0);
            self.set_free(chunk, WHOLE);
        }
        Some(first)
    }

    fn set_free(&mut self, chunk: u32, free: u16) {
        let old = std::mem::replace(&mut self.free[chunk as usize], free);
        if old != 0 {
            self.by_run[longest_run(old)].remove(&chunk);
        }
        if free != 0 {
            self.by_run[longest_run(free)].insert(chunk);
        }
    }
}

const fn reserve(chunks: u32) -> u32 {
    if chunks >= RESERVE_FROM { RESERVE } else { 0 }
}

/// Long pieces take whole chunks.
fn rounded(units: u32) -> u32 {
    if units > CHUNK_UNITS { units.next_multiple_of(CHUNK_UNITS) } else { units }
}

fn mask(units: u32) -> u16 {
    WHOLE >> (CHUNK_UNITS - units)
}

/// Each shift shortens every run by one.
fn longest_run(mut free: u16) -> usize {
    let mut length = 0;
    while free != 0 {
        free &= free >> 1;
        length += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_never_overlap_and_all_come_back(
            sizes in prop::collection::vec(prop_oneof![9 => 1..=16_u32, 1 => 17..=70_u32], 1..200),
            chunks in 2..80_u32,
        ) {
            let mut arena = Arena::new(chunks);
            let mut pieces: Vec<(u32, u32)> = Vec::new();
            for (turn, units) in sizes.into_iter().enumerate() {
                if turn % 3 == 2 && !pieces.is_empty() {
                    let (unit, units) = pieces.swap_remove(turn % pieces.len());
                    arena.release(unit, units);
                }
                let Some(unit) = arena.allocate(units) else { continue };
                prop_assert!(unit >= CHUNK_UNITS && unit + units <= chunks * CHUNK_UNITS);
                prop_assert!(units > 16 || unit % CHUNK_UNITS + units <= CHUNK_UNITS);
                prop_assert!(units <= 16 || unit % CHUNK_UNITS == 0);
                for &(other, size) in &pieces {
                    prop_assert!(unit + rounded(units) <= other || other + rounded(size) <= unit);
                }
                pieces.push((unit, units));
            }
            for (unit, units) in pieces {
                arena.release(unit, units);
            }
            prop_assert_eq!(arena.units_used(), 0);
            let rest = 1..chunks - reserve(chunks);
            prop_assert!(rest.into_iter().all(|_| arena.allocate(CHUNK_UNITS).is_some()));
            prop_assert_eq!(arena.allocate(1), None);
            arena.open_reserve(true);
            prop_assert_eq!(arena.allocate(1).is_some(), reserve(chunks) > 0);
        }
    }
}
