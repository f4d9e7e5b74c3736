//! One world: processors with the program, a daemon at a time, and those who announce.

mod actors;
mod figures;
mod plan;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use shuttle::thread;
use tracker_common::{
    announce::Event,
    hash::TableKey,
    table::{index::TableShape, owner::Table},
    time::ticks_ns,
};

pub use self::figures::Figures;
use self::plan::Plan;
use crate::{
    heap::Heap,
    model::{Name, PEERS_MAX, Peer, Role, Torrent},
    turns::{self, Generation, Killed},
};

/// Processors that run the program.
const PROCESSORS: usize = 3;

/// Workers of a daemon.
const WORKERS: usize = 2;

/// In ticks.
pub const LIFETIME: u32 = 150;

/// The tick at which a world begins.
const START: u64 = 5000;

/// The last one: what was begun at the first may still be going on, and no clock may be as far behind
/// the others' as that a word of theirs looks old.
const END: u64 = START + 250;

/// Torrents of which the kernel is told in advance.
const LISTED: u32 = 2;

/// An announce on its way to the daemon.
#[derive(Clone, Copy)]
struct Packet {
    peer: usize,
    role: Role,
    event: Event,
    seed: u32,
    sent: u64,
    /// Announces that had been refused for want of room by then.
    unremembered: u64,
    /// The daemon that works on it or has answered it.
    daemon: Generation,
}

/// All of it.
pub struct World {
    pub plan: Plan,
    pub heap: Heap,
    pub shape: TableShape,
    tick: AtomicU64,
    /// When the last growth began.
    growing: AtomicU64,
    peers: Mutex<Vec<Peer>>,
    /// Odd while the program runs.
    runs: [AtomicU32; PROCESSORS],
    inbox: Mutex<VecDeque<Packet>>,
    at_work: Mutex<Vec<Packet>>,
    answered: Mutex<Vec<Packet>>,
    listed: AtomicBool,
    sending: AtomicU32,
    rng: Mutex<fastrand::Rng>,
    pub figures: Mutex<Figures>,
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.try_lock().expect("no turn ends with a lock of the model")
}

impl World {
    pub fn new(seed: u64) -> Arc<Self> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let shape = TableShape {
            key: TableKey(std::array::from_fn(|_| rng.u64(..))),
            buckets_v4: plan.buckets,
            buckets_v6: plan.buckets,
            chunks: 400,
            ..Default::default()
        };
        let mut peers = Vec::new();
        for (is_v6, torrents) in [(false, plan.torrents[0]), (true, plan.torrents[1])] {
            for number in 0..torrents {
                let torrent = Torrent { number, is_v6 };
                peers.extend(
                    (0..plan.peers.min(PEERS_MAX))
                        .map(|number| Peer::new(Name { torrent, number })),
                );
            }
        }
        Arc::new(Self {
            plan,
            heap: Heap::new(&shape),
            shape,
            tick: AtomicU64::new(START),
            growing: AtomicU64::new(START),
            peers: Mutex::new(peers),
            runs: Default::default(),
            inbox: Mutex::default(),
            at_work: Mutex::default(),
            answered: Mutex::default(),
            listed: AtomicBool::new(false),
            sending: AtomicU32::new(PROCESSORS as u32),
            rng: Mutex::new(rng),
            figures: Mutex::default(),
        })
    }

    pub fn torrents_max(&self) -> [u32; 2] {
        [self.plan.buckets * 4; 2]
    }

    pub fn tick(&self) -> u64 {
        self.tick.load(Relaxed)
    }

    pub fn now_ns(&self) -> u64 {
        ticks_ns(self.tick())
    }

    pub fn has_time(&self) -> bool {
        self.plan.has_time
    }

    pub fn torrents(&self, is_v6: bool) -> impl Iterator<Item = Torrent> {
        (0..self.plan.torrents[usize::from(is_v6)]).map(move |number| Torrent { number, is_v6 })
    }

    pub fn peers(&self) -> Vec<Peer> {
        locked(&self.peers).clone()
    }

    fn random<T>(&self, choose: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        choose(&mut locked(&self.rng))
    }

    /// Returns once no run of the program that is under way is any more.
    fn grace(&self) {
        for run in &self.runs {
            let seen = run.load(Relaxed);
            while seen % 2 == 1 && run.load(Relaxed) == seen {
                turns::wait();
            }
        }
    }

    /// Runs the world to its end; returns the last daemon's table.
    pub fn run(self: &Arc<Self>, seed: u64) -> Table<Heap> {
        let mut table = Arc::new(Table::new(
            self.heap.clone(),
            self.shape,
            LIFETIME,
            self.torrents_max(),
            true,
        ));
        turns::begin(seed);
        let processors: Vec<_> = (0..PROCESSORS)
            .map(|number| {
                let world = Arc::clone(self);
                thread::spawn(move || world.process(number))
            })
            .collect();
        let mut generation = 1;
        loop {
            let may_die = generation <= self.plan.deaths;
            if may_die {
                turns::kill_in(self.random(|rng| 1 << rng.u32(4..16)));
            }
            if self.live(generation, &table) {
                break;
            }
            table = loop {
                generation += 1;
                if generation <= self.plan.deaths && self.random(fastrand::Rng::bool) {
                    turns::kill_in(self.random(|rng| rng.u64(1..500)));
                }
                if let Some(table) = self.adopt(generation) {
                    break Arc::new(table);
                }
            };
        }
        for processor in processors {
            processor.join().expect("a processor does not die");
        }
        Arc::into_inner(table).expect("the daemon has ended")
    }

    /// Has a daemon live until there is nothing left to do, or until it is killed: `false`.
    fn live(self: &Arc<Self>, generation: Generation, table: &Arc<Table<Heap>>) -> bool {
        let mut parts = Vec::new();
        let mut part = |work: fn(&World, Generation, &Table<Heap>)| {
            let (world, table) = (Arc::clone(self), Arc::clone(table));
            parts.push(thread::spawn(move || {
                until_killed(generation, || work(&world, generation, &table)).is_some()
            }));
        };
        (0..WORKERS).for_each(|_| part(Self::work));
        part(Self::keep);
        part(Self::save);
        part(Self::list);
        let mut survived = true;
        for part in parts {
            survived &= part.join().expect("a daemon dies only if it is killed");
        }
        if !survived {
            self.bury(generation);
        }
        survived
    }

    fn adopt(&self, generation: Generation) -> Option<Table<Heap>> {
        let adopted = until_killed(generation, || {
            Table::adopt(self.heap.clone(), self.shape, LIFETIME, self.torrents_max(), || {
                self.grace();
            })
        });
        let Some((table, found)) = adopted else {
            self.bury(generation);
            return None;
        };
        assert_eq!(found.damaged, 0, "an adopted table has damaged torrents");
        Some(table)
    }

    /// What a dead daemon had not applied may never be.
    fn bury(&self, generation: Generation) {
        locked(&self.figures).deaths += 1;
        let mut peers = locked(&self.peers);
        for packet in locked(&self.answered).drain(..) {
            peers[packet.peer].lost(true, true, self.tick());
        }
        for packet in locked(&self.at_work).drain(..) {
            assert_eq!(packet.daemon, generation);
            peers[packet.peer].lost(false, true, self.tick());
        }
        for packet in locked(&self.inbox).drain(..) {
            peers[packet.peer].lost(false, false, self.tick());
        }
    }

    /// Whether all announces have been sent and applied.
    fn is_done(&self) -> bool {
        self.sending.load(Relaxed) == 0
            && locked(&self.inbox).is_empty()
            && locked(&self.at_work).is_empty()
            && locked(&self.answered).is_empty()
    }
}

/// Does a daemon's work to its end, or to the daemon's: `None`.
fn until_killed<T>(generation: Generation, work: impl FnOnce() -> T) -> Option<T> {
    turns::belong_to(generation);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        turns::wait();
        work()
    }));
    turns::leave();
    match ended {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Killed>() => None,
        Err(panic) => resume_unwind(panic),
    }
}
