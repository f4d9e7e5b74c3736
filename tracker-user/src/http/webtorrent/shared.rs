//! What all sessions of browsers share.

use std::sync::Arc;

use super::{outlet::Room, swarms::Swarms};
use crate::{
    config::WebTorrentConfig,
    http::places::{Full, Place, Places, Share},
    metrics::WebTorrentMetrics,
};

/// What sessions share.
pub(in crate::http) struct WebTorrent {
    pub(super) swarms: Swarms,
    pub(super) room: Room,
    /// One for each connection.
    places: Arc<Places>,
    pub(super) metrics: WebTorrentMetrics,
}

impl WebTorrent {
    pub(in crate::http) fn new(metrics: WebTorrentMetrics, config: &WebTorrentConfig) -> Self {
        let places = Places::new(config.max_connections as usize);
        Self { swarms: Swarms::new(metrics.clone()), room: Room::default(), places, metrics }
    }

    /// For one more connection, if there is one.
    pub(in crate::http) fn place(&self, share: Share) -> Result<Place, Full> {
        self.places.try_enter(share).inspect_err(|full| match full {
            Full::All => self.metrics.connections_exhausted.inc(),
            Full::Source => self.metrics.source_exhausted.inc(),
        })
    }
}
