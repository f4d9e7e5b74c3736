//! The table against a model, on plain memory.

use std::{cell::UnsafeCell, collections::HashMap, ptr::NonNull};

use proptest::prelude::*;

use super::*;
use crate::{
    budget::meters, hash::TableKey, limit::Meter, table::layout::BUCKET_ENTRIES,
    time::lifetime_from_secs,
};

/// Zeroed memory that outlives the table in it.
pub(super) struct Heap {
    v4: Box<[UnsafeCell<[u64; 32]>]>,
    v6: Box<[UnsafeCell<[u64; 64]>]>,
    chunks: Box<[UnsafeCell<[u64; 128]>]>,
    meters: Box<[Meter]>,
}

impl Heap {
    pub(super) fn new(shape: &TableShape) -> Self {
        Self {
            v4: (0..shape.buckets_v4).map(|_| UnsafeCell::new([0; 32])).collect(),
            v6: (0..shape.buckets_v6).map(|_| UnsafeCell::new([0; 64])).collect(),
            chunks: (0..shape.chunks).map(|_| UnsafeCell::new([0; 128])).collect(),
            meters: (0..meters(METERS_OF_ROW)).map(|_| Meter::default()).collect(),
        }
    }
}

// SAFETY: each item is a boxed cell of as many words as a bucket or a chunk has, which none but the table borrows,
// and stays in its box for as long as the heap lives.
unsafe impl Memory for Heap {
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        if F::IS_V6 {
            self.v6.get(index as usize).map(|bucket| NonNull::from(bucket).cast())
        } else {
            self.v4.get(index as usize).map(|bucket| NonNull::from(bucket).cast())
        }
    }

    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        self.chunks.get(index as usize).map(|chunk| NonNull::from(chunk).cast())
    }

    fn meter(&self, index: u32) -> Option<&Meter> {
        self.meters.get(index as usize)
    }
}

const METERS_OF_ROW: u32 = 1 << 10;

pub(super) fn shape() -> TableShape {
    TableShape {
        key: TableKey([
            0x0123_4567_89ab_cdef,
            0x1111_2222_3333_4445,
            0x7777_1234_5678_9abd,
            0xfeed_f00d_dead_beef,
        ]),
        buckets_v4: 64,
        buckets_v6: 64,
        chunks: 8192,
        ..Default::default()
    }
}

pub(super) fn table(shared_with_kernel: bool) -> Table<Heap> {
    let shape = shape();
    Table::new(Heap::new(&shape), shape, lifetime_from_secs(1800), [200, 200], shared_with_kernel)
}

pub(super) const HASH: InfoHash = InfoHash([7; 20]);
pub(super) const NOW: u64 = 3_600_000_000_000;

pub(super) fn v4(n: u32, seeder: bool, event: Event) -> Announce<crate::family::V4> {
    Announce { addr: n.to_be_bytes(), port: [0x1a, 0xe1], seeder, event, numwant: 50, seed: n }
}

pub(super) fn v6(n: u32, seeder: bool, event: Event) -> Announce<crate::family::V6> {
    let addr = (u128::from(n) | 0x2001_0db8 << 96).to_be_bytes();
    Announce { addr, port: [0x1a, 0xe1], seeder, event, numwant: 50, seed: n }
}

#[test]
fn the_first_peer_is_given_itself_and_the_second_the_first() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    table.announce(&HASH, &v4(1, false, Event::Started), NOW, &mut peers);
    assert_eq!(peers.as_bytes(), [0, 0, 0, 1, 0x1a, 0xe1]);
    let counts = table.announce(&HASH, &v4(2, true, Event::Started), NOW, &mut peers);
    assert_eq!(peers.as_bytes(), [0, 0, 0, 1, 0x1a, 0xe1]);
    assert_eq!(counts, Counts { seeders: 1, leechers: 1, completed: 0 });
}

#[test]
fn a_peer_that_leaves_or_wants_none_is_given_none_in_a_swarm_of_any_size() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 1..200 {
        let none = Announce { numwant: 0, ..v4(n, false, Event::Started) };
        table.announce(&HASH, &none, NOW, &mut peers);
        assert!(peers.is_empty(), "with {n} in the swarm");
        table.announce(&HASH, &v4(n, false, Event::Stopped), NOW, &mut peers);
        assert!(peers.is_empty(), "with {n} in the swarm");
        table.announce(&HASH, &none, NOW, &mut peers);
    }
    assert_eq!(table.scrape::<crate::family::V4>(&HASH, NOW).leechers, 199);
}

#[test]
fn a_seeder_among_seeders_is_not_given_itself() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 1..100 {
        table.announce(&HASH, &v4(n, true, Event::None), NOW, &mut peers);
        assert_eq!(peers.is_empty(), n > 1, "the seeder {n}");
    }
}

#[test]
fn who_only_looks_is_given_peers_and_changes_nothing() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    let client = v4(0, false, Event::None);
    assert_eq!(table.look(&HASH, &client, NOW, &mut peers), Counts::default());
    assert_eq!((peers.len(), table.stats().torrents), (0, [0, 0]));
    for n in 1..100 {
        table.announce(&HASH, &v4(n, false, Event::None), NOW, &mut peers);
        let counts = table.look(&HASH, &client, NOW, &mut peers);
        assert_eq!(counts, Counts { seeders: 0, leechers: n, completed: 0 });
        assert_eq!(peers.len(), 6 * n.min(50));
    }
    table.look(&HASH, &Announce { event: Event::Stopped, ..client }, NOW, &mut peers);
    assert!(peers.is_empty());
}

#[test]
fn torrents_that_look_alike_are_not_taken_for_one_another() {
    // A glance at a bucket compares the last four bytes only. There are 64 buckets.
    let named = |n: u8| InfoHash(std::array::from_fn(|at| if at == 3 { n } else { 9 }));
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 1..=150 {
        table.announce(&named(n), &v4(n.into(), false, Event::Started), NOW, &mut peers);
        table.announce(&named(n), &v6(n.into(), false, Event::Started), NOW, &mut peers);
    }
    for n in 1..=150 {
        table.announce(&named(n), &v4(200, false, Event::Started), NOW, &mut peers);
        assert_eq!(peers.as_bytes(), [0, 0, 0, n, 0x1a, 0xe1]);
        let counts = table.scrape::<crate::family::V6>(&named(n), NOW);
        assert_eq!(counts, Counts { seeders: 0, leechers: 1, completed: 0 });
    }
    assert_eq!(table.scrape::<crate::family::V4>(&named(151), NOW), Counts::default());
}

#[test]
fn a_stopped_announce_does_not_admit_a_torrent() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    table.announce(&HASH, &v4(1, false, Event::Stopped), NOW, &mut peers);
    assert_eq!(table.stats().torrents, [0, 0]);
}

#[test]
fn a_completed_download_counts_once() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    table.announce(&HASH, &v6(1, false, Event::Started), NOW, &mut peers);
    for _ in 0..2 {
        table.announce(&HASH, &v6(1, true, Event::Completed), NOW, &mut peers);
    }
    let counts = table.scrape::<crate::family::V6>(&HASH, NOW);
    assert_eq!(counts, Counts { seeders: 1, leechers: 0, completed: 1 });
}

#[test]
fn a_swarm_of_a_hundred_thousand_is_whole_and_gives_fifty() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 1..=100_000 {
        table.announce(&HASH, &v4(n, n % 5 == 0, Event::Started), NOW, &mut peers);
    }
    let counts = table.scrape::<crate::family::V4>(&HASH, NOW);
    assert_eq!(counts, Counts { seeders: 20_000, leechers: 80_000, completed: 0 });
    table.announce(&HASH, &v4(3, false, Event::None), NOW, &mut peers);
    assert_eq!(peers.len(), 50 * 6);
}

#[test]
fn expiry_frees_peers_torrents_and_blocks() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 1..=1000 {
        table.announce(&HASH, &v4(n, false, Event::Started), NOW, &mut peers);
        table.announce(&HASH, &v6(n, false, Event::Started), NOW, &mut peers);
    }
    assert_eq!(table.sweep(NOW, || {}), table.count(NOW, || {}));
    assert!(table.stats().block_bytes > 0);
    assert_eq!(table.sweep(NOW + 3_600_000_000_000, || {}), Totals::default());
    assert_eq!(table.stats().torrents, [0, 0]);
    assert_eq!(table.stats().block_bytes, 0);
}

#[test]
fn torrents_and_peers_are_counted_and_torrents_without_peers_are_not() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    assert_eq!(table.count(NOW, || {}), Totals::default());
    for n in 1..=1000 {
        table.announce(&HASH, &v4(n, n % 4 == 0, Event::Started), NOW, &mut peers);
    }
    table.announce(&InfoHash([1; 20]), &v6(1, false, Event::Started), NOW, &mut peers);
    let expected = Totals { torrents: [1, 1], seeders: [250, 0], leechers: [750, 1] };
    assert_eq!(table.count(NOW, || {}), expected);
    // It is kept for the sake of its completed download.
    table.announce(&InfoHash([1; 20]), &v6(1, true, Event::Completed), NOW, &mut peers);
    table.announce(&InfoHash([1; 20]), &v6(1, true, Event::Stopped), NOW, &mut peers);
    assert_eq!(
        table.count(NOW, || {}),
        Totals { torrents: [1, 0], leechers: [750, 0], ..expected }
    );
    assert_eq!(table.stats().torrents, [1, 1]);
}

#[test]
fn at_the_cap_new_torrents_are_answered_but_not_kept() {
    let (table, mut peers) = (table(false), PeerBuf::new());
    for n in 0..300_u32 {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        let counts = table.announce(&InfoHash(hash), &v4(1, false, Event::None), NOW, &mut peers);
        assert_eq!((counts.leechers, peers.len()), (1, 6));
    }
    let stats = table.stats();
    assert!(stats.torrents[0] <= 200 && stats.torrents[0] > 150, "{stats:?}");
    assert_eq!(u64::from(stats.torrents[0]) + stats.admission_refused, 300);
    assert_eq!(stats.blocks_refused, 0, "it is torrents that are full");
}

#[test]
fn what_the_kernel_may_be_using_grows_only_after_a_grace_period() {
    let (table, mut peers) = (table(true), PeerBuf::new());
    for n in 1..=6 {
        table.announce(&HASH, &v4(n, false, Event::Started), NOW, &mut peers);
    }
    assert_eq!(table.scrape::<crate::family::V4>(&HASH, NOW).leechers, 5);
    assert!(table.has_work());
    let mut frozen_during_grace = false;
    table.grow(NOW, || {
        let entry = find::<crate::family::V4, Heap>(table.memory(), table.shape(), &HASH);
        frozen_during_grace = entry.is_some_and(|(_, entry)| entry.meta().is_frozen());
    });
    assert!(frozen_during_grace);
    assert_eq!(table.scrape::<crate::family::V4>(&HASH, NOW).leechers, 6);
    assert!(!table.has_work());
}

#[test]
fn a_download_counts_though_a_later_announce_is_quicker() {
    let (table, mut peers) = (table(true), PeerBuf::new());
    let mut announce = |announce| table.announce(&HASH, &announce, NOW, &mut peers);
    for peer in 0..40 {
        announce(v4(peer, false, Event::Started));
        table.grow(NOW, || {});
    }
    let last = (0..40).find(|&peer| {
        announce(v4(peer, true, Event::Completed));
        table.has_work()
    });
    let last = last.expect("no seeder has to wait");
    // Another leaves, so that there is room before the table grows.
    announce(v4(last - 1, true, Event::Stopped));
    announce(v4(last, true, Event::None));
    table.grow(NOW, || {});
    let counts = table.scrape::<crate::family::V4>(&HASH, NOW);
    assert_eq!(counts, Counts { seeders: last, leechers: 39 - last, completed: last + 1 });
}

#[test]
fn an_index_entry_is_reached_by_its_number() {
    let table = table(false);
    let last = table.shape().buckets_v4 * BUCKET_ENTRIES;
    assert!(Entry::<crate::family::V4>::at(table.memory(), last - 1).is_some());
    assert!(Entry::<crate::family::V4>::at(table.memory(), last).is_none());
}

#[test]
fn torrents_make_way_for_newcomers_until_the_table_is_full() {
    for shared_with_kernel in [false, true] {
        let mut table = table(shared_with_kernel);
        table.torrents_max = [204, 0];
        let mut list = PeerBuf::new();
        for n in 0..204_u32 {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
            table.announce(&InfoHash(hash), &v4(1, false, Event::None), NOW, &mut list);
            // Several wait at a time, and may have one entry in mind.
            if n % 32 == 31 {
                table.grow(NOW, || {});
            }
        }
        while table.has_work() {
            table.grow(NOW, || {});
        }
        assert_eq!(table.stats().torrents[0], 204, "of {} entries", 64 * BUCKET_ENTRIES);
    }
}

/// One announce of a small world, so that swarms grow and torrents meet.
fn step() -> impl Strategy<Value = (u8, u32, bool, Event, bool, u32)> {
    let event = prop_oneof![
        6 => Just(Event::None),
        1 => Just(Event::Started),
        1 => Just(Event::Stopped),
        1 => Just(Event::Completed),
    ];
    let numwant = prop_oneof![6 => Just(50), 1 => Just(3), 1 => Just(0)];
    (0..4_u8, 1..400_u32, any::<bool>(), event, any::<bool>(), numwant)
}

proptest! {
    #[test]
    fn the_table_holds_what_a_map_of_maps_would(steps in prop::collection::vec(step(), 1..3000)) {
        let (table, mut buf) = (table(false), PeerBuf::new());
        let mut model: HashMap<(u8, bool), HashMap<u32, bool>> = HashMap::new();
        let mut largest: HashMap<(u8, bool), usize> = HashMap::new();
        for (torrent, peer, seeder, event, is_v6, numwant) in steps {
            let seeder = seeder || event == Event::Completed;
            let hash = InfoHash([torrent; 20]);
            let swarm = model.entry((torrent, is_v6)).or_default();
            if event == Event::Stopped {
                swarm.remove(&peer);
            } else {
                swarm.insert(peer, seeder);
            }
            let counts = if is_v6 {
                let announce = Announce { numwant, ..v6(peer, seeder, event) };
                table.announce(&hash, &announce, NOW, &mut buf)
            } else {
                let announce = Announce { numwant, ..v4(peer, seeder, event) };
                table.announce(&hash, &announce, NOW, &mut buf)
            };
            let seeders = swarm.values().filter(|&&seeder| seeder).count() as u32;
            prop_assert_eq!((counts.seeders, counts.leechers), (seeders, swarm.len() as u32 - seeders));

            let size = if is_v6 { 18 } else { 6 };
            let mut given: Vec<u32> = buf
                .as_bytes()
                .chunks_exact(size)
                .map(|peer| u32::from_be_bytes(peer[size - 6..size - 2].try_into().unwrap()))
                .collect();
            let wanted = if event == Event::Stopped { 0 } else { numwant as usize };
            prop_assert!(given.len() <= wanted);
            let choice = swarm.iter().filter(|&(&other, &s)| other != peer && !(seeder && s)).count();
            // Peer sets that never outgrew one leaf are drawn from as a whole.
            let largest = largest.entry((torrent, is_v6)).or_default();
            *largest = swarm.len().max(*largest);
            let is_alone = swarm.len() == 1 && swarm.contains_key(&peer);
            if is_alone && wanted > 0 {
                prop_assert_eq!(&given, &[peer]);
            } else {
                prop_assert!(*largest > 40 || given.len() == choice.min(wanted));
                prop_assert!(given.iter().all(|other| *other != peer && swarm.contains_key(other)));
            }
            given.sort_unstable();
            given.dedup();
            prop_assert_eq!((given.len() * size) as u32, buf.len());
        }
    }
}
