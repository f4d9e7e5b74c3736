//! An arena of 64 GiB, of which only what is touched takes memory.

use std::{
    cell::UnsafeCell,
    collections::{BTreeSet, HashMap},
    ptr::NonNull,
};

use proptest::prelude::*;

use super::{
    arena::Arena,
    tests::{Heap, NOW, shape, v4, v6},
    *,
};
use crate::{
    family::{V4, V6},
    table::{
        layout::{CHUNK_UNITS, CHUNKS_MAX},
        leaf::LeafRef,
        peer_set::{DEPTH_MAX, Root},
    },
    time::lifetime_from_secs,
};

/// Chunks in 4 GiB.
const CHUNKS_4_GIB: u32 = 4 << 20;

/// Memory whose chunks are made when they are first looked at.
struct Sparse {
    buckets: Heap,
    chunks: Mutex<HashMap<u32, Box<UnsafeCell<[u64; 128]>>>>,
}

// SAFETY: buckets are those of the heap. A chunk is a boxed cell of as many words as one has; it is put into its
// box when it is first asked for, and stays there for as long as the map lives.
unsafe impl Memory for Sparse {
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        self.buckets.bucket::<F>(index)
    }

    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        let mut chunks = locks::lock(&self.chunks);
        let made = || Box::new(UnsafeCell::new([0; 128]));
        (index < CHUNKS_MAX)
            .then(|| NonNull::from(&**chunks.entry(index).or_insert_with(made)).cast())
    }
}

/// An empty table whose leaves are from this chunk on.
fn table_from(first_chunk: u32) -> Table<Sparse> {
    let buckets = Heap::new(&TableShape { chunks: 1, ..shape() });
    let memory = Sparse { buckets, chunks: Mutex::default() };
    let shape = TableShape { chunks: CHUNKS_MAX, ..shape() };
    let table = Table::new(memory, shape, lifetime_from_secs(1800), [200; 2], false);
    table.owner().arena = Arena::beginning_at(CHUNKS_MAX, first_chunk);
    table
}

/// Two torrents of this many peers each, the first of which has its leaves before the boundary, at whose far
/// side those of the second are.
fn assert_not_mixed<F: Family>(
    boundary: u32,
    announce: impl Fn(u32, bool, Event) -> Announce<F>,
    peer_of: impl Fn(&[u8]) -> u32,
) {
    const PEERS: u32 = 5000;
    let (table, mut peers) = (table_from(1), PeerBuf::new());
    for torrent in [0, 1] {
        let first = 1 + torrent * boundary;
        table.owner().arena = Arena::beginning_at(CHUNKS_MAX, first);
        for n in 0..PEERS {
            let n = torrent * PEERS + n;
            let announce = announce(n + 1, n.is_multiple_of(2), Event::Started);
            table.announce(&InfoHash([torrent as u8 + 1; 20]), &announce, NOW, &mut peers);
        }
    }
    assert_eq!(table.stats().admission_refused, 0, "no room at chunk {boundary}");
    for torrent in [0, 1] {
        let info_hash = InfoHash([torrent as u8 + 1; 20]);
        let set = PEERS / 2;
        let expected = Counts { seeders: set, leechers: set, completed: 0 };
        assert_eq!(table.scrape::<F>(&info_hash, NOW), expected);
        let own = torrent * PEERS + 1..=(torrent + 1) * PEERS;
        for n in own.clone() {
            table.announce(&info_hash, &announce(n, n % 2 == 1, Event::None), NOW, &mut peers);
            let given = peers.as_bytes().chunks(F::PEER_BYTES).map(&peer_of);
            let given: BTreeSet<_> = given.collect();
            assert!(given.iter().all(|peer| own.contains(peer)), "{given:?} of torrent {torrent}");
        }
        assert_eq!(table.scrape::<F>(&info_hash, NOW), expected, "a peer joined twice");
    }
}

#[test]
fn swarms_are_not_mixed_in_more_than_four_gibibytes_of_blocks() {
    let v4_peer = |peer: &[u8]| u32::from_be_bytes([peer[0], peer[1], peer[2], peer[3]]);
    let v6_peer = |peer: &[u8]| u32::from_be_bytes([peer[12], peer[13], peer[14], peer[15]]);
    for boundary in [CHUNKS_4_GIB, 2 * CHUNKS_4_GIB, CHUNKS_MAX - 3000] {
        assert_not_mixed::<V4>(boundary, v4, v4_peer);
        assert_not_mixed::<V6>(boundary, v6, v6_peer);
    }
}

#[test]
fn a_table_far_up_in_its_blocks_is_adopted_whole() {
    let (table, mut peers) = (table_from(2 * CHUNKS_4_GIB), PeerBuf::new());
    for n in 1..=40_000 {
        table.announce(&InfoHash([1; 20]), &v4(n, false, Event::Started), NOW, &mut peers);
    }
    let before = table.stats();
    let shape = *table.shape();
    let lifetime = lifetime_from_secs(1800);
    let (table, found) = Table::adopt(table.into_memory(), shape, lifetime, [200; 2], || ());
    assert_eq!((found.torrents, found.damaged), ([1, 0], 0));
    assert_eq!(table.stats().block_bytes, before.block_bytes);
}

proptest! {
    #[test]
    fn a_reference_names_any_unit_of_the_arena(
        unit in prop_oneof![
            0..CHUNKS_MAX * CHUNK_UNITS,
            (1_u32 << 26) - 2..(1 << 26) + 2,
            (CHUNKS_MAX - 1) * CHUNK_UNITS..CHUNKS_MAX * CHUNK_UNITS,
        ],
        groups in 1..=CHUNK_UNITS,
        depth in 1..=DEPTH_MAX,
        frozen: bool,
    ) {
        let leaf = LeafRef::new(unit, groups).with_frozen(frozen);
        prop_assert_eq!((leaf.unit(), leaf.groups(), leaf.is_frozen()), (unit, groups, frozen));
        let thawed = leaf.with_frozen(false);
        prop_assert_eq!((thawed.unit(), thawed.groups(), thawed.is_frozen()), (unit, groups, false));
        prop_assert_eq!((Root::leaf(leaf).depth(), Root::leaf(leaf).0), (0, leaf.0));
        let directory = Root::directory(unit, depth);
        prop_assert_eq!((directory.unit(), directory.depth()), (unit, depth));
    }
}
