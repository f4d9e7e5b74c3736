//! What an announce may cost in memory: look-ups in the table's maps, and cache lines.
//!
//! Each line that is not in the caches costs as much as all else that the program does, and nothing but
//! a count shows when there is one more.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    ptr::NonNull,
};

use tracker_common::{
    announce::Event,
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    sync::simulate::{Hooks, install},
    table::{index::TableShape, layout::Memory, owner::Table, swarm::Announce},
    time::{Clock, ticks_ns},
};

use crate::{heap::Heap, kernel};

const LIFETIME: u32 = 400;
const NOW_NS: u64 = ticks_ns(1000);
const WANT: u32 = 50;

/// What one announce touches.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    lookups: u32,
    lines: usize,
}

thread_local! {
    static LOOKUPS: Cell<u32> = const { Cell::new(0) };
    static LINES: RefCell<HashSet<usize>> = RefCell::default();
}

/// Memory whose maps count how often they are looked into.
struct Counting(Heap);

// SAFETY: all pointers are the heap's, which is part of this.
unsafe impl Memory for Counting {
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        LOOKUPS.set(LOOKUPS.get() + 1);
        self.0.bucket::<F>(index)
    }

    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        LOOKUPS.set(LOOKUPS.get() + 1);
        self.0.chunk(index)
    }
}

/// The dearest of the announces of all peers of a swarm that they are known in.
fn dearest<F: Family>(peers: u32, addr: impl Fn(u32) -> F::Addr) -> Cost {
    let mut rng = fastrand::Rng::with_seed(1);
    let shape = TableShape {
        key: TableKey(std::array::from_fn(|_| rng.u64(..))),
        buckets_v4: 1 << 10,
        buckets_v6: 1 << 10,
        chunks: 1 << 13,
        ..TableShape::default()
    };
    let table = Table::new(Heap::new(&shape), shape, LIFETIME, [1000, 1000], true);
    let (hash, mut list) = (InfoHash([9; 20]), PeerBuf::new());
    let announce = |peer: u32| Announce::<F> {
        addr: addr(peer),
        port: [1, peer as u8],
        seeder: peer.is_multiple_of(3),
        event: Event::None,
        numwant: WANT,
        seed: peer.wrapping_mul(0x9e37_79b1),
    };
    for peer in 0..peers {
        table.announce(&hash, &announce(peer), NOW_NS, &mut list);
        while table.has_work() {
            table.grow(NOW_NS, || {});
        }
    }
    let memory = Counting(table.into_memory());
    let later = Clock::new(NOW_NS + ticks_ns(100), LIFETIME);
    let touch = |address| LINES.with_borrow_mut(|lines| _ = lines.insert(address / 64));
    let mut dearest = Cost::default();
    for peer in 0..peers {
        LOOKUPS.set(0);
        LINES.with_borrow_mut(HashSet::clear);
        install(Some(Hooks { step: touch, wait: || {} }));
        let found = kernel::announce(&memory, &shape, later, &hash, &announce(peer), &mut list);
        install(None);
        assert!(found.is_ok(), "{found:?}");
        dearest.lookups = dearest.lookups.max(LOOKUPS.get());
        dearest.lines = dearest.lines.max(LINES.with_borrow(HashSet::len));
    }
    dearest
}

fn assert_budget<F: Family>(peers: u32, addr: impl Fn(u32) -> F::Addr, lookups: u32, lines: usize) {
    let cost = dearest::<F>(peers, addr);
    println!("{peers} peers over IPv{}: {cost:?}", if F::IS_V6 { 6 } else { 4 });
    assert!(cost.lookups <= lookups && cost.lines <= lines, "{peers} peers: {cost:?}");
}

fn v4(peer: u32) -> [u8; 4] {
    (0x0a00_0000 + peer).to_be_bytes()
}

fn v6(peer: u32) -> [u8; 16] {
    (0x2001_0db8_u128 << 96 | u128::from(peer.wrapping_mul(0x9e37_79b1))).to_be_bytes()
}

/// The four lines of a bucket, whose loads are under way together; over IPv6 two for the torrent found.
#[test]
fn a_torrent_in_its_line_costs_one_bucket() {
    assert_budget::<V4>(5, v4, 1, 4);
    assert_budget::<V6>(4, v6, 1, 5);
}

/// The bucket, the announcer's leaf, and those that peers are drawn from, the first of each half that is drawn
/// from looked up once more to begin its load early; of a big swarm by way of its directory.
#[test]
fn an_outgrown_swarm_costs_a_few_leaves() {
    assert_budget::<V4>(30, v4, 6, 9);
    assert_budget::<V6>(30, v6, 6, 19);
    assert_budget::<V4>(20_000, v4, 7, 28);
    assert_budget::<V6>(20_000, v6, 11, 41);
}
