//! What the frontends tell of themselves, turned into metrics.

use std::{net::IpAddr, sync::Arc, time::Duration};

use prometheus::IntCounter;

use crate::{
    http,
    metrics::{Action, Metrics},
    udp,
};

/// Sees the UDP frontend.
pub(super) struct UdpObserver {
    metrics: Arc<Metrics>,
    replies_lost: IntCounter,
}

impl UdpObserver {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        let replies_lost = metrics.limit_reached("udp_send_buffer");
        Self { metrics: Arc::clone(metrics), replies_lost }
    }
}

impl udp::Observe for UdpObserver {
    fn response(
        &self,
        action: Option<udp::Action>,
        client: Option<IpAddr>,
        error: &str,
        took: Duration,
    ) {
        let action = match action {
            Some(udp::Action::Connect) => Action::Connect,
            Some(udp::Action::Announce) => Action::Announce,
            Some(udp::Action::Scrape) => Action::Scrape,
            None => Action::Other,
        };
        self.metrics.udp().observe(action, client.into(), error, took);
    }

    fn replies_lost(&self, replies: usize) {
        self.replies_lost.inc_by(replies as u64);
    }
}

/// Sees the HTTP frontend.
pub(super) struct HttpObserver {
    metrics: Arc<Metrics>,
    connections_exhausted: IntCounter,
    source_exhausted: IntCounter,
    handshakes_failed: IntCounter,
}

impl HttpObserver {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        let connections_exhausted = metrics.limit_reached("http_connections");
        let source_exhausted = metrics.limit_reached("http_connections_per_source");
        let handshakes_failed = metrics.tls_handshakes_failed().clone();
        let metrics = Arc::clone(metrics);
        Self { metrics, connections_exhausted, source_exhausted, handshakes_failed }
    }
}

impl http::Observe for HttpObserver {
    fn response(&self, action: http::Action, client: Option<IpAddr>, error: &str, took: Duration) {
        let action = match action {
            http::Action::Announce => Action::Announce,
            http::Action::Scrape => Action::Scrape,
        };
        self.metrics.http().observe(action, client.into(), error, took);
    }

    fn connections_exhausted(&self) {
        self.connections_exhausted.inc();
    }

    fn source_exhausted(&self) {
        self.source_exhausted.inc();
    }

    fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}
