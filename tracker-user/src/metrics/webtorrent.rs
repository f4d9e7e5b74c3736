//! What goes on between browsers.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::register::register;

/// Connections over WebSocket, the swarms of their peers, and what these send each other.
#[derive(Debug, Clone)]
pub struct WebTorrentMetrics {
    /// Open connections.
    pub connections: IntGauge,
    /// Swarms with a peer.
    pub torrents: IntGauge,
    /// Peers with nothing left to fetch.
    pub seeders: IntGauge,
    /// The others.
    pub leechers: IntGauge,
    /// Offers passed on.
    pub offers: IntCounter,
    /// Answers passed on.
    pub answers: IntCounter,
    /// Offers and answers that found no room on the way to their client.
    pub relay_full: IntCounter,
    /// Connections that were refused, for there were too many.
    pub connections_exhausted: IntCounter,
    /// Connections that were refused, for their source had its share.
    pub source_exhausted: IntCounter,
    /// Announces of one torrent too many for their connection.
    pub torrents_exhausted: IntCounter,
}

impl WebTorrentMetrics {
    pub(super) fn new(registry: &Registry, limits: &IntCounterVec) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let peers = IntGaugeVec::new(
            Opts::new("xdp_tracker_webtorrent_peers", "Peers that are connected by WebSocket."),
            &["role"],
        )?;
        let peers = register(registry, peers)?;
        let relayed = Opts::new(
            "xdp_tracker_webtorrent_relayed_total",
            "Messages of peers that were passed on to others, by what they are.",
        );
        let relayed = register(registry, IntCounterVec::new(relayed, &["message"])?)?;
        Ok(Self {
            connections: gauge(
                "xdp_tracker_webtorrent_connections",
                "Connections over WebSocket that are open.",
            )?,
            torrents: gauge(
                "xdp_tracker_webtorrent_torrents",
                "Torrents with peers that are connected by WebSocket.",
            )?,
            seeders: peers.with_label_values(&["seeder"]),
            leechers: peers.with_label_values(&["leecher"]),
            offers: relayed.with_label_values(&["offer"]),
            answers: relayed.with_label_values(&["answer"]),
            relay_full: limits.with_label_values(&["webtorrent_relay"]),
            connections_exhausted: limits.with_label_values(&["webtorrent_connections"]),
            source_exhausted: limits.with_label_values(&["webtorrent_connections_per_source"]),
            torrents_exhausted: limits.with_label_values(&["webtorrent_torrents"]),
        })
    }
}
