//! Requests and responses as hooks and storage see them: no trace of HTTP or UDP.

use std::{borrow::Cow, net::SocketAddr, ops};

use tracker_common::{
    announce::Event,
    family::Family,
    id::{InfoHash, PeerId},
    peers::PeerBuf,
    table::swarm::Announce,
    wire::Failure,
};

use super::Pending;

/// One announce, parsed and sanitised by a frontend.
#[derive(Debug, Clone)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The client's own name for itself.
    pub peer_id: PeerId,
    /// Where the peer accepts connections: the source address (or the one it was allowed to claim)
    /// and the announced port. Never an IPv4-mapped IPv6 address, never port 0.
    pub peer: SocketAddr,
    /// What has happened since the last announce.
    pub event: Event,
    /// Bytes still to fetch; 0 makes the peer a seeder.
    pub left: u64,
    /// Bytes fetched, as the client says.
    pub downloaded: u64,
    /// Bytes sent, as the client says.
    pub uploaded: u64,
    /// How many peers to return: defaulted and clamped already.
    pub numwant: u16,
    /// Chooses among peers when there are more than asked for. UDP takes it from the request, so
    /// that kernel and daemon choose alike; HTTP draws it.
    pub seed: u32,
    /// The index of the interface that it came by over UDP; 0 for what came otherwise, or where the system does not
    /// tell. By an interface with the XDP program, that has counted what it left to the daemon.
    pub interface: u32,
    /// Query and route parameters (HTTP), or URL data (UDP, BEP 41).
    pub params: Params,
}

impl AnnounceRequest {
    /// The request as the swarm table takes it, for a peer at `addr` of its own family.
    ///
    /// Who has completed the download is a seeder whatever `left` says, as in the kernel.
    #[must_use]
    pub fn for_table<F: Family>(&self, addr: F::Addr) -> Announce<F> {
        Announce {
            addr,
            port: self.peer.port().to_be_bytes(),
            seeder: self.left == 0 || self.event == Event::Completed,
            event: self.event,
            numwant: self.numwant.into(),
            seed: self.seed,
        }
    }
}

/// The answer to an announce, which pre-hooks may change before it is sent.
#[derive(Debug, Clone, Default)]
pub struct AnnounceResponse {
    /// Seconds until the client should announce again.
    pub interval_s: u32,
    /// Seconds before which it must not. UDP has no field for it.
    pub min_interval_s: u32,
    /// The swarm after this announce.
    pub swarm: SwarmStats,
    /// The chosen peers, of the announcer's address family, in wire format.
    pub peers: PeerBuf,
}

/// The figures of one swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwarmStats {
    /// Peers with nothing left to fetch (BEP 48 `complete`).
    pub seeders: u32,
    /// The others (BEP 48 `incomplete`).
    pub leechers: u32,
    /// How often a download was completed (BEP 48 `downloaded`).
    pub completed: u32,
}

impl ops::AddAssign for SwarmStats {
    fn add_assign(&mut self, other: Self) {
        self.seeders = self.seeders.saturating_add(other.seeders);
        self.leechers = self.leechers.saturating_add(other.leechers);
        self.completed = self.completed.saturating_add(other.completed);
    }
}

/// One scrape: the swarms are looked up in the requester's address family.
#[derive(Debug, Clone)]
pub struct ScrapeRequest {
    /// The torrents asked for, in order, clamped to the frontend's limit.
    pub info_hashes: Vec<InfoHash>,
    /// Who asks.
    pub source: SocketAddr,
    /// Query and route parameters (HTTP).
    pub params: Params,
}

/// Why a request is not answered as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The client's fault; the text is sent to it and is a metric label, so it comes from a small set.
    Client(Cow<'static, str>),
    /// Ours. The client reads "internal server error"; the cause goes to the log.
    Internal(String),
    /// Nobody's: a hook has to ask somebody first, which it has begun to do. HTTP waits and tries
    /// again; UDP says nothing, upon which clients ask again (BEP 15). The hook sees to it that the
    /// wait is short.
    Pending(Pending),
}

impl Refusal {
    /// The same where nobody waits any longer: that a hook does is a fault of ours.
    #[must_use]
    pub fn settled(self) -> Self {
        match self {
            Self::Pending(_) => Self::Internal("a hook goes on waiting".to_owned()),
            settled => settled,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Client(Cow::Borrowed(failure.text()))
    }
}

/// Name and value pairs that came with a request and that only hooks understand.
///
/// Keys are lower-cased; of duplicates the last one counts. Empty (and free) for most UDP requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Adds a pair. Frontends bound how many a request may bring.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.pairs.push((key.into(), value.into()));
    }

    /// The last value of `key`, which is given in lower case.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}
