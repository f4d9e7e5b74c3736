//! What trackers carry, as lists of requests.

use clap::ValueEnum;
use fastrand::Rng;
use loadgen::{Request, flag, kind};

/// A load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Profile {
    /// 1,000 torrents of 5 peers; announces only
    Hot,
    /// 1,000 torrents of 100 peers; announces only
    HotLarge,
    /// 1,000,000 torrents, most of them with 1 to 3 peers and a few with thousands: 2.4 M in all; a
    /// quarter connects, some scrapes
    Public,
    /// One torrent of 100,000 peers; a quarter connects
    Crowd,
}

/// The figures of a profile.
#[derive(Clone, Copy)]
pub struct Figures {
    pub torrents: u32,
    /// Peers of each torrent; `None` for a heavy tail.
    peers: Option<u32>,
    /// Distinct clients.
    pub clients: u32,
    /// Connects and scrapes for each 1,000 announces.
    connects: u64,
    scrapes: u64,
    seeders_percent: u32,
}

/// The exponent of the heavy tail, which makes 2.4 peers a torrent.
const TAIL: f64 = 1.56;

/// The most peers of a torrent of the heavy tail.
const TAIL_PEERS_MAX: f64 = 10_000.0;

/// All lists are made with the same numbers.
const SEED: u64 = 0x7064;

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::HotLarge => "hot-large",
            Self::Public => "public",
            Self::Crowd => "crowd",
        }
    }

    pub fn figures(self) -> Figures {
        match self {
            Self::Hot => Figures::hot(5),
            Self::HotLarge => Figures::hot(100),
            Self::Public => Figures {
                torrents: 1_000_000,
                peers: None,
                clients: 600_000,
                connects: 342,
                scrapes: 27,
                seeders_percent: 30,
            },
            Self::Crowd => Figures {
                torrents: 1,
                peers: Some(100_000),
                clients: 100_000,
                connects: 333,
                scrapes: 0,
                seeders_percent: 20,
            },
        }
    }
}

impl Figures {
    fn hot(peers: u32) -> Self {
        Self {
            torrents: 1_000,
            peers: Some(peers),
            clients: 200 * peers,
            connects: 0,
            scrapes: 0,
            seeders_percent: 50,
        }
    }

    fn peers_of(&self, torrent: u32) -> u32 {
        self.peers.unwrap_or_else(|| {
            let rank = (f64::from(torrent) + 0.5) / f64::from(self.torrents);
            rank.powf(-1.0 / TAIL).min(TAIL_PEERS_MAX) as u32
        })
    }

    /// Memory for peers in blocks: ample, for what is free in blocks and for growing.
    pub fn block_bytes(&self) -> u64 {
        let peers: u64 = (0..self.torrents).map(|torrent| u64::from(self.peers_of(torrent))).sum();
        (peers * 128).max(16 << 20)
    }

    /// An announce of every peer, and connects and scrapes among them, in random order. The share of
    /// clients with an IPv6 address is given in percent.
    pub fn requests(&self, v6_percent: u32) -> Vec<Request> {
        let mut rng = Rng::with_seed(SEED);
        let mut list = Vec::new();
        let mut client = 0;
        for torrent in 0..self.torrents {
            for _ in 0..self.peers_of(torrent) {
                client = (client + 1) % self.clients;
                let plain = peer(client, torrent, v6_percent);
                let seeds = rng.u32(..100) < self.seeders_percent;
                let flags = plain.flags | if seeds { flag::SEEDER } else { 0 };
                push_announce(&mut list, Request { flags, ..plain }, &mut rng);
            }
        }
        let announces = list.len();
        for (kind, per_thousand) in [(kind::CONNECT, self.connects), (kind::SCRAPE, self.scrapes)] {
            for _ in 0..announces as u64 * per_thousand / 1000 {
                let like = list[rng.usize(..announces)];
                list.push(Request { kind, event: 0, ..like });
            }
        }
        rng.shuffle(&mut list);
        list
    }
}

/// A plain announce.
fn peer(client: u32, torrent: u32, v6_percent: u32) -> Request {
    let random = client.wrapping_mul(0x9e37_79b1) >> 8;
    Request {
        client,
        torrent,
        port: 1024 + (random % 60_000) as u16,
        kind: kind::ANNOUNCE,
        flags: if random % 100 < v6_percent { flag::V6 } else { 0 },
        ..Request::default()
    }
}

/// 5 % of the announces are not plain. A peer that stops also starts, so that swarms stay as they
/// are.
fn push_announce(list: &mut Vec<Request>, plain: Request, rng: &mut Rng) {
    const COMPLETED: u8 = 1;
    const STARTED: u8 = 2;
    const STOPPED: u8 = 3;
    match rng.u8(..100) {
        0..2 => list.push(Request { event: STARTED, ..plain }),
        2 => list.push(Request { event: COMPLETED, flags: plain.flags | flag::SEEDER, ..plain }),
        3 => list.extend([STOPPED, STARTED].map(|event| Request { event, ..plain })),
        _ => list.push(plain),
    }
}
