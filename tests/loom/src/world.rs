//! One bucket of entries and one or two leaves, and what both sides do to them.

use std::{
    cell::RefCell,
    convert::Infallible,
    ops::{Deref, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use loom::{
    model::Builder,
    thread::{self, JoinHandle},
};
use tracker_common::{
    announce::Event,
    family::Family,
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    sync,
    table::{
        Miss,
        index::TableShape,
        layout::Memory as _,
        owner::Table,
        swarm::{Announce, Counts},
    },
    time::{Clock, lifetime_from_secs},
};

use crate::{heap::Heap, kernel};

pub const NOW: u64 = 3_600_000_000_000;
pub const HASH: InfoHash = InfoHash([7; 20]);
pub const OTHER_HASH: InfoHash = InfoHash([9; 20]);

/// What the program's loads and plain stores are in order with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All that came before, as natively; on x86-64 the program's are too.
    Strong,
    /// Nothing, as on a processor that reorders them.
    Weak,
}

/// Runs a model in every order with at most so many preemptions.
pub fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let runs = Arc::new(AtomicU64::new(0));
    let count = runs.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("{} orders", runs.load(Relaxed));
}

/// What goes wrong in one of the orders.
///
/// # Panics
/// Nothing does.
pub fn failure_of(preemptions: usize, model: impl Fn() + Send + Sync + 'static) -> String {
    let explored = catch_unwind(AssertUnwindSafe(|| explore(preemptions, model)));
    sync::loom::leave();
    let failure = explored.expect_err("the model holds");
    let text = failure.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| failure.downcast_ref().cloned()).expect("the message of a panic")
}

/// A table with a bucket or two of one family. While it is made, nothing is modelled.
pub struct World<F> {
    pub table: Table<Heap>,
    family: std::marker::PhantomData<F>,
}

/// A [`World`] in a model.
pub struct Shared<F>(Arc<World<F>>);

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Deref for Shared<F> {
    type Target = World<F>;

    fn deref(&self) -> &World<F> {
        &self.0
    }
}

impl<F: Family> World<F> {
    pub fn new() -> Self {
        Self::with_buckets(1)
    }

    pub fn with_buckets(buckets: u32) -> Self {
        let shape = TableShape {
            key: TableKey([1, 2, 3, 5]),
            buckets_v4: if F::IS_V6 { 0 } else { buckets },
            buckets_v6: if F::IS_V6 { buckets } else { 0 },
            chunks: 2,
            ..Default::default()
        };
        let table =
            Table::new(Heap::new(&shape), shape, lifetime_from_secs(1800), [4 * buckets; 2], true);
        Self { table, family: std::marker::PhantomData }
    }

    /// Begins the model. So many entries of each bucket can have peers, and there are so many units of leaves.
    pub fn share(self, entries: usize, units: usize) -> Shared<F> {
        let entry_bytes = if F::IS_V6 { 128 } else { 64 };
        let mut regions = Vec::new();
        for bucket in (0..).map_while(|at| self.table.memory().bucket::<F>(at)) {
            let bytes = |entry| if entry < entries { entry_bytes } else { 24 };
            regions.extend((0..4).map(|entry| words(bucket, entry * entry_bytes, bytes(entry))));
        }
        if units > 0 {
            let [first, second] = [0, 1].map(|at| self.table.memory().chunk(at).expect("a chunk"));
            // The note of what is being moved.
            regions.push(words(first, 512, 160));
            regions.push(words(second, 0, units * 64));
        }
        // SAFETY: the regions are within the table's memory, which is aligned and zeroed at first.
        unsafe { sync::loom::enter(&regions) };
        Shared(Arc::new(self))
    }

    /// The XDP program's answer: the peers that it lists, or why the packet is passed.
    pub fn kernel(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
    ) -> Result<(Counts, Vec<u32>), Miss> {
        let clock = Clock::new(NOW, lifetime_from_secs(1800));
        let mut list = Box::new(PeerBuf::new());
        let (memory, shape) = (self.table.memory(), self.table.shape());
        let counts = kernel::announce(memory, shape, clock, info_hash, announce, &mut list)?;
        Ok((counts, list.as_bytes().chunks_exact(F::PEER_BYTES).map(named).collect()))
    }

    /// The daemon's answer.
    pub fn daemon(&self, info_hash: &InfoHash, announce: &Announce<F>) -> Counts {
        self.table.announce(info_hash, announce, NOW, &mut Box::new(PeerBuf::new()))
    }

    /// All peers of a torrent in order, and whether they are seeders.
    pub fn peers(&self, info_hash: &InfoHash) -> Vec<(u32, bool)> {
        let found = RefCell::new(Vec::new());
        let saved = self.table.save::<F, Infallible>(NOW, |of, _, peers| {
            if of == info_hash {
                found.borrow_mut().extend(peers.iter().map(|peer| {
                    let mut bytes = peer.addr.as_ref().to_vec();
                    bytes.extend(peer.port);
                    (named(&bytes), peer.seeder)
                }));
            }
            Ok(())
        });
        saved.expect("nothing fails");
        let mut found = found.into_inner();
        found.sort_unstable();
        found
    }

    /// The figures as a scrape returns them.
    pub fn counts(&self, info_hash: &InfoHash) -> [u32; 2] {
        let counts = self.table.scrape::<F>(info_hash, NOW);
        [counts.seeders, counts.leechers]
    }
}

impl<F: Family> Shared<F> {
    /// Another processor on which the XDP program runs.
    pub fn processor<T: 'static>(
        &self,
        order: Order,
        run: impl FnOnce(&World<F>) -> T + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || {
            if order == Order::Weak {
                sync::loom::weaken();
            }
            run(&world)
        })
    }
}

impl<F> Drop for World<F> {
    fn drop(&mut self) {
        sync::loom::leave();
    }
}

fn words(base: NonNull<u8>, offset: usize, bytes: usize) -> Range<*const u64> {
    let start = base.as_ptr().wrapping_add(offset).cast::<u64>().cast_const();
    start..start.wrapping_add(bytes / 8)
}

/// An announce of the peer with this number.
pub fn announce<F: Family>(peer: u32, seeder: bool, event: Event) -> Announce<F> {
    let half = u64::from(peer) << 32 | u64::from(peer);
    let addr = if F::IS_V6 { [half, half] } else { [u64::from(peer), 0] };
    let addr = F::from_words(addr);
    Announce { addr, port: [0x1a, 0xe1], seeder, event, numwant: 50, seed: 0 }
}

/// The number of a peer.
///
/// # Panics
/// It is nobody's whole address and port.
fn named(bytes: &[u8]) -> u32 {
    let (addr, port) = bytes.split_at(bytes.len() - 2);
    assert_eq!(port, [0x1a, 0xe1], "a port is torn");
    let mut words = addr.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
    let first = words.next().expect("an address");
    assert!(words.all(|word| word == first), "an address is torn: {addr:x?}");
    first
}
