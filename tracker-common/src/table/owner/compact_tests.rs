//! What peers leave behind is given back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::{
    adopt_tests::{adopt, assert_whole, fill, fused},
    tests::{HASH, Heap, NOW, shape, table, v4, v6},
    *,
};
use crate::family::{V4, V6};

const SECOND: u64 = 1_000_000_000;
/// When peers that announced at `NOW` have expired, and those that did so half a life later have not.
const LATE: u64 = NOW + 900 * SECOND;
const EXPIRED: u64 = NOW + 1900 * SECOND;

/// One announce, and what it needs.
fn announce<F: Family>(table: &Table<Heap>, hash: &InfoHash, announce: &Announce<F>, now: u64) {
    table.announce(hash, announce, now, &mut PeerBuf::new());
    while table.has_work() {
        table.grow(now, || ());
    }
}

/// Sweeps, and gives back what can be. Returns the bytes in use.
fn settle(table: &Table<Heap>, now: u64) -> u64 {
    // The second sweep finds what the first has merged.
    for _ in 0..4 {
        table.sweep(now, || ());
        while table.compact(now, || ()) {}
    }
    table.stats().block_bytes
}

/// Bytes that are in use after the same peers have joined a new table.
fn afresh(peers: impl Iterator<Item = (InfoHash, u32, bool)>) -> u64 {
    let table = table(false);
    for (hash, n, seeder) in peers {
        announce(&table, &hash, &v4(n, seeder, Event::Started), LATE);
        announce(&table, &hash, &v6(n, seeder, Event::Started), LATE);
    }
    table.stats().block_bytes
}

/// Of one host with very many ports; every third is announced, which keeps the test short.
fn port(n: u16) -> Announce<V4> {
    let addr = [198, 51, 100, 1];
    let port = n.to_be_bytes();
    Announce { addr, port, seeder: false, event: Event::Started, numwant: 0, seed: 0 }
}

#[test]
fn what_a_host_with_all_its_ports_took_is_given_back() {
    for is_shared in [false, true] {
        let table = table(is_shared);
        let others: Vec<_> =
            (0..280).map(|n| (InfoHash([n as u8 % 7; 20]), n, n % 4 == 0)).collect();
        for &(hash, n, seeder) in &others {
            announce(&table, &hash, &v4(n, seeder, Event::Started), LATE);
            announce(&table, &hash, &v6(n, seeder, Event::Started), LATE);
        }
        let before = table.stats().block_bytes;
        for n in (1..=u16::MAX).step_by(3) {
            announce(&table, &InfoHash([3; 20]), &port(n), NOW);
        }
        let most = table.stats().block_bytes;
        assert!(most > 10 * before, "{most} bytes in use, {before} before");
        let after = settle(&table, EXPIRED);
        let afresh = afresh(others.iter().copied());
        assert!(after * 10 <= afresh * 13, "{after} bytes in use, {afresh} afresh");
        let totals = table.sweep(EXPIRED, || ());
        assert_eq!((totals.seeders, totals.leechers), ([70; 2], [210; 2]));
    }
}

#[test]
fn a_full_arena_that_has_emptied_has_room_for_new_swarms() {
    let shape = TableShape { chunks: 200, ..shape() };
    let lifetime = crate::time::lifetime_from_secs(1800);
    let table = Table::new(Heap::new(&shape), shape, lifetime, [200, 200], true);
    // One peer of each hundred stays.
    for n in 0..25_000 {
        let now = if n % 100 == 0 { LATE } else { NOW };
        announce(&table, &HASH, &v4(n, false, Event::Started), now);
    }
    let stats = table.stats();
    assert!(stats.blocks_refused > 0, "the arena is not full");
    assert_eq!(stats.admission_refused, stats.blocks_refused, "it is blocks that are full");
    settle(&table, EXPIRED);
    let refused = table.stats().admission_refused;
    for n in 0..4000 {
        announce(&table, &InfoHash([1; 20]), &v4(n, false, Event::Started), EXPIRED);
    }
    assert_eq!(table.stats().admission_refused, refused);
    assert_eq!(table.scrape::<V4>(&InfoHash([1; 20]), EXPIRED).leechers, 4000);
}

#[test]
fn whenever_its_owner_is_killed_while_it_compacts_no_peer_is_lost_or_doubled() {
    let mut killed = 0;
    for left in (0..).step_by(5) {
        let heap = Heap::new(&shape());
        let before = fused(&heap);
        fill(&before, 600);
        let mut list = PeerBuf::new();
        for n in 101..=600 {
            before.announce(&HASH, &v4(n, n % 3 == 0, Event::Stopped), NOW, &mut list);
            before.announce(&HASH, &v6(n, n % 3 == 0, Event::Stopped), NOW, &mut list);
        }
        before.sweep(NOW, || ());
        before.memory().left.store(left, Relaxed);
        let ended = catch_unwind(AssertUnwindSafe(|| while before.compact(NOW, || ()) {})).is_ok();
        let (table, adopted) = adopt(&heap);
        assert_eq!(adopted, Adopted { torrents: [1, 1], damaged: 0 });
        assert_whole(&table, 100);
        if ended {
            break;
        }
        killed += 1;
    }
    assert!(killed > 50, "killed {killed} times only");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn after_any_history_memory_is_what_the_peers_need_and_a_third_of_that(
        is_shared: bool,
        sizes in prop::collection::vec((0..700_u32, 1..60_u32), 3..9),
    ) {
        let table = table(is_shared);
        let mut left = Vec::new();
        for (torrent, &(peers, every)) in sizes.iter().enumerate() {
            let hash = InfoHash([torrent as u8; 20]);
            for n in 0..peers {
                let stays = n % every == 0;
                let now = if stays { LATE } else { NOW };
                announce(&table, &hash, &v4(n, n % 5 == 0, Event::Started), now);
                announce(&table, &hash, &v6(n, n % 5 == 0, Event::Started), now);
                if stays {
                    left.push((hash, n, n % 5 == 0));
                }
            }
        }
        let after = settle(&table, EXPIRED);
        let afresh = afresh(left.iter().copied());
        prop_assert!(after * 10 <= afresh * 13, "{} bytes in use, {} afresh", after, afresh);
        let (mut seeders, mut leechers) = (0, 0);
        for torrent in 0..sizes.len() {
            for counts in [
                table.scrape::<V4>(&InfoHash([torrent as u8; 20]), EXPIRED),
                table.scrape::<V6>(&InfoHash([torrent as u8; 20]), EXPIRED),
            ] {
                seeders += counts.seeders as usize;
                leechers += counts.leechers as usize;
            }
        }
        prop_assert_eq!(seeders, 2 * left.iter().filter(|(.., seeder)| *seeder).count());
        prop_assert_eq!(seeders + leechers, 2 * left.len());
    }
}
