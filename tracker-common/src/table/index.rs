//! Where a torrent's line is: one of two buckets, in the order in which they are most likely.

use super::layout::{BUCKET_LINES, Line, Memory};
use crate::{family::Family, hash::TableKey, id::InfoHash, verifier::Veil};

/// The shape of a table: fixed when it is made.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct TableShape {
    /// The secret of the hashes.
    pub key: TableKey,
    /// Buckets of the IPv4 index.
    pub buckets_v4: u32,
    /// Buckets of the IPv6 index.
    pub buckets_v6: u32,
    /// Chunks of the block arena.
    pub chunks: u32,
    /// Always zero.
    pub veil: Veil,
}

impl TableShape {
    #[inline(always)]
    pub(crate) const fn buckets<F: Family>(&self) -> u32 {
        if F::IS_V6 { self.buckets_v6 } else { self.buckets_v4 }
    }
}

/// The two buckets where a torrent may be, and the line of a bucket to look at first.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u64,
}

impl Place {
    #[inline(always)]
    pub(crate) fn of(shape: &TableShape, info_hash: &InfoHash) -> Self {
        Self { hash: shape.key.info_hash(info_hash) }
    }

    /// The first (0) or second (1) bucket.
    #[inline(always)]
    pub(crate) const fn bucket<F: Family>(self, shape: &TableShape, choice: u32) -> u32 {
        let half = if choice == 0 { self.hash as u32 } else { (self.hash >> 32) as u32 };
        ((half as u64 * shape.buckets::<F>() as u64) >> 32) as u32
    }

    /// The line of that bucket to try as the `turn`th.
    #[inline(always)]
    pub(crate) const fn line<F: Family>(self, shape: &TableShape, choice: u32, turn: u32) -> u32 {
        let slot = ((self.hash >> 28) as u32 + turn) % BUCKET_LINES;
        self.bucket::<F>(shape, choice) * BUCKET_LINES + slot
    }
}

/// The line of a torrent.
#[inline(always)]
pub fn find<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    info_hash: &InfoHash,
) -> Option<Line<F>> {
    let place = Place::of(shape, info_hash);
    for choice in 0..2 {
        for turn in 0..BUCKET_LINES {
            let line = Line::at(memory, place.line::<F>(shape, choice, turn))?;
            if line.holds(info_hash) {
                return Some(line);
            }
        }
    }
    None
}
