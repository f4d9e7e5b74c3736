//! The load generator: plays lists of requests over cables, and counts what comes back.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpMode},
};
use loadgen::{Player, Request, Tally, flag, kind, name};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tracker_tests::Namespace;

use super::{cable::Cable, mapped::Mapped};

/// Longer than the longest request, so that the program changes the length of every frame.
const FRAME_BYTES: usize = 192;

/// Frames that are sent before the receiver's turn; a veth's ring holds four times as many.
const BATCH: u32 = 64;

/// Frames of one test run, whose set-up takes milliseconds.
const FRAMES_PER_RUN: u32 = 1 << 20;

/// As before, where a tracker in userspace has to keep up.
const FRAMES_PER_WINDOW_RUN: u32 = 1 << 10;

/// Requests without a reply after this long are lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// The programs and maps, in a namespace that all near ends are in.
pub struct Loadgen {
    ebpf: Ebpf,
    home: Namespace,
    target: Mapped<loadgen::Target>,
    requests: Mapped<Request>,
    connection_ids: Mapped<[u8; 8]>,
    players: Mapped<Player>,
    tallies: Mapped<Tally>,
}

/// How a list is played.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Generator threads, each on a processor of its own.
    pub generators: usize,
    /// For trackers in userspace: requests that may wait for their replies, as many as a socket holds.
    pub window: Option<u64>,
    /// Requests with a fault after each one without.
    pub faults: u32,
    /// Time between the requests of one generator; zero for no pause.
    pub interval: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    /// How long it took.
    pub elapsed: Duration,
    /// Requests sent.
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

    fn all(&self) -> u64 {
        self.replies.iter().sum::<u64>() + self.faulty
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
        Ok(Self {
            home: Namespace::new()?,
            target: Mapped::new(&ebpf, name::TARGET)?,
            requests: Mapped::new(&ebpf, name::REQUESTS)?,
            connection_ids: Mapped::new(&ebpf, name::CONNECTION_IDS)?,
            players: Mapped::new(&ebpf, name::PLAYERS)?,
            tallies: Mapped::new(&ebpf, name::TALLIES)?,
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
        cable.far.enter(|| echo.attach(super::cable::INTERFACE, XdpMode::Driver))?;
        Ok(())
    }

    /// Gives each client that asks in the list a connection id of the tracker's, and puts the list
    /// in the place of the last.
    ///
    /// # Errors
    /// A client gets no reply.
    pub fn prepare(&self, cable: &Cable, list: &[Request], pace: &Pace) -> Result<()> {
        ensure!(list.len() <= self.requests.len(), "the list is too long");
        let mut is_v6 = vec![None; self.connection_ids.len()];
        for request in list {
            is_v6[request.client as usize] = Some(request.flags & flag::V6);
        }
        let connects: Vec<_> = (0u32..)
            .zip(is_v6)
            .filter_map(|(client, is_v6)| is_v6.map(|flags| (client, flags)))
            .map(|(client, flags)| Request {
                client,
                flags,
                kind: kind::CONNECT,
                port: 4096,
                ..Request::default()
            })
            .collect();
        for client in &connects {
            self.connection_ids.set(client.client as usize, [0; 8]);
        }
        self.put(&connects);
        self.complete(cable, connects.len(), pace).context("connecting")?;
        let list = list.iter().map(|request| {
            let connection_id = self.connection_ids.get(request.client as usize);
            Request { connection_id, ..*request }
        });
        for (index, request) in list.enumerate() {
            self.requests.set(index, request);
        }
        Ok(())
    }

    fn put(&self, list: &[Request]) {
        for (index, request) in list.iter().enumerate() {
            self.requests.set(index, *request);
        }
    }

    /// Plays the first `len` requests, each until it is answered.
    ///
    /// # Errors
    /// Some are not.
    pub fn complete(&self, cable: &Cable, len: usize, pace: &Pace) -> Result<Outcome> {
        let mut total = Outcome::default();
        let step = pace.window.map_or(len, |window| window as usize);
        let start = Instant::now();
        for first in (0..len).step_by(step) {
            let end = len.min(first + step);
            let mut attempts = 3;
            loop {
                let outcome = self.play_once(cable, first..end)?;
                total.sent += outcome.sent;
                if outcome.all() == (end - first) as u64 {
                    for (sum, replies) in total.replies.iter_mut().zip(outcome.replies) {
                        *sum += replies;
                    }
                    break;
                }
                attempts -= 1;
                ensure!(attempts > 0, "{} of {} requests got a reply", outcome.all(), end - first);
            }
        }
        total.elapsed = start.elapsed();
        Ok(total)
    }

    /// Plays a part of the list once, and waits for the replies.
    fn play_once(&self, cable: &Cable, part: std::ops::Range<usize>) -> Result<Outcome> {
        let before = self.tally();
        self.target.set(0, cable.target());
        let player = Player {
            first: part.start as u32,
            end: part.end as u32,
            next: part.start as u32,
            ..Player::default()
        };
        self.players.set(0, player);
        self.on_processor(0, || self.run(cable, part.len() as u32))?;
        let sent = part.len() as u64;
        let mut outcome = Outcome::default();
        let mut since = Instant::now();
        while outcome.all() < sent && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(100));
            let now = since_then(&before, &self.tally());
            if now.all() > outcome.all() {
                since = Instant::now();
            }
            outcome = now;
        }
        Ok(Outcome { sent, ..outcome })
    }

    /// Plays the first `len` requests again and again for `time`.
    ///
    /// # Errors
    /// The kernel refuses to run the generator.
    pub fn play(&self, cable: &Cable, len: usize, pace: &Pace, time: Duration) -> Result<Outcome> {
        self.target.set(0, cable.target());
        let share = len.div_ceil(pace.generators);
        for processor in 0..pace.generators {
            let first = (processor * share) as u32;
            let player = Player {
                first,
                end: len.min((processor + 1) * share) as u32,
                next: first,
                faults: pace.faults,
                faults_left: pace.faults,
                interval_ns: pace.interval.as_nanos() as u64,
                ..Player::default()
            };
            self.players.set(processor, player);
        }
        let before = self.tally();
        let start = Instant::now();
        thread::scope(|scope| {
            let generators: Vec<_> = (0..pace.generators)
                .map(|processor| {
                    scope.spawn(move || {
                        self.on_processor(processor, || {
                            self.keep_playing(cable, pace, start + time)
                        })
                    })
                })
                .collect();
            generators.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        let elapsed = start.elapsed();
        let sent = (0..pace.generators).map(|processor| self.players.get(processor).sent).sum();
        Ok(Outcome { elapsed, sent, ..since_then(&before, &self.tally()) })
    }

    fn keep_playing(&self, cable: &Cable, pace: &Pace, end: Instant) -> Result<()> {
        let Some(window) = pace.window else {
            while Instant::now() < end {
                self.run(cable, FRAMES_PER_RUN)?;
            }
            return Ok(());
        };
        let before = self.tally();
        let (mut sent, mut replied, mut lost) = (0_u64, 0, 0);
        let mut progress = Instant::now();
        while Instant::now() < end {
            let now = since_then(&before, &self.tally()).all();
            if now > replied {
                (replied, progress) = (now, Instant::now());
            }
            let waiting = sent.saturating_sub(replied + lost);
            if waiting + u64::from(FRAMES_PER_WINDOW_RUN) <= window {
                self.run(cable, FRAMES_PER_WINDOW_RUN)?;
                sent += u64::from(FRAMES_PER_WINDOW_RUN);
            } else if progress.elapsed() > PATIENCE {
                lost += waiting;
            } else {
                thread::sleep(Duration::from_micros(50));
            }
        }
        Ok(())
    }

    /// Calls `f` in the near ends' namespace, on one processor.
    fn on_processor<T: Send>(
        &self,
        processor: usize,
        f: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        self.home.enter(|| {
            let mut set = CpuSet::new();
            set.set(processor)?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
            f()
        })
    }

    fn run(&self, cable: &Cable, frames: u32) -> Result<()> {
        let generate: &Xdp =
            self.ebpf.program(name::GENERATE).context("no generator")?.try_into()?;
        let frame = [0; FRAME_BYTES];
        // As a `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context = [0, FRAME_BYTES as u32, 0, cable.near, 0, 0];
        let context: Vec<_> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        generate.test_run(TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }

    fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for processor in 0..self.tallies.len() {
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

fn since_then(before: &Tally, now: &Tally) -> Outcome {
    Outcome {
        replies: std::array::from_fn(|kind| now.replies[kind] - before.replies[kind]),
        faulty: now.faulty.iter().sum::<u64>() - before.faulty.iter().sum::<u64>(),
        ..Outcome::default()
    }
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
