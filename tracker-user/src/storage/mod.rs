//! Where swarms are kept.

pub mod memory;
pub mod redis;

use std::net::SocketAddr;

use tracker_common::{id::InfoHash, peers::PeerBuf};

use crate::pipeline::{AnnounceRequest, Refusal, SwarmStats};

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

    /// The figures of the swarm in the address family of `source`; zeros for an unknown torrent.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the store cannot be reached.
    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal>;
}
