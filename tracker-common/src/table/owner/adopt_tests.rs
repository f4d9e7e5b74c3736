//! A table that outlives its owner, wherever that was when it ended.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{
    tests::{HASH, Heap, NOW, shape, v4, v6},
    *,
};
use crate::{
    family::{V4, V6},
    table::{index::find, leaf::LeafRef, peer_set::Root},
    time::lifetime_from_secs,
};

/// Memory whose user is killed at the n-th time that it looks something up.
pub(super) struct Fused<'a> {
    heap: &'a Heap,
    pub(super) left: AtomicU32,
}

impl Fused<'_> {
    fn burn(&self) {
        let left = self.left.load(Relaxed);
        if left == 0 {
            resume_unwind(Box::new(()));
        }
        self.left.store(left - 1, Relaxed);
    }
}

// SAFETY: all pointers are the heap's, which outlives this.
unsafe impl Memory for Fused<'_> {
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        self.burn();
        self.heap.bucket::<F>(index)
    }

    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        self.burn();
        self.heap.chunk(index)
    }
}

const LIFE_S: u64 = 1800;

pub(super) fn fused(heap: &Heap) -> Table<Fused<'_>> {
    let memory = Fused { heap, left: AtomicU32::new(u32::MAX) };
    Table::new(memory, shape(), lifetime_from_secs(LIFE_S), [200, 200], true)
}

pub(super) fn adopt(heap: &Heap) -> (Table<Fused<'_>>, Adopted) {
    let memory = Fused { heap, left: AtomicU32::new(u32::MAX) };
    Table::adopt(memory, shape(), lifetime_from_secs(LIFE_S), [200, 200], || ())
}

/// Announces of so many peers of each family, remembered by the end.
pub(super) fn fill(table: &Table<Fused<'_>>, peers: u32) {
    let mut list = PeerBuf::new();
    for n in 1..=peers {
        table.announce(&HASH, &v4(n, n % 3 == 0, Event::Started), NOW, &mut list);
        table.announce(&HASH, &v6(n, n % 3 == 0, Event::Started), NOW, &mut list);
        if n % 50 == 0 {
            table.grow(NOW, || ());
        }
    }
    table.grow(NOW, || ());
}

/// Whether each of so many peers is there, once: announcing anew changes no count.
pub(super) fn assert_whole(table: &Table<Fused<'_>>, peers: u32) {
    let totals = table.sweep(NOW, || ());
    let seeders = u64::from(peers / 3);
    assert_eq!(totals.seeders, [seeders; 2]);
    assert_eq!(totals.leechers, [u64::from(peers) - seeders; 2]);
    fill(table, peers);
    assert_eq!(table.sweep(NOW, || ()), totals);
}

#[test]
fn a_table_is_adopted_with_all_that_is_in_it() {
    let heap = Heap::new(&shape());
    let before = fused(&heap);
    fill(&before, 1000);
    let (table, adopted) = adopt(&heap);
    assert_eq!(adopted, Adopted { torrents: [1, 1], damaged: 0 });
    assert_eq!(table.stats(), before.stats());
    assert_whole(&table, 1000);
    assert_eq!(table.sweep(NOW + 4_000_000_000_000, || ()), Totals::default());
    assert_eq!(table.stats().block_bytes, 0);
}

#[test]
fn what_a_dead_owner_left_frozen_is_unfrozen() {
    let heap = Heap::new(&shape());
    let before = fused(&heap);
    fill(&before, 5);
    let mut list = PeerBuf::new();
    before.announce(&HASH, &v4(6, false, Event::Started), NOW, &mut list);
    before.announce(&HASH, &v6(6, false, Event::Started), NOW, &mut list);
    let killed =
        catch_unwind(AssertUnwindSafe(|| before.grow(NOW, || resume_unwind(Box::new(())))));
    assert!(killed.is_err());
    let (table, _) = adopt(&heap);
    let (_, entry) = find::<V4, _>(table.memory(), table.shape(), &HASH).unwrap();
    assert!(!entry.meta().is_frozen());
    let (_, entry) = find::<V6, _>(table.memory(), table.shape(), &HASH).unwrap();
    assert!(entry.is_spilled() && swarm::scrape(entry, &table.clock(NOW)).is_ok());
}

#[test]
fn a_reference_that_leads_nowhere_costs_its_torrent_and_no_other() {
    let heap = Heap::new(&shape());
    let before = fused(&heap);
    fill(&before, 1000);
    let (_, entry) = find::<V4, _>(before.memory(), before.shape(), &HASH).unwrap();
    entry.sets().seeders().set_root(Root::leaf(LeafRef::new(1 << 30, 16)));
    let (table, adopted) = adopt(&heap);
    assert_eq!(adopted, Adopted { torrents: [0, 1], damaged: 1 });
    assert_eq!(table.scrape::<V4>(&HASH, NOW), Counts::default());
    assert_eq!(table.scrape::<V6>(&HASH, NOW).leechers, 667);
    fill(&table, 1000);
    assert_whole(&table, 1000);
}

#[test]
fn a_table_that_was_saved_is_restored_with_the_age_of_every_peer() {
    let heap = Heap::new(&shape());
    let before = fused(&heap);
    fill(&before, 1000);
    let mut list = PeerBuf::new();
    before.announce(&HASH, &v4(3, true, Event::Completed), NOW, &mut list);
    let other = Heap::new(&shape());
    let mut after = Table::new(
        Fused { heap: &other, left: AtomicU32::new(u32::MAX) },
        shape(),
        lifetime_from_secs(LIFE_S),
        [200, 200],
        false,
    );
    // As long after the start of the host as to be before it that the peers announced.
    let later = NOW + 600_000_000_000;
    let start = 60_000_000_000;
    let saved = before.save::<V4, ()>(later, |hash, completed, peers| {
        assert!(peers.iter().all(|peer| peer.age.abs_diff(139) <= 1));
        after.restore::<V4>(hash, completed, peers, start);
        Ok(())
    });
    saved.unwrap();
    before
        .save::<V6, ()>(later, |hash, completed, peers| {
            after.restore::<V6>(hash, completed, peers, start);
            Ok(())
        })
        .unwrap();
    after.share_with_kernel();
    assert_eq!(after.sweep(start, || ()), before.sweep(later, || ()));
    assert_eq!(after.scrape::<V4>(&HASH, start).completed, 0);
    let almost = start + (LIFE_S - 620) * 1_000_000_000;
    assert_eq!(after.sweep(almost, || ()).leechers, [667, 667]);
    assert_eq!(after.sweep(almost + 60_000_000_000, || ()).leechers, [0, 0]);
}

/// The daemon is killed at every point of its growth and of its sweep, one after the other.
#[test]
fn whenever_its_owner_is_killed_no_peer_is_lost_or_doubled() {
    for step in 0..4_000 {
        let heap = Heap::new(&shape());
        let before = fused(&heap);
        fill(&before, 150);
        for n in 151..=300 {
            let mut list = PeerBuf::new();
            before.announce(&HASH, &v4(n, n % 3 == 0, Event::Started), NOW, &mut list);
            before.announce(&HASH, &v6(n, n % 3 == 0, Event::Started), NOW, &mut list);
        }
        before.memory().left.store(step * 7, Relaxed);
        let grown = catch_unwind(AssertUnwindSafe(|| before.grow(NOW, || ())));
        let (table, adopted) = adopt(&heap);
        assert_eq!(adopted, Adopted { torrents: [1, 1], damaged: 0 }, "killed at {step}");
        fill(&table, 300);
        assert_whole(&table, 300);
        if grown.is_ok() {
            return;
        }
    }
    panic!("it never came to an end");
}
