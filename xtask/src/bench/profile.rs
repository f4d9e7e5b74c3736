//! What trackers carry, as lists of requests.

use clap::ValueEnum;
use fastrand::Rng;
use loadgen::{Request, flag, kind};

/// A load, by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Profile {
    /// 1,000 torrents of 5 peers; announces only
    Hot,
    /// 1,000 torrents of 100 peers; announces only
    HotLarge,
    /// 1,000,000 torrents, most of them with 1 to 3 peers and a few with thousands, 2.4 M in all; a
    /// quarter connects, some scrapes
    Public,
    /// One torrent of 100,000 peers; a quarter connects
    Crowd,
}

impl Profile {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::HotLarge => "hot, 100 peers",
            Self::Public => "public",
            Self::Crowd => "crowd",
        }
    }

    /// Its figures.
    pub fn figures(self) -> Figures {
        match self {
            Self::Hot => Figures::uniform(1_000, 5, 1_000),
            Self::HotLarge => Figures::uniform(1_000, 100, 20_000),
            Self::Public => Figures {
                torrents: 1_000_000,
                peers: None,
                clients: 600_000,
                connects: 342,
                scrapes: 27,
                seeders_percent: 30,
            },
            Self::Crowd => Figures {
                connects: 333,
                seeders_percent: 20,
                ..Figures::uniform(1, 100_000, 100_000)
            },
        }
    }
}

/// What a load is made of.
#[derive(Clone, Copy)]
pub struct Figures {
    /// Torrents that are announced.
    pub torrents: u32,
    /// Peers of each torrent; `None` for a heavy tail.
    peers: Option<u32>,
    /// Distinct clients.
    pub clients: u32,
    /// Connects for each 1,000 announces.
    connects: u64,
    /// Scrapes for each 1,000 announces.
    scrapes: u64,
    seeders_percent: u32,
}

/// The exponent of the heavy tail, which makes 2.4 peers a torrent.
const TAIL: f64 = 1.56;

/// The most peers of a torrent of the heavy tail.
const TAIL_PEERS_MAX: f64 = 10_000.0;

impl Figures {
    /// Announces only, of torrents that have the same number of peers, half of them seeders.
    pub fn uniform(torrents: u32, peers: u32, clients: u32) -> Self {
        Self { torrents, peers: Some(peers), clients, connects: 0, scrapes: 0, seeders_percent: 50 }
    }

    /// The same with another number of torrents.
    pub fn with_torrents(self, torrents: u32) -> Self {
        Self { torrents, ..self }
    }

    /// A plain announce of every peer, torrent by torrent, over IPv4.
    pub fn peers_in_order(&self) -> impl Iterator<Item = Request> {
        let torrents = (0..self.torrents)
            .flat_map(|torrent| (0..self.peers_of(torrent)).map(move |_| torrent));
        (0..).zip(torrents).map(|(peer, torrent)| plain(peer % self.clients, torrent, 0))
    }

    /// Memory for peers in blocks: ample, for what is free in blocks and for growing.
    pub fn block_bytes(&self) -> u64 {
        let peers: u64 = (0..self.torrents).map(|torrent| u64::from(self.peers_of(torrent))).sum();
        (peers * 128).max(16 << 20)
    }

    fn peers_of(&self, torrent: u32) -> u32 {
        self.peers.unwrap_or_else(|| {
            let rank = (f64::from(torrent) + 0.5) / f64::from(self.torrents);
            rank.powf(-1.0 / TAIL).min(TAIL_PEERS_MAX) as u32
        })
    }
}

/// All lists are made with the same numbers.
const SEED: u64 = 0x7064;

/// A load, ready to be played.
pub struct Load {
    /// What it is made of.
    pub figures: Figures,
    /// The share of clients with an IPv6 address.
    pub v6_percent: u32,
    /// An announce of every peer, and connects and scrapes among them, in random order.
    pub list: Vec<Request>,
    /// Where among the peers of all torrents those of each one begin.
    first_peers: Vec<u32>,
}

impl Load {
    /// A load of which this share of clients, in percent, has an IPv6 address.
    pub fn new(figures: Figures, v6_percent: u32) -> Self {
        let mut rng = Rng::with_seed(SEED);
        let mut list = Vec::new();
        let mut first_peers = vec![0];
        let mut peer = 0;
        for torrent in 0..figures.torrents {
            for _ in 0..figures.peers_of(torrent) {
                let plain = plain(peer % figures.clients, torrent, v6_percent);
                let seeds = rng.u32(..100) < figures.seeders_percent;
                let flags = plain.flags | if seeds { flag::SEEDER } else { 0 };
                push_announce(&mut list, Request { flags, ..plain }, &mut rng);
                peer += 1;
            }
            first_peers.push(peer);
        }
        let announces = list.len();
        for (kind, thousandth) in
            [(kind::CONNECT, figures.connects), (kind::SCRAPE, figures.scrapes)]
        {
            for _ in 0..announces as u64 * thousandth / 1000 {
                let like = list[rng.usize(..announces)];
                list.push(Request { kind, event: 0, ..like });
            }
        }
        rng.shuffle(&mut list);
        Self { figures, v6_percent, list, first_peers }
    }

    /// What makes every peer known: the announces, but those that stop.
    pub fn joins(&self) -> Vec<Request> {
        let joins = |request: &&Request| request.kind == kind::ANNOUNCE && request.event != STOPPED;
        self.list.iter().filter(joins).copied().collect()
    }

    /// Peers of a torrent, of both families.
    pub fn peers(&self, torrent: u32) -> u32 {
        self.first_peers[torrent as usize + 1] - self.first_peers[torrent as usize]
    }

    /// Whether the client is a peer of the torrent.
    pub fn is_peer(&self, client: u32, torrent: u32) -> bool {
        let clients = self.figures.clients;
        let first = self.first_peers[torrent as usize] % clients;
        client < clients && (client + clients - first) % clients < self.peers(torrent)
    }
}

/// The port that a client listens on and sends from.
pub fn port(client: u32) -> u16 {
    1024 + (random(client) % 60_000) as u16
}

fn random(client: u32) -> u32 {
    client.wrapping_mul(0x9e37_79b1) >> 8
}

fn plain(client: u32, torrent: u32, v6_percent: u32) -> Request {
    Request {
        client,
        torrent,
        port: port(client),
        kind: kind::ANNOUNCE,
        flags: if random(client) % 100 < v6_percent { flag::V6 } else { 0 },
        ..Request::default()
    }
}

const COMPLETED: u8 = 1;
const STARTED: u8 = 2;
const STOPPED: u8 = 3;

/// 5 % of the announces are not plain. A peer that stops also starts, so that swarms stay as they
/// are.
fn push_announce(list: &mut Vec<Request>, plain: Request, rng: &mut Rng) {
    match rng.u8(..100) {
        0..2 => list.push(Request { event: STARTED, ..plain }),
        2 => {
            let flags = plain.flags | flag::SEEDER;
            list.push(Request { event: COMPLETED, flags, ..plain });
        }
        3 => list.extend([STOPPED, STARTED].map(|event| Request { event, ..plain })),
        _ => list.push(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_tracker_has_2_4_million_peers_most_of_them_few_to_a_torrent() {
        let figures = Profile::Public.figures();
        let sizes: Vec<_> =
            (0..figures.torrents).map(|torrent| figures.peers_of(torrent)).collect();
        let peers: u32 = sizes.iter().sum();
        assert!((2_300_000..2_500_000).contains(&peers), "{peers}");
        assert_eq!(sizes[0], 10_000);
        assert!(sizes.iter().filter(|size| **size <= 3).count() > 800_000);
    }

    #[test]
    fn every_announce_is_of_a_peer() {
        let load = Load::new(Figures::uniform(7, 5, 13), 20);
        let announces = load.list.iter().filter(|request| request.kind == kind::ANNOUNCE);
        for request in announces {
            assert!(load.is_peer(request.client, request.torrent), "{request:?}");
        }
        let peers = (0..13).filter(|client| load.is_peer(*client, 3)).count();
        assert_eq!(peers, 5);
    }
}
