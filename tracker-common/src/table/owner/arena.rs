//! Allocation of blocks: a buddy allocator over the arena, in units of 64 bytes.

use std::collections::BTreeSet;

use crate::table::layout::{BlockRef, CHUNK_UNITS};

/// The largest piece: a directory of 65,536 entries, 256 KiB.
const ORDER_MAX: u32 = 12;

/// Free pieces by size: `free[k]` holds those of 2^k units, by where they begin.
#[derive(Debug)]
pub(super) struct Arena {
    free: [BTreeSet<u32>; ORDER_MAX as usize + 1],
    units_used: u64,
    units: u64,
}

impl Arena {
    /// All of an arena of so many chunks is free, but for chunk 0, whose reference means none.
    pub(super) fn new(chunks: u32) -> Self {
        let mut arena = Self { free: Default::default(), units_used: 0, units: 0 };
        arena.units = u64::from(chunks.saturating_sub(1)) * u64::from(CHUNK_UNITS);
        let end = u64::from(chunks) * u64::from(CHUNK_UNITS);
        let mut at = u64::from(CHUNK_UNITS);
        while at < end {
            let mut order = at.trailing_zeros().min(ORDER_MAX);
            while at + (1 << order) > end {
                order -= 1;
            }
            arena.free[order as usize].insert(at as u32);
            at += 1 << order;
        }
        arena
    }

    /// A piece of 2^order units, aligned to its size.
    pub(super) fn allocate(&mut self, order: u32) -> Option<BlockRef> {
        let from = (order..=ORDER_MAX).find(|&o| !self.free[o as usize].is_empty())?;
        let at = self.free[from as usize].pop_first()?;
        for half in (order..from).rev() {
            self.free[half as usize].insert(at + (1 << half));
        }
        self.units_used += 1 << order;
        Some(BlockRef(at))
    }

    /// Gives back a piece, which is merged with its free neighbours.
    pub(super) fn release(&mut self, block: BlockRef, order: u32) {
        self.units_used -= 1 << order;
        let mut at = block.0;
        let mut order = order;
        while order < ORDER_MAX && self.free[order as usize].remove(&(at ^ (1 << order))) {
            at &= !(1 << order);
            order += 1;
        }
        self.free[order as usize].insert(at);
    }

    /// Whether so many units are free, though perhaps in pieces too small.
    pub(super) fn has_room(&self, units: u64) -> bool {
        self.units - self.units_used >= units
    }

    /// Units in use.
    pub(super) fn units_used(&self) -> u64 {
        self.units_used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_never_overlap_and_all_come_back(
            orders in prop::collection::vec(0..=6_u32, 1..200), chunks in 2..40_u32,
        ) {
            let mut arena = Arena::new(chunks);
            let mut pieces: Vec<(u32, u32)> = Vec::new();
            for order in orders {
                let Some(BlockRef(at)) = arena.allocate(order) else { continue };
                prop_assert!(at >= CHUNK_UNITS && at % (1 << order) == 0);
                prop_assert!(at + (1 << order) <= chunks * CHUNK_UNITS);
                for &(other, size) in &pieces {
                    prop_assert!(at + (1 << order) <= other || other + (1 << size) <= at);
                }
                pieces.push((at, order));
            }
            for (at, order) in pieces {
                arena.release(BlockRef(at), order);
            }
            prop_assert_eq!(arena.units_used(), 0);
            let mut whole = 0;
            while arena.allocate(4).is_some() {
                whole += 1;
            }
            prop_assert_eq!(whole, chunks - 1);
        }
    }
}
