//! What a pipeline asks of the store behind it. The daemon has one, the table; tests and embedders bring others.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tracker_common::{id::InfoHash, peers::PeerBuf};

use super::{AnnounceRequest, Refusal, SwarmStats};

/// A store of swarms. Those of IPv4 and IPv6 are separate (BEP 7).
pub trait Storage: Send + Sync {
    /// Brings the swarm up to date with the announce, then chooses at most `numwant` peers for it.
    /// `peers` is overwritten. The figures include the announcer.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the store cannot be reached.
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal>;

    /// Chooses peers in the other address family than the announcer's for a client that can connect to both, and
    /// changes nothing. `peers` is overwritten. The figures are those of that family's swarm. A store that does
    /// not say otherwise has no peers for it.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the store cannot be reached.
    fn look(&self, request: &AnnounceRequest, peers: &mut PeerBuf) -> Result<SwarmStats, Refusal> {
        peers.clear();
        self.scrape(&request.info_hash, &nobody_in_the_other_family(&request.peer))
    }

    /// The figures of the swarm in the address family of `source`; zeros for an unknown torrent.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the store cannot be reached.
    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal>;
}

/// An address that no peer has, of the family that `addr` is not of.
pub(crate) fn nobody_in_the_other_family(addr: &SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => (Ipv6Addr::UNSPECIFIED, 1).into(),
        SocketAddr::V6(_) => (Ipv4Addr::UNSPECIFIED, 1).into(),
    }
}
