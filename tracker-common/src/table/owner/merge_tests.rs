//! Peers of other trackers, in a table that the kernel uses and in one that it does not.

use super::{tests::*, *};
use crate::{
    family::{V4, V6},
    time::ticks_ns,
};

const LIFETIME: u16 = 420;

fn peer(n: u32, seeder: bool, age: u16) -> SavedPeer<V4> {
    SavedPeer { addr: n.to_be_bytes(), port: [0x1a, 0xe1], seeder, age }
}

fn counts(table: &Table<Heap>, ticks_later: u64) -> [u32; 2] {
    let counts = table.scrape::<V4>(&HASH, NOW + ticks_ns(ticks_later));
    [counts.seeders, counts.leechers]
}

/// In an entry, and in leaves.
fn swarms(shared_with_kernel: bool) -> impl Iterator<Item = (Table<Heap>, u32)> {
    [0, 40].into_iter().map(move |others| {
        let table = table(shared_with_kernel);
        for n in 0..others {
            let at = NOW + ticks_ns(10);
            table.announce(&HASH, &v4(1000 + n, false, Event::Started), at, &mut PeerBuf::new());
            table.grow(at, || ());
        }
        (table, others)
    })
}

#[test]
fn a_peer_keeps_its_age() {
    for (table, others) in swarms(false) {
        table.merge(&HASH, &peer(1, true, LIFETIME - 5), NOW);
        table.merge(&HASH, &peer(2, true, LIFETIME + 5), NOW);
        assert_eq!(counts(&table, 0), [1, others]);
        table.sweep(NOW + ticks_ns(10), || ());
        assert_eq!(counts(&table, 10), [0, others]);
    }
}

#[test]
fn what_was_heard_since_counts_more() {
    for (table, others) in swarms(false) {
        table.announce(&HASH, &v4(1, true, Event::Started), NOW, &mut PeerBuf::new());
        table.merge(&HASH, &peer(1, false, 0), NOW);
        table.merge(&HASH, &peer(1, false, 100), NOW);
        assert_eq!(counts(&table, 0), [1, others]);
        table.sweep(NOW + ticks_ns(u64::from(LIFETIME) - 5), || ());
        assert_eq!(counts(&table, u64::from(LIFETIME) - 5)[0], 1, "it has grown older");
    }
}

#[test]
fn what_was_heard_before_gives_way() {
    for (table, others) in swarms(false) {
        table.merge(&HASH, &peer(1, false, 100), NOW);
        table.merge(&HASH, &peer(1, true, 50), NOW);
        assert_eq!(counts(&table, 0), [1, others]);
    }
}

#[test]
fn who_left_elsewhere_goes_unless_heard_of_since() {
    for (table, others) in swarms(false) {
        table.merge(&HASH, &peer(1, true, 100), NOW);
        table.depart(&HASH, &peer(1, false, 100), NOW);
        assert_eq!(counts(&table, 0), [0, others], "it left within the same tick");
        table.merge(&HASH, &peer(2, true, 100), NOW);
        table.depart(&HASH, &peer(2, true, 101), NOW);
        assert_eq!(counts(&table, 0), [1, others], "it left before");
        table.announce(&HASH, &v4(3, false, Event::Started), NOW, &mut PeerBuf::new());
        table.depart(&HASH, &peer(3, false, 1), NOW);
        assert_eq!(counts(&table, 0), [1, others + 1], "it is back");
        table.depart(&HASH, &peer(4, false, 0), NOW);
        table.depart(&InfoHash([9; 20]), &peer(4, false, 0), NOW);
        assert_eq!(counts(&table, 0), [1, others + 1], "it was never there");
    }
}

#[test]
fn downloads_that_were_completed_elsewhere_count_where_the_torrent_is_known() {
    for (table, _) in swarms(false) {
        table.merge(&HASH, &peer(1, true, 100), NOW);
        assert!(table.complete::<V4>(&HASH));
        assert!(!table.complete::<V4>(&InfoHash([9; 20])));
        assert_eq!(table.scrape::<V4>(&HASH, NOW).completed, 1);
    }
}

#[test]
fn one_that_waits_for_room_keeps_its_age_and_gives_way_to_its_own_announce() {
    let (table, mut list) = (table(true), PeerBuf::new());
    for n in 0..5 {
        table.announce(&HASH, &v4(1000 + n, false, Event::Started), NOW, &mut list);
    }
    table.merge(&HASH, &peer(1, true, LIFETIME - 5), NOW);
    table.merge(&HASH, &peer(2, false, LIFETIME - 5), NOW);
    table.announce(&HASH, &v4(2, true, Event::Started), NOW, &mut list);
    assert!(table.has_work());
    table.grow(NOW, || ());
    assert_eq!(counts(&table, 0), [2, 5]);
    let later = NOW + ticks_ns(10);
    table.sweep(later, || ());
    assert_eq!(counts(&table, 10), [1, 5]);
}

#[test]
fn over_ipv6_the_whole_address_counts() {
    let (table, mut list) = (table(false), PeerBuf::new());
    let announce = v6(1, true, Event::Started);
    table.announce(&HASH, &announce, NOW, &mut list);
    let known = SavedPeer { addr: announce.addr, port: announce.port, seeder: false, age: 9 };
    table.merge::<V6>(&HASH, &known, NOW);
    table.merge::<V6>(&HASH, &SavedPeer { addr: [9; 16], ..known }, NOW);
    let counts = table.scrape::<V6>(&HASH, NOW);
    assert_eq!((counts.seeders, counts.leechers), (1, 1));
}

#[test]
fn a_table_without_room_takes_nobody() {
    let table = table(false);
    for n in 0..300_u32 {
        let mut info_hash = HASH;
        info_hash.0[..4].copy_from_slice(&n.to_be_bytes());
        table.merge(&info_hash, &peer(1, true, 0), NOW);
    }
    let stats = table.stats();
    assert_eq!((stats.torrents[0], stats.admission_refused), (200, 0));
}
