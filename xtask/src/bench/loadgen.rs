//! The load generator: plays lists of requests over cables, and counts what comes back.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode},
};
use loadgen::{Histogram, Player, Request, Tally, Target, attack, flag, kind, name};
use nix::time::{ClockId, clock_gettime};
use tracker_tests::Namespace;

use super::{
    cable::{Cable, INTERFACE},
    mapped::Mapped,
    processor,
};

/// Longer than the longest request, so that the program changes the length of every frame.
const FRAME_BYTES: usize = 384;

/// Frames that are sent before the receiver's turn; a veth's ring holds four times as many.
const BATCH: u32 = 64;

/// Runs of the program in one test run, which takes tens of milliseconds to end: when each sends a
/// frame, and when most wait for time to pass or replies to come.
const RUNS: u32 = 1 << 18;
const RUNS_PACED: u32 = 1 << 21;

/// Replies follow each other faster than this while there are any to come.
const STRAGGLE: Duration = Duration::from_millis(20);

/// How often requests that got no reply are repeated.
const ATTEMPTS: usize = 5;

/// The programs and maps, in a namespace that all near ends are in.
pub struct Loadgen {
    ebpf: Ebpf,
    home: Namespace,
    target: Mapped<Target>,
    requests: Mapped<Request>,
    connection_ids: Mapped<[u8; 8]>,
    players: Mapped<Player>,
    tallies: Mapped<Tally>,
    histograms: Mapped<Histogram>,
    samples: RingBuf<MapData>,
}

/// The connection ids that a tracker issued.
pub struct ConnectionIds {
    by_client: Vec<[u8; 8]>,
    since: Instant,
}

impl ConnectionIds {
    /// Most trackers' ids live two minutes.
    const USABLE: Duration = Duration::from_secs(60);

    /// No ids: for an echo, or for connects.
    pub fn none() -> Self {
        Self { by_client: Vec::new(), since: Instant::now() }
    }

    /// Whether they may expire before a turn is over.
    pub fn are_stale(&self) -> bool {
        self.since.elapsed() > Self::USABLE
    }
}

/// How a list is played.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Requests that may wait for their replies; 0 for any number.
    pub window: u64,
    /// Time between two requests; zero for no pause.
    pub interval: Duration,
    /// Requests with a fault after each one without.
    pub faults: u32,
    /// What these are: one of [`loadgen::attack`].
    pub attack: u32,
    /// Whose they are, where they are an attack: requests behind the list.
    pub attackers: (usize, usize),
    /// As [`Target::sample_mask`].
    pub sample_mask: u32,
    /// Whether times to the reply are measured; each request is sent by itself then.
    pub timed: bool,
}

impl Pace {
    /// As fast as it goes.
    pub const FLAT_OUT: Self = Self {
        window: 0,
        interval: Duration::ZERO,
        faults: 0,
        attack: attack::MIXED,
        attackers: (0, 0),
        sample_mask: u32::MAX,
        timed: false,
    };
}

/// What came of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    /// How long it took.
    pub elapsed: Duration,
    /// Requests sent, with faults and without.
    pub sent: u64,
    /// Replies to requests without fault: connects, announces, scrapes, errors.
    pub replies: [u64; 4],
    /// Replies to requests with a fault.
    pub faulty: u64,
}

impl Outcome {
    /// Replies that are no errors, to requests without fault.
    pub fn good(&self) -> u64 {
        self.replies[..3].iter().sum()
    }

    /// Such replies per second.
    pub fn rate(&self) -> f64 {
        self.good() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Loadgen {
    /// Loads the programs, with room for a list of so many requests from so many clients.
    ///
    /// # Errors
    /// We are not root, or the kernel refuses.
    pub fn load(object: &Path, requests: u32, clients: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(name::REQUESTS, requests)
            .map_max_entries(name::CONNECTION_IDS, clients)
            .load_file(object)?;
        for program in [name::GENERATE, name::COUNT, name::ECHO] {
            program_mut(&mut ebpf, program)?.load()?;
        }
        let samples = ebpf.take_map(name::SAMPLES).context("no samples")?;
        Ok(Self {
            home: Namespace::new()?,
            target: Mapped::new(&ebpf, name::TARGET)?,
            requests: Mapped::new(&ebpf, name::REQUESTS)?,
            connection_ids: Mapped::new(&ebpf, name::CONNECTION_IDS)?,
            players: Mapped::new(&ebpf, name::PLAYERS)?,
            tallies: Mapped::new(&ebpf, name::TALLIES)?,
            histograms: Mapped::new(&ebpf, name::HISTOGRAMS)?,
            samples: samples.try_into()?,
            ebpf,
        })
    }

    /// Lays a cable and counts what comes back over it.
    ///
    /// # Errors
    /// As [`Cable::new`].
    pub fn lay_cable(&mut self, number: u8) -> Result<Cable> {
        let cable = Cable::new(&self.home, number)?;
        let count = program_mut(&mut self.ebpf, name::COUNT)?;
        self.home.enter(|| count.attach_to_if_index(cable.near, XdpMode::Driver))?;
        Ok(cable)
    }

    /// Puts the echo at the far end of a cable.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach_echo(&mut self, cable: &Cable) -> Result<()> {
        let echo = program_mut(&mut self.ebpf, name::ECHO)?;
        cable.far.enter(|| echo.attach(INTERFACE, XdpMode::Driver))?;
        Ok(())
    }

    /// Gets connection ids from a tracker, for all clients of the list.
    ///
    /// # Errors
    /// A client gets no reply.
    pub fn connect<'a>(
        &self,
        cable: &Cable,
        list: impl IntoIterator<Item = &'a Request>,
        window: u64,
    ) -> Result<ConnectionIds> {
        let mut clients = vec![None; self.connection_ids.len()];
        for request in list {
            let Request { client, port, flags, .. } = *request;
            let flags = flags & (flag::V6 | flag::SITE);
            let connect =
                Request { client, port, flags, kind: kind::CONNECT, ..Request::default() };
            clients[client as usize] = Some(connect);
        }
        let since = Instant::now();
        for client in 0..clients.len() {
            self.connection_ids.set(client, [0; 8]);
        }
        for _ in 0..ATTEMPTS {
            let lack_id =
                |connect: &Request| self.connection_ids.get(connect.client as usize) == [0; 8];
            let connects: Vec<_> = clients.iter().flatten().copied().filter(lack_id).collect();
            if connects.is_empty() {
                let ids = (0..clients.len()).map(|client| self.connection_ids.get(client));
                return Ok(ConnectionIds { by_client: ids.collect(), since });
            }
            self.put(&connects, &ConnectionIds::none());
            self.play_once(cable, connects.len(), window)?;
        }
        anyhow::bail!("connects got no reply")
    }

    /// Puts this list in the place of the last.
    pub fn put<'a>(&self, list: impl IntoIterator<Item = &'a Request>, ids: &ConnectionIds) {
        for (index, request) in list.into_iter().enumerate() {
            let connection_id = ids.by_client.get(request.client as usize);
            let connection_id = connection_id.copied().unwrap_or_default();
            self.requests.set(index, Request { connection_id, ..*request });
        }
    }

    /// Plays the first `len` requests once, and waits for the replies.
    ///
    /// # Errors
    /// The kernel refuses to run the generator.
    pub fn play_once(&self, cable: &Cable, len: usize, window: u64) -> Result<Outcome> {
        let pace = Pace { window, ..Pace::FLAT_OUT };
        self.set_up(cable, len, 1, &pace, len as u64);
        let (before, start) = (self.tally(), Instant::now());
        self.on_processor(0, || {
            while self.players.get(0).remaining > 0 {
                self.run(cable, RUNS_PACED, BATCH)?;
            }
            Ok(())
        })?;
        self.wait_for_stragglers();
        let outcome = since(&before, &self.tally());
        Ok(Outcome { sent: len as u64, elapsed: start.elapsed(), ..outcome })
    }

    /// Plays the first `len` requests again and again, as fast as replies are made within the
    /// generator's own processor time: for programs that answer at once. Each generator has a part of
    /// the list and a processor of its own.
    ///
    /// What counts is the time that test runs take without their beginnings and ends.
    ///
    /// # Errors
    /// The kernel refuses to run the generator.
    pub fn play_flat_out(
        &self,
        cable: &Cable,
        len: usize,
        generators: usize,
        sample_mask: u32,
        time: Duration,
    ) -> Result<Outcome> {
        let pace = Pace { sample_mask, ..Pace::FLAT_OUT };
        self.set_up(cable, len, generators, &pace, u64::MAX);
        let before = self.tally();
        let play = |processor| {
            self.on_processor(processor, || {
                let mut played = Duration::ZERO;
                while played < time {
                    played += self.run(cable, RUNS, BATCH)?;
                }
                Ok(played)
            })
        };
        let played: Vec<Duration> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..generators).map(|processor| scope.spawn(move || play(processor))).collect();
            let played = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            played.collect::<Result<_>>()
        })?;
        let elapsed = played.iter().sum::<Duration>() / generators as u32;
        Ok(Outcome { elapsed, sent: self.sent(), ..since(&before, &self.tally()) })
    }

    /// Plays the first `len` requests again and again at this pace, by one generator. After a time
    /// to warm up, counts for some time what is sent and what is answered.
    ///
    /// # Errors
    /// The kernel refuses to run the generator.
    pub fn play(
        &self,
        cable: &Cable,
        len: usize,
        pace: &Pace,
        warm_up: Duration,
        time: Duration,
    ) -> Result<Outcome> {
        self.set_up(cable, len, 1, pace, u64::MAX);
        let stop = AtomicBool::new(false);
        let batch = if pace.timed { 1 } else { BATCH };
        thread::scope(|scope| {
            let generator = scope.spawn(|| {
                self.on_processor(0, || {
                    while !stop.load(Ordering::Relaxed) {
                        self.run(cable, RUNS_PACED, batch)?;
                    }
                    Ok(())
                })
            });
            thread::sleep(warm_up);
            let (before, sent, start) = (self.tally(), self.sent(), Instant::now());
            thread::sleep(time);
            let outcome = since(&before, &self.tally());
            let outcome = Outcome { elapsed: start.elapsed(), sent: self.sent() - sent, ..outcome };
            stop.store(true, Ordering::Relaxed);
            self.players.set(0, Player { remaining: 0, ..self.players.get(0) });
            generator.join().expect("no panic")?;
            self.wait_for_stragglers();
            Ok(outcome)
        })
    }

    /// Waits until no more replies come: they must not count in the next turn.
    fn wait_for_stragglers(&self) {
        let mut last = 0;
        while last != self.tally().all() {
            last = self.tally().all();
            thread::sleep(STRAGGLE);
        }
    }

    /// Takes the replies that were set aside.
    pub fn samples(&mut self) -> Vec<Vec<u8>> {
        let mut samples = Vec::new();
        while let Some(entry) = self.samples.next() {
            let (len, frame) = entry.split_first_chunk().expect("a sample starts with its length");
            samples.push(frame[..u32::from_ne_bytes(*len) as usize].to_vec());
        }
        samples
    }

    /// Takes the times to the reply that were measured: how many fell into each bucket.
    pub fn times(&self) -> Vec<u64> {
        let mut sum = vec![0; Histogram::BUCKETS];
        for processor in 0..processor::count() {
            let Histogram { counts } = self.histograms.get(processor);
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            self.histograms.set(processor, Histogram { counts: [0; Histogram::BUCKETS] });
        }
        sum
    }

    fn set_up(&self, cable: &Cable, len: usize, generators: usize, pace: &Pace, remaining: u64) {
        let target = Target {
            sample_mask: pace.sample_mask,
            timed: pace.timed.into(),
            processors: processor::count() as u16,
            ..cable.target()
        };
        self.target.set(0, target);
        let now_ns = monotonic_ns();
        let share = len.div_ceil(generators);
        for processor in 0..self.players.len() {
            let first = (processor * share).min(len) as u32;
            let is_used = processor < generators;
            let player = Player {
                first,
                end: len.min((processor + 1) * share) as u32,
                next: first,
                faults: pace.faults,
                faults_left: pace.faults,
                attack: pace.attack,
                attackers_first: pace.attackers.0 as u32,
                attackers: pace.attackers.1 as u32,
                remaining: if is_used { remaining } else { 0 },
                due_ns: if pace.interval.is_zero() { 0 } else { now_ns },
                interval_ns: pace.interval.as_nanos() as u64,
                window: pace.window,
                replied_before: self.tally().all(),
                progress_ns: now_ns,
                ..Player::default()
            };
            self.players.set(processor, player);
        }
    }

    /// Calls `f` in the near ends' namespace, on one processor and before others.
    fn on_processor<T: Send>(
        &self,
        processor: usize,
        f: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        self.home.enter(|| {
            processor::claim(processor)?;
            f()
        })
    }

    /// One test run. Returns how long the program, and who was woken by it, ran.
    fn run(&self, cable: &Cable, runs: u32, batch: u32) -> Result<Duration> {
        let generate: &Xdp =
            self.ebpf.program(name::GENERATE).context("no generator")?.try_into()?;
        let frame = [0; FRAME_BYTES];
        // As a `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context = [0, FRAME_BYTES as u32, 0, cable.near, 0, 0];
        let context: Vec<_> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let result = generate.test_run(TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: runs,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::default()
        })?;
        Ok(result.duration * runs)
    }

    fn sent(&self) -> u64 {
        (0..self.players.len()).map(|processor| self.players.get(processor).sent).sum()
    }

    fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for processor in 0..processor::count() {
            let tally = self.tallies.get(processor);
            for kind in 0..4 {
                sum.replies[kind] += tally.replies[kind];
                sum.faulty[kind] += tally.faulty[kind];
            }
            sum.bytes += tally.bytes;
        }
        sum
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("this clock always exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

fn since(before: &Tally, now: &Tally) -> Outcome {
    Outcome {
        replies: std::array::from_fn(|kind| now.replies[kind] - before.replies[kind]),
        faulty: now.faulty.iter().sum::<u64>() - before.faulty.iter().sum::<u64>(),
        ..Outcome::default()
    }
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
