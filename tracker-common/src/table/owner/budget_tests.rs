//! What one source may put into the table.

use super::{
    tests::{HASH, Heap, NOW, table, v4},
    *,
};
use crate::{
    budget::{Budget, Kind},
    family::V4,
    limit::Rate,
};

const LIFETIME_S: u64 = 1800;
const SOURCE: u32 = 0xc633_6401;

/// A table that the kernel does not use, with a budget of one kind for each source.
fn with_budget(kind: Kind, units: u64) -> Table<Heap> {
    let table = table(false);
    let mut limits = Limits { mask_v4: u32::MAX, meters_mask: 1023, ..Limits::default() };
    let source = Rate::per(units, LIFETIME_S);
    limits.budgets[kind as usize] = Budget { source, wide: Rate::default() };
    table.set_limits(limits);
    table
}

/// An announce of the source from a port.
fn from_port(port: u16, seeder: bool, event: Event) -> Announce<V4> {
    Announce { port: port.to_be_bytes(), ..v4(SOURCE, seeder, event) }
}

/// A hundred honest leechers of one torrent.
fn with_honest_peers(table: &Table<Heap>) {
    for n in 0..100 {
        announce(table, &v4(0x0a00_0000 + n, false, Event::Started));
    }
}

fn announce(table: &Table<Heap>, announce: &Announce<V4>) -> (Counts, PeerBuf) {
    let mut peers = PeerBuf::new();
    let counts = table.announce(&HASH, announce, NOW, &mut peers);
    (counts, peers)
}

#[test]
fn every_port_of_one_source_leaves_a_swarm_to_the_others() {
    let table = with_budget(Kind::Peers, 20);
    with_honest_peers(&table);
    for port in 1..=u16::MAX {
        let (_, peers) = announce(&table, &from_port(port, false, Event::Started));
        assert!(!peers.as_bytes().is_empty(), "it is answered as ever");
    }
    let counts = table.scrape::<V4>(&HASH, NOW);
    assert_eq!(counts.leechers, 100 + 21);
    assert_eq!(table.stats().unlisted, 65_535 - 21);
    let (counts, _) = announce(&table, &v4(0x0b00_0000, false, Event::Started));
    assert_eq!(counts.leechers, 100 + 21 + 1, "others join");
}

#[test]
fn a_peer_of_a_source_over_its_budget_is_refreshed_changes_its_role_and_leaves() {
    let table = with_budget(Kind::Peers, 20);
    with_honest_peers(&table);
    for port in 1..100 {
        announce(&table, &from_port(port, false, Event::Started));
    }
    let leechers = |port: u16, seeder, event| {
        let (counts, _) = announce(&table, &from_port(port, seeder, event));
        (counts.seeders, counts.leechers, counts.completed)
    };
    assert_eq!(leechers(1, false, Event::None), (0, 121, 0));
    assert_eq!(leechers(1, true, Event::Completed), (1, 120, 1));
    assert_eq!(leechers(1, true, Event::None), (1, 120, 1));
    assert_eq!(leechers(90, true, Event::Completed), (1, 120, 1), "it is not there");
    assert_eq!(leechers(1, true, Event::Stopped), (0, 120, 1));
}

#[test]
fn one_source_fills_half_of_the_table_and_no_more_than_its_budget_beyond() {
    let table = with_budget(Kind::Torrents, 10);
    let mut peers = PeerBuf::new();
    let torrent =
        |n: u8, last: u8| InfoHash(std::array::from_fn(|at| if at == 19 { last } else { n }));
    for n in 0..200 {
        table.announce(&torrent(n, 1), &v4(SOURCE, false, Event::Started), NOW, &mut peers);
    }
    let stats = table.stats();
    assert_eq!((stats.torrents, stats.torrents_refused), ([100, 0], 100));
    for n in 0..11 {
        table.announce(&torrent(n, 2), &v4(SOURCE + 1, false, Event::Started), NOW, &mut peers);
    }
    assert_eq!(table.stats().torrents, [111, 0], "there is room for others");
}

#[test]
fn a_source_over_its_misses_is_answered_and_brings_nothing() {
    let table = with_budget(Kind::Misses, 10);
    let mut peers = PeerBuf::new();
    for n in 0..100 {
        let torrent = InfoHash([n; 20]);
        let one = v4(SOURCE, false, Event::Started);
        table.announce_metered(&torrent, &one, NOW, &mut peers, true);
    }
    let stats = table.stats();
    assert_eq!((stats.torrents, stats.misses_refused), ([11, 0], 89));
    // What the kernel has counted is not counted again.
    table.announce(&InfoHash([200; 20]), &v4(SOURCE, false, Event::Started), NOW, &mut peers);
    assert_eq!(table.stats().torrents, [12, 0]);
}

#[test]
fn what_other_trackers_say_is_within_their_budgets() {
    let table = with_budget(Kind::Peers, 20);
    with_honest_peers(&table);
    for port in 1..=100_u16 {
        let peer = SavedPeer::<V4> {
            addr: SOURCE.to_be_bytes(),
            port: port.to_be_bytes(),
            seeder: false,
            age: 1,
        };
        table.merge(&HASH, &peer, NOW);
    }
    assert_eq!(table.scrape::<V4>(&HASH, NOW).leechers, 200);
}
