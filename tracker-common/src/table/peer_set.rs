//! The two peer sets of a spilled swarm: its seeders and its leechers.
//!
//! They are kept apart because they are asked for apart: a seeder is given leechers only, a leecher
//! seeders first. Each peer set is one leaf, or a directory of leaves (extendible hashing): the top bits
//! of a peer's hash choose the entry, and neighbouring entries may share a leaf.

use super::{
    Miss,
    layout::{CHUNK_UNITS, Memory},
    leaf::LeafRef,
};
use crate::{
    sync::{Word32, Word64},
    verifier::bounded,
};

/// The deepest directory: 65,536 leaves, eight million IPv4 peers.
#[cfg(not(target_arch = "bpf"))]
pub(crate) const DEPTH_MAX: u32 = 16;

/// Entries of a directory in one chunk.
const CHUNK_ENTRIES: u32 = CHUNK_UNITS * UNIT_ENTRIES;

/// Entries of a directory in one unit, the shortest piece of the arena.
pub(crate) const UNIT_ENTRIES: u32 = 8;

/// The body of the entry of a spilled torrent.
#[repr(C)]
pub(crate) struct PeerSets {
    /// Leechers, seeders.
    roots: [Word64; 2],
    counts: [Word32; 2],
}

/// The peers of one role.
#[derive(Clone, Copy)]
pub(crate) struct PeerSet<'a> {
    root: &'a Word64,
    /// Peers, among them those that have gone silent since the last sweep.
    pub(crate) count: &'a Word32,
}

impl PeerSets {
    #[inline(always)]
    pub(crate) fn leechers(&self) -> PeerSet<'_> {
        PeerSet { root: &self.roots[0], count: &self.counts[0] }
    }

    #[inline(always)]
    pub(crate) fn seeders(&self) -> PeerSet<'_> {
        PeerSet { root: &self.roots[1], count: &self.counts[1] }
    }

    /// The peer set of one role, then the other.
    #[inline(always)]
    pub(crate) fn own_and_other(&self, seeder: bool) -> [PeerSet<'_>; 2] {
        let own = seeder as usize;
        let set = |role: usize| PeerSet {
            // SAFETY: `role` is 0 or 1. Indexing would have a bound that panics.
            root: unsafe { self.roots.get_unchecked(role) },
            // SAFETY: as above.
            count: unsafe { self.counts.get_unchecked(role) },
        };
        [set(own), set(own ^ 1)]
    }
}

impl PeerSet<'_> {
    #[inline(always)]
    pub(crate) fn root(&self) -> Root {
        Root(self.root.load())
    }

    #[cfg(not(target_arch = "bpf"))]
    pub(crate) fn set_root(&self, root: Root) {
        self.root.store(root.0);
    }

    /// Peers. The count may be below zero for the moment between a change of a slot and its tally.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        let count = self.count.load();
        if count as i32 >= 0 { count } else { 0 }
    }
}

/// Where the leaves of a half are: the only leaf, or a directory: `0:19 | depth:5 | 0:8 | unit:32`, its first
/// unit and the binary logarithm of the number of its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root(pub u64);

impl Root {
    /// Above the number of a leaf's groups.
    const DEPTH_SHIFT: u32 = 40;

    /// A single leaf, or none.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn leaf(leaf: LeafRef) -> Self {
        Self(leaf.0)
    }

    /// A directory of 2^depth entries from this unit on.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn directory(unit: u32, depth: u32) -> Self {
        Self((depth as u64) << Self::DEPTH_SHIFT | unit as u64)
    }

    #[inline(always)]
    pub(crate) const fn depth(self) -> u32 {
        // The mask tells the verifier that a shift by this is within bounds.
        (self.0 >> Self::DEPTH_SHIFT) as u32 & 31
    }

    /// The directory's first unit.
    #[inline(always)]
    pub(crate) const fn unit(self) -> u32 {
        self.0 as u32
    }

    /// The number of the entry for a peer with this hash.
    #[inline(always)]
    pub(crate) const fn entry_of(self, hash: u64) -> u32 {
        ((hash >> 1) >> (63 - self.depth())) as u32
    }

    /// The leaf that an entry refers to.
    #[inline(always)]
    pub(crate) fn entry<M: Memory>(self, memory: &M, place: u32) -> Result<LeafRef, Miss> {
        if self.depth() == 0 {
            return Ok(LeafRef(self.0));
        }
        Ok(LeafRef(self.slot(memory, place)?.load()))
    }

    /// An entry of a directory.
    #[inline(always)]
    pub(crate) fn slot<M: Memory>(self, memory: &M, place: u32) -> Result<&Word64, Miss> {
        // Within the first chunk of the directory, which is not at its beginning if it is a short one.
        let at = self.unit() % CHUNK_UNITS * UNIT_ENTRIES + place;
        let number = (self.unit() / CHUNK_UNITS).wrapping_add(at / CHUNK_ENTRIES);
        let chunk = memory.chunk(number).ok_or(Miss::Corrupt)?;
        let index = bounded::<{ CHUNK_ENTRIES - 1 }>(at);
        // SAFETY: a chunk is so many entries, aligned to 8, and is in its memory while that is borrowed.
        Ok(unsafe { chunk.add(index * 8).cast::<Word64>().as_ref() })
    }
}
