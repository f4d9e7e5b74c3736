//! What an operator may choose.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};

use tracker_common::connection::ConnectionIds;

use crate::http::Router;

/// The UDP frontend's settings.
#[derive(Clone)]
pub struct UdpOptions {
    /// Where to listen. An IPv6 wildcard serves IPv4 too, unless an IPv4 address of the same port
    /// is listed.
    pub addrs: Vec<SocketAddr>,
    /// Threads; each has a socket for each address.
    pub workers: NonZeroUsize,
    /// Peers returned at most; a reply holds 242, or 79 over IPv6.
    pub max_numwant: u16,
    /// Peers returned to a client that does not say how many it wants.
    pub default_numwant: u16,
    /// Info-hashes answered in one scrape, at most 74; the others are ignored.
    pub max_scrape_infohashes: u16,
    /// Whether an announce may name the peer's address.
    pub allow_ip_spoofing: bool,
    /// What to do about a bad connection id.
    pub bad_connection_id: BadConnectionId,
    /// Issues and checks connection ids: the same as in the kernel.
    pub connection_ids: ConnectionIds,
    /// Bytes of each socket's receive and send buffer; `None` leaves the system's default. The
    /// system caps it (`net.core.rmem_max` and `wmem_max`).
    pub socket_buffer_bytes: Option<usize>,
    /// Whether to measure how long requests take.
    pub request_timing: bool,
    /// The announces' routes, by which parameters in the path of the URL data (BEP 41) are read. An announce
    /// whose path is of none is served as well.
    pub routes: Arc<Router>,
}

impl UdpOptions {
    /// The defaults of the configuration, with one worker and no routes.
    #[must_use]
    pub fn new(addrs: Vec<SocketAddr>, connection_ids: ConnectionIds) -> Self {
        Self {
            addrs,
            workers: NonZeroUsize::MIN,
            max_numwant: 100,
            default_numwant: 50,
            max_scrape_infohashes: 74,
            allow_ip_spoofing: false,
            bad_connection_id: BadConnectionId::Reply,
            connection_ids,
            socket_buffer_bytes: None,
            request_timing: false,
            routes: Arc::default(),
        }
    }
}

/// What to do about a bad connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadConnectionId {
    /// Send the error, which makes clients connect anew at once.
    Reply,
    /// Stay silent.
    Drop,
}
