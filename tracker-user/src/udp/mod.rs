//! The UDP frontend in userspace (BEP 15 and BEP 41): whatever the kernel passed on, or everything
//! where there is no XDP.
//!
//! * [`UdpFrontend`]: one datagram in, one reply out; no I/O. `announce`, `url_data` and `layout`
//!   read it;
//! * [`UdpServer`]: workers with a socket each for each address; `listen` and `batch` talk to the
//!   kernel.
//!
//! Replies are byte for byte those of the XDP program, up to the choice of peers. Where this
//! differs from Chihaya it does so on purpose:
//!
//! * a bad connection id gets its error only in a whole announce or scrape, never in anything that a tracker's
//!   reply could be: an unverified source is never sent more bytes than it sent, and no two trackers answer
//!   each other;
//! * source ports below 1024, and the tracker's own endpoints, get no reply at all;
//! * URL data whose query cannot be read counts as no parameters, not as an error: the kernel does
//!   not look at it either;
//! * a negative `numwant` is the default (BEP 15), not the maximum;
//! * a claimed address counts only where it is not zero and is of the family of the source address.

mod announce;
mod answer;
mod batch;
mod layout;
mod listen;
mod own;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod url_data;

use std::{net::IpAddr, time::Duration};

#[cfg(feature = "xdp")]
pub(crate) use announce::read_options;
pub use answer::{Datagram, Outcome, Scratch, UdpFrontend};
pub(crate) use server::try_listen;
pub use server::{UdpError, UdpServer};
pub use settings::UdpSettings;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Be given a connection id.
    Connect,
    /// Enter a swarm and be given peers.
    Announce,
    /// Be told the figures of swarms.
    Scrape,
}

/// Sees what the frontend does; for metrics. Calls are on the request path and must not block.
pub trait Observe: Send + Sync {
    /// A datagram was dealt with. `action` is unknown where its head or its connection id is wrong.
    /// `client` is the source address, or nothing where the datagram could not be read. `error` is what the
    /// client was told or would have been, "internal error", or "" for success: a label from a small set.
    /// `elapsed` is zero unless the configuration asks for timing.
    fn response(
        &self,
        action: Option<Action>,
        client: Option<IpAddr>,
        error: &str,
        elapsed: Duration,
    );

    /// So many replies could not be sent: the socket's buffer is full, or there is no way back.
    fn replies_lost(&self, replies: usize);
}

/// Observes nothing.
impl Observe for () {
    fn response(&self, _: Option<Action>, _: Option<IpAddr>, _: &str, _: Duration) {}

    fn replies_lost(&self, _: usize) {}
}
