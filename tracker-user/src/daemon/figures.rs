//! What an embedder may look at: one torrent's swarms, and the figures of all.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
    peers::PeerBuf,
};

use crate::{
    metrics::{Metrics, Outcome, RequestPath},
    pipeline::{AnnounceRequest, Params, SwarmStats},
    storage::{Storage as _, memory::MemoryStorage},
};

/// The two swarms of a torrent (BEP 7): peers over IPv4 and peers over IPv6 are not told of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swarm {
    /// Figures of the peers over IPv4.
    pub ipv4: SwarmStats,
    /// Figures of the peers over IPv6.
    pub ipv6: SwarmStats,
    /// Peers of both, as a leecher would be told: seeders first, 242 over IPv4 and 79 over IPv6 at most, others at each
    /// call where there are more.
    pub peers: Vec<SocketAddr>,
}

impl Swarm {
    pub(super) fn of(storage: &MemoryStorage, info_hash: &InfoHash) -> Self {
        // Looks are at the family that the peer is not of.
        let [ipv4, ipv6]: [SocketAddr; 2] =
            [(Ipv6Addr::UNSPECIFIED, 1).into(), (Ipv4Addr::UNSPECIFIED, 1).into()];
        let mut peers = Vec::new();
        let mut look = |nobody: SocketAddr| {
            let mut buffer = PeerBuf::new();
            let stats = storage.look(&request(*info_hash, nobody), &mut buffer).unwrap_or_default();
            peers.extend(addresses(buffer.as_bytes(), nobody.is_ipv6()));
            stats
        };
        let (ipv4, ipv6) = (look(ipv4), look(ipv6));
        Self { ipv4, ipv6, peers }
    }
}

/// An announce of a leecher that wants as many peers as a reply may have.
fn request(info_hash: InfoHash, peer: SocketAddr) -> AnnounceRequest {
    AnnounceRequest {
        info_hash,
        peer_id: PeerId([0; 20]),
        peer,
        event: Event::None,
        left: 1,
        downloaded: 0,
        uploaded: 0,
        numwant: u16::MAX,
        seed: fastrand::u32(..),
        interface: 0,
        params: Params::default(),
    }
}

/// The peers of a list in wire format.
fn addresses(list: &[u8], is_ipv4: bool) -> impl Iterator<Item = SocketAddr> {
    let address_bytes = if is_ipv4 { 4 } else { 16 };
    list.chunks_exact(address_bytes + 2).filter_map(move |peer| {
        let (addr, port) = peer.split_at(address_bytes);
        let port = u16::from_be_bytes(port.try_into().ok()?);
        Some(match is_ipv4 {
            true => SocketAddr::from((<[u8; 4]>::try_from(addr).ok()?, port)),
            false => SocketAddr::from((<[u8; 16]>::try_from(addr).ok()?, port)),
        })
    })
}

/// Figures of a tracker as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Torrents in the table that have IPv4 swarms.
    pub torrents_ipv4: u32,
    /// Torrents in the table that have IPv6 swarms.
    pub torrents_ipv6: u32,
    /// Peers with nothing left to fetch, as counted last: every `prometheus_reporting_interval`.
    pub seeders: u64,
    /// The other peers, as counted last.
    pub leechers: u64,
    /// Requests since the start that were answered, by the kernel and by the daemon. An announce over a limit, which
    /// is answered without peers, is among them.
    pub answered: u64,
    /// Of those, the ones that the kernel answered.
    pub answered_by_kernel: u64,
    /// Requests that were refused, and malformed ones.
    pub refused: u64,
    /// Requests that failed by a fault of the tracker's.
    pub failed: u64,
}

impl Stats {
    pub(super) fn of(storage: &MemoryStorage, metrics: &Metrics) -> Self {
        let [torrents_ipv4, torrents_ipv6] = storage.torrents();
        let gauge = |gauge: &prometheus::IntGauge| u64::try_from(gauge.get()).unwrap_or_default();
        let mut stats = Self {
            torrents_ipv4,
            torrents_ipv6,
            seeders: gauge(&metrics.storage().seeders),
            leechers: gauge(&metrics.storage().leechers),
            ..Self::default()
        };
        metrics.each_request_counter(|path, outcome, count| {
            if outcome == Outcome::Answered.label() || outcome == Outcome::Throttled.label() {
                stats.answered += count;
                if path == RequestPath::Kernel.label() {
                    stats.answered_by_kernel += count;
                }
            } else if outcome == Outcome::Refused.label() {
                stats.refused += count;
            } else if outcome == Outcome::Failed.label() {
                stats.failed += count;
            }
        });
        stats
    }
}
