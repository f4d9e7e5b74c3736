//! One world: processors with the program, a daemon at a time, and those who announce.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use shuttle::thread;
use tracker_common::{
    announce::Event,
    family::{Family, V4, V6},
    hash::TableKey,
    peers::PeerBuf,
    table::{Miss, index::TableShape, layout::Gate, owner::Table},
    time::{Clock, ticks_ns},
};

use crate::{
    heap::Heap,
    kernel,
    model::{Name, PEERS_MAX, Peer, Role, Torrent, names},
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

/// What is different from world to world.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    torrents: [u32; 2],
    /// Of each torrent.
    peers: u32,
    buckets: u32,
    /// Announces that each processor receives.
    announces: u32,
    /// In per cent.
    leaving: u32,
    /// How often a daemon dies, at most.
    pub deaths: u32,
    /// Whether time passes.
    has_time: bool,
    /// Whether two announces of one peer may meet.
    pub has_crossing: bool,
}

impl Plan {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        let (torrents, peers) = match rng.u32(..4) {
            0 => ([1, 1], 1 << rng.u32(4..8)),
            1 => ([3, 2], rng.u32(4..12)),
            _ => ([7, 7], rng.u32(1..7)),
        };
        Self {
            torrents,
            peers,
            buckets: rng.u32(2..4),
            announces: rng.u32(10..80),
            leaving: [5, 20, 50][rng.usize(..3)],
            deaths: rng.u32(..4),
            has_time: rng.u32(..4) == 0,
            has_crossing: rng.u32(..4) == 0,
        }
    }
}

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

/// What happened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Figures {
    pub by_kernel: u64,
    pub by_daemon: u64,
    pub deaths: u64,
    pub certain: u64,
    pub uncertain: u64,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        self.by_kernel += other.by_kernel;
        self.by_daemon += other.by_daemon;
        self.deaths += other.deaths;
        self.certain += other.certain;
        self.uncertain += other.uncertain;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by_kernel, by_daemon, deaths, certain, uncertain } = self;
        write!(
            f,
            "{by_kernel} announces served by the kernel and {by_daemon} by {deaths} daemons that were \
             killed and others; {certain} peers checked, and {uncertain} more whose announces had met or \
             died with a daemon"
        )
    }
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

    /// A processor: receives announces, and runs the program for each.
    fn process(&self, number: usize) {
        for _ in 0..self.plan.announces {
            if self.plan.has_time && self.random(|rng| rng.u32(..20)) == 0 {
                self.tick.fetch_max((self.tick() + u64::from(LIFETIME) / 5).min(END), Relaxed);
            }
            turns::wait();
            let Some(packet) = self.send() else { continue };
            let name = locked(&self.peers)[packet.peer].name;
            self.runs[number].fetch_add(1, Relaxed);
            let served = if name.torrent.is_v6 {
                self.run_program::<V6>(name, &packet)
            } else {
                self.run_program::<V4>(name, &packet)
            };
            self.runs[number].fetch_add(1, Relaxed);
            if served {
                locked(&self.figures).by_kernel += 1;
                let seen = [packet.sent, self.tick()];
                locked(&self.peers)[packet.peer].end(packet.role, seen);
            } else {
                locked(&self.inbox).push_back(packet);
            }
        }
        self.sending.fetch_sub(1, Relaxed);
    }

    /// Whoever announces next.
    fn send(&self) -> Option<Packet> {
        let mut peers = locked(&self.peers);
        let mut rng = locked(&self.rng);
        let peer = rng.usize(..peers.len());
        let may_cross = self.plan.has_crossing && rng.u32(..4) == 0;
        if !peers[peer].is_idle() && !may_cross {
            return None;
        }
        let leaves = rng.u32(..100) < self.plan.leaving;
        let (role, event) = match rng.u32(..8) {
            _ if leaves => (Role::Absent, Event::Stopped),
            0 => (Role::Seeder, Event::Completed),
            1 | 2 => (Role::Seeder, Event::None),
            _ => (Role::Leecher, Event::None),
        };
        peers[peer].begin(role);
        let (seed, sent) = (rng.u32(..), self.tick());
        Some(Packet { peer, role, event, seed, sent, unremembered: 0, daemon: 0 })
    }

    /// Whether the kernel has answered.
    fn run_program<F: Family>(&self, name: Name, packet: &Packet) -> bool {
        let mut list = PeerBuf::new();
        let announce = name.announce::<F>(packet.role, packet.event, packet.seed);
        let clock = Clock::new(self.now_ns(), LIFETIME);
        let hash = name.torrent.info_hash();
        let was_listed = self.listed.load(Relaxed) && name.torrent.number < LISTED;
        let answer =
            kernel::announce::<F>(&self.heap, &self.shape, clock, &hash, &announce, &mut list);
        match answer {
            Ok(_) => self.check_list::<F>(name, &list),
            Err(miss) => {
                assert!(
                    !(was_listed && miss == Miss::Unknown),
                    "the kernel did not find a listed torrent"
                );
                assert!(miss != Miss::Corrupt, "the kernel met a reference that leads nowhere");
            }
        }
        answer.is_ok()
    }

    /// Whether a reply has but peers that announced to the torrent.
    fn check_list<F: Family>(&self, name: Name, list: &PeerBuf) {
        let peers = locked(&self.peers);
        let peer_of = |name| peers.iter().find(|peer| peer.name == name);
        let names = names::<F>(list.as_bytes());
        let is_blurred = peer_of(name).is_some_and(|peer| peer.is_blurred);
        for other in &names {
            let Some(other) = *other else { panic!("a torn peer in the reply to {name:?}") };
            assert_eq!(other.torrent, name.torrent, "a peer of another torrent, given to {name:?}");
            let is_known = peer_of(other).is_some_and(|peer| peer.has_announced);
            assert!(is_known || other == name, "{name:?} was given {other:?}, who never announced");
            let is_itself = other == name && names.len() > 1;
            assert!(!is_itself || is_blurred, "{name:?} was given itself among others");
        }
    }

    /// A worker of the daemon.
    fn work(&self, generation: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            let Some(mut packet) = locked(&self.inbox).pop_front() else { continue };
            packet.daemon = generation;
            locked(&self.at_work).push(packet);
            let stats = table.stats();
            packet.unremembered = stats.queue_dropped + stats.admission_refused;
            let name = locked(&self.peers)[packet.peer].name;
            if name.torrent.is_v6 {
                self.serve::<V6>(table, name, &packet);
            } else {
                self.serve::<V4>(table, name, &packet);
            }
            locked(&self.at_work)
                .retain(|other| other.peer != packet.peer || other.seed != packet.seed);
            locked(&self.figures).by_daemon += 1;
            locked(&self.peers)[packet.peer].end_waiting(self.tick());
            locked(&self.answered).push(packet);
        }
    }

    fn serve<F: Family>(&self, table: &Table<Heap>, name: Name, packet: &Packet) {
        let mut list = PeerBuf::new();
        let announce = name.announce::<F>(packet.role, packet.event, packet.seed);
        let _ = table.announce(&name.torrent.info_hash(), &announce, self.now_ns(), &mut list);
        self.check_list::<F>(name, &list);
    }

    /// The thread that makes room and sweeps.
    fn keep(&self, _: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            // What is answered by now is in the table or in the queue.
            let answered = locked(&self.answered).clone();
            if self.random(|rng| rng.u32(..4)) == 0 {
                let _ = table.sweep(self.now_ns(), || self.grace());
                continue;
            }
            table.grow(self.now_ns(), || self.grace());
            if table.has_work() {
                continue;
            }
            let stats = table.stats();
            let unremembered = stats.queue_dropped + stats.admission_refused;
            let mut peers = locked(&self.peers);
            for packet in &answered {
                let for_certain = packet.unremembered == unremembered;
                peers[packet.peer].applied(packet.role, [packet.sent, self.tick()], for_certain);
            }
            locked(&self.answered).drain(..answered.len());
        }
    }

    /// Saves the table again and again.
    fn save(&self, _: Generation, table: &Table<Heap>) {
        while !self.is_done() {
            turns::wait();
            self.save_family::<V4>(table);
            self.save_family::<V6>(table);
        }
    }

    fn save_family<F: Family>(&self, table: &Table<Heap>) {
        let _ = table.save::<F, ()>(self.now_ns(), |info_hash, _, peers| {
            for peer in peers {
                let name = Name::of::<F>(F::words(&peer.addr), peer.port);
                let is_ours = name.is_some_and(|name| name.torrent.info_hash() == *info_hash);
                assert!(is_ours, "a peer that is torn, or of another torrent, was saved: {name:?}");
            }
            Ok(())
        });
    }

    /// Puts torrents on a list.
    fn list(&self, _: Generation, table: &Table<Heap>) {
        let hash = |is_v6| move |number| Torrent { number, is_v6 }.info_hash();
        let hashes: Vec<_> = (0..LISTED).map(hash(false)).collect();
        let v4 = table.list::<V4>(&hashes, Gate::Open, || self.grace());
        let v6 = table.list::<V6>(&hashes, Gate::Open, || self.grace());
        if v4 + v6 == 0 {
            self.listed.store(true, Relaxed);
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
