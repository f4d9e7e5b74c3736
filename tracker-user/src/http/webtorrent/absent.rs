//! In the stead of WebTorrent, where the cargo feature `webtorrent` is off: no connection becomes a WebSocket.

use std::{net::SocketAddr, sync::Arc};

use hyper::{Request, body::Incoming};

use crate::{
    config::WebTorrentConfig,
    http::{HttpFrontend, connection::Outbox, frontend::Reply},
    metrics::WebTorrentMetrics,
    stopped::Stopped,
};

/// There is no session.
pub(in crate::http) enum Session {}

impl Session {
    pub(in crate::http) async fn run(self, _: Arc<HttpFrontend>, _: Stopped) {
        match self {}
    }
}

/// Holds nothing.
pub(in crate::http) struct WebTorrent;

impl WebTorrent {
    pub(in crate::http) fn new(_: WebTorrentMetrics, _: &WebTorrentConfig) -> Self {
        Self
    }
}

/// No request asks for a session.
pub(in crate::http) fn asked(
    _: &mut Request<Incoming>,
    _: SocketAddr,
    _: &Arc<Outbox>,
    _: &HttpFrontend,
) -> Option<Result<(Session, Reply), Reply>> {
    None
}
