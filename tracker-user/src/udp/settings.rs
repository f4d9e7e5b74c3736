//! How the frontend is set up: the configuration, and what it does not say.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, thread};

use tracker_common::connection::ConnectionIds;

use crate::{
    config::{BadConnectionId, UdpConfig},
    routes::Router,
};

/// The UDP frontend's settings.
#[derive(Clone)]
pub struct UdpSettings {
    /// The configuration. Its `private_key` and what else is in [`UdpSettings::connection_ids`] do not matter here.
    pub config: UdpConfig,
    /// What to do about a bad connection id.
    pub bad_connection_id: BadConnectionId,
    /// Issues and checks connection ids: the same as in the kernel.
    pub connection_ids: ConnectionIds,
    /// Bytes of each socket's receive and send buffer; `None` leaves the system's default. The
    /// system caps it (`net.core.rmem_max` and `wmem_max`).
    pub socket_buffer_bytes: Option<usize>,
    /// The announces' routes, by which parameters in the path of the URL data (BEP 41) are read. An announce
    /// whose path is of none is served as well.
    pub routes: Arc<Router>,
}

impl UdpSettings {
    /// Settings with the system's buffers and without routes. A bad connection id is answered.
    #[must_use]
    pub fn new(config: UdpConfig, connection_ids: ConnectionIds) -> Self {
        Self {
            config,
            bad_connection_id: BadConnectionId::Reply,
            connection_ids,
            socket_buffer_bytes: None,
            routes: Arc::default(),
        }
    }

    /// Where to listen. An IPv6 wildcard serves IPv4 too, unless an IPv4 address of the same port is among them.
    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        self.config.binds().into_iter().collect()
    }

    /// Threads; each has a socket for each address.
    pub(super) fn workers(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.config.workers.into())
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}
