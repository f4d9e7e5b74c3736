//! WebTorrent: announces of browsers, over WebSocket.
//!
//! Browsers cannot be connected to at an address. They make offers of WebRTC instead, which the tracker passes
//! on to other peers of the swarm, and their answers back. So a peer is there no longer than its connection
//! is, and swarms are of peers that are connected here: no storage keeps them, and the kernel answers none.
//!
//! A [`Session`] is one connection: what it receives is read by [`message`] and answered by its [`client`],
//! with the pipeline's hooks and the [`swarms`]. What others have for it comes by its [`outlet`].
//! A [`review`] takes peers out of their swarms that have fallen silent, or that the hooks would not admit any more.

mod announced;
mod client;
mod message;
mod outlet;
mod review;
mod session;
mod swarms;

use std::sync::Arc;

pub(super) use session::Session;

use self::{outlet::Room, swarms::Swarms};
use super::places::{Full, Place, Places, Share};
use crate::{config::WebTorrentConfig, metrics::WebTorrentMetrics};

/// What sessions share.
pub(super) struct WebTorrent {
    swarms: Swarms,
    room: Room,
    /// One for each connection.
    places: Arc<Places>,
    metrics: WebTorrentMetrics,
}

impl WebTorrent {
    pub(super) fn new(metrics: WebTorrentMetrics, config: &WebTorrentConfig) -> Self {
        let places = Places::new(config.max_connections as usize);
        Self { swarms: Swarms::new(metrics.clone()), room: Room::default(), places, metrics }
    }

    /// For one more connection, if there is one.
    pub(super) fn place(&self, share: Share) -> Result<Place, Full> {
        self.places.try_enter(share).inspect_err(|full| match full {
            Full::All => self.metrics.connections_exhausted.inc(),
            Full::Source => self.metrics.source_exhausted.inc(),
        })
    }
}
