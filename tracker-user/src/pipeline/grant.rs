//! What a verified token is worth: the kernel answers in the hook's stead for a while.

use std::{net::IpAddr, time::SystemTime};

use tracker_common::id::InfoHash;

/// Until it expires, announces of this torrent from this address need not show their token again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Whoever announces from here; never an IPv4-mapped IPv6 address.
    pub address: IpAddr,
    /// The grant ends with the token.
    pub expires_at: SystemTime,
}

/// Where hooks leave grants. Calls take effect in their order: nothing granted before a revocation
/// may outlive it.
pub trait GrantSink: Send + Sync {
    /// Adds a grant, or moves the end of the one that there is. May be ignored: the hook then sees
    /// the next announce too.
    fn grant(&self, grant: Grant);

    /// Takes all grants back, whichever hook they come from. None of them counts any more when this
    /// returns, and it waits for nothing.
    fn revoke_all(&self);
}

/// Where there is no kernel to answer, hooks see every announce.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGrants;

impl GrantSink for NoGrants {
    fn grant(&self, _: Grant) {}

    fn revoke_all(&self) {}
}
