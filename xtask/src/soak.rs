//! `cargo xtask soak`: the public profile with churn, through the kernel, for as long as one gives it;
//! in the end every figure of every torrent is held against a model.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use loadgen::Request;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, ScrapeReply, Scratch, Tracker, UdpClient,
    eventually,
};

use crate::{apt, bench::profile::Profile, build, process};

/// What `cargo xtask soak` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Torrents, a fifth of them over IPv6; the public profile is scaled to them
    #[arg(long, default_value_t = 50_000)]
    torrents: u32,
}

/// Announces between two looks at the clock.
const ROUND: usize = 5_000;

/// How often memory is looked at, in parts of the whole.
const LOOKS: u32 = 20;

/// Info-hashes of one scrape.
const SCRAPE: usize = 50;

/// How much more memory the second half may take than the first: pages that were not touched before.
const GROWTH_MAX_KIB: u64 = 4096;

/// Runs it, and prints what was done and found.
///
/// # Errors
/// A figure is wrong, memory grew, or the tracker cannot be run.
pub fn run(args: &Args) -> Result<()> {
    ensure!(process::is_root(), "this makes network namespaces, which needs root");
    apt::provide(&apt::NAMESPACE_PROGRAMS)?;
    if std::env::var_os("XDP_TRACKER_BINARY").is_none() {
        let object = build::xdp_program()?.context("needs a BPF toolchain: `cargo xtask setup`")?;
        build::daemon(false, Some(&object))?;
    }
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { torrents: args.torrents.max(1024) * 2, ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let v6 = args.torrents / 5;
    let mut worlds = [
        World::new(&client, &tracker, Family::Ipv4, args.torrents - v6)?,
        World::new(&client, &tracker, Family::Ipv6, v6)?,
    ];
    let length = Duration::from_secs(args.minutes * 60);
    let (begun, mut looks, mut announces) = (Instant::now(), Vec::new(), 0);
    while begun.elapsed() < length {
        for world in &mut worlds {
            announces += world.play()?;
        }
        if begun.elapsed() * LOOKS >= length * (looks.len() as u32 + 1) {
            looks.push(Memory::of(&tracker)?);
        }
    }
    for world in &mut worlds {
        // What waited for room is in the table a moment later.
        eventually(|| world.check())?;
    }
    report(&tracker, worlds.each_ref().map(World::present), announces, &looks)
}

/// The torrents of one family, and who is in them.
struct World {
    client: UdpClient,
    rng: Rng,
    family: Family,
    peers: Vec<Peer>,
    torrents: Vec<ScrapeReply>,
}

/// A peer, and whether it is in its swarm as a leecher or as a seeder.
#[derive(Clone, Copy)]
struct Peer {
    torrent: u32,
    port: u16,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Leecher,
    Seeder,
}

impl World {
    fn new(client: &Host, tracker: &Tracker<'_>, family: Family, torrents: u32) -> Result<Self> {
        let client = UdpClient::connect(&client.namespace, tracker.address(family))?;
        let figures = Profile::Public.figures().with_torrents(torrents);
        let (mut last, mut port) = (u32::MAX, 0);
        let peers = figures.peers_in_order().map(|Request { torrent, .. }| {
            port = if torrent == last { port + 1 } else { 1 };
            last = torrent;
            Peer { torrent, port, state: State::Away }
        });
        let peers = peers.collect();
        let nobody = ScrapeReply { seeders: 0, completed: 0, leechers: 0 };
        let torrents = vec![nobody; torrents as usize];
        Ok(Self { client, rng: Rng::with_seed(1), family, peers, torrents })
    }

    /// Has some peers announce, each of them once.
    fn play(&mut self) -> Result<u64> {
        let round = ROUND.min(self.peers.len());
        // Neighbours, so that nobody is chosen twice.
        let step = self.peers.len() / round;
        let first = self.rng.usize(..self.peers.len());
        let all = self.peers.len();
        let announces: Vec<_> = (0..round).map(|i| self.next((first + i * step) % all)).collect();
        self.client.announce_all(&announces)?;
        Ok(announces.len() as u64)
    }

    /// What a peer says next: most re-announce, some come, go or complete.
    fn next(&mut self, peer: usize) -> Announce {
        let dice = self.rng.u32(..100);
        let Peer { torrent, port, state } = &mut self.peers[peer];
        let swarm = &mut self.torrents[*torrent as usize];
        match state {
            State::Away => {}
            State::Leecher => swarm.leechers -= 1,
            State::Seeder => swarm.seeders -= 1,
        }
        let (next, event) = match (*state, dice) {
            (State::Away, 0..30) => (State::Seeder, 2),
            (State::Away, _) => (State::Leecher, 2),
            (_, 0..3) => (State::Away, 3),
            (State::Leecher, 3..5) => (State::Seeder, 1),
            (state, _) => (state, 0),
        };
        swarm.completed += u32::from(event == 1);
        let was_seeder = *state == State::Seeder;
        *state = next;
        match next {
            State::Away => {}
            State::Leecher => swarm.leechers += 1,
            State::Seeder => swarm.seeders += 1,
        }
        let left = u64::from(next == State::Leecher || next == State::Away && !was_seeder);
        let announce = Announce::leecher(InfoHash::numbered(*torrent), *port);
        Announce { left, event, ..announce }
    }

    /// Compares the figures of all torrents.
    fn check(&mut self) -> Result<()> {
        let all: Vec<_> = (0..self.torrents.len() as u32).map(InfoHash::numbered).collect();
        for (number, part) in all.chunks(SCRAPE).enumerate() {
            self.client.reconnect()?;
            let figures = self.client.scrape(part)?;
            for (i, found) in figures.iter().enumerate() {
                let torrent = number * SCRAPE + i;
                let expected = self.torrents[torrent];
                ensure!(
                    *found == expected,
                    "torrent {torrent} over {:?} has {found:?}, and should have {expected:?}",
                    self.family
                );
            }
        }
        Ok(())
    }

    fn present(&self) -> usize {
        self.peers.iter().filter(|peer| peer.state != State::Away).count()
    }
}

/// What the tracker takes.
#[derive(Clone, Copy)]
struct Memory {
    /// Of the process, shared pages left out: those of the maps are counted below.
    own_kib: u64,
    /// Of the arena.
    blocks: u64,
}

impl Memory {
    fn of(tracker: &Tracker<'_>) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{}/status", tracker.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let own_kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(Self {
            own_kib: own_kib.context("no RssAnon in the status")?,
            blocks: tracker.metrics()?.sum("xdp_tracker_table_block_bytes", &[]) as u64,
        })
    }
}

fn report(
    tracker: &Tracker<'_>,
    present: [usize; 2],
    announces: u64,
    looks: &[Memory],
) -> Result<()> {
    let metrics = tracker.metrics()?;
    let [kernel, user] = ["kernel", "user"].map(|path| metrics.requests(Some("announce"), path));
    let (first, second) = looks.split_at(looks.len() / 2);
    let most = |looks: &[Memory]| looks.iter().map(|look| look.own_kib).max().unwrap_or(0);
    let blocks = |looks: &[Memory]| looks.iter().map(|look| look.blocks).max().unwrap_or(0) >> 10;
    println!(
        "soak: {announces} announces, {:.1} % of them answered by the kernel; at the end {} peers over \
         IPv4 and {} over IPv6, every torrent's figures as in the model; memory of the daemon at most \
         {} KiB in the first half and {} KiB in the second, of the arena {} KiB and {} KiB",
        100.0 * kernel / (kernel + user),
        present[0],
        present[1],
        most(first),
        most(second),
        blocks(first),
        blocks(second),
    );
    ensure!(
        most(second) <= most(first) + GROWTH_MAX_KIB,
        "the daemon's memory grew by {} KiB",
        most(second) - most(first)
    );
    Ok(())
}
