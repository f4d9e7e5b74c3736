//! WebTorrent: announces of browsers, over WebSocket.
//!
//! Browsers cannot be connected to at an address. They make offers of WebRTC instead, which the tracker passes
//! on to other peers of the swarm, and their answers back. So a peer is there no longer than its connection
//! is, and swarms are of peers that are connected here: no storage keeps them, and the kernel answers none.
//!
//! A [`Session`] is one connection: what it receives is read by [`message`] and answered by its [`client`],
//! with the pipeline's hooks and the [`swarms`]. What others have for it comes by its [`outlet`].
//! A [`review`] takes peers out of their swarms that have fallen silent, or that the hooks would not admit any more.

#[cfg(not(feature = "webtorrent"))]
pub(super) mod absent;
#[cfg(feature = "webtorrent")]
mod client;
#[cfg(feature = "webtorrent")]
mod message;
#[cfg(feature = "webtorrent")]
mod outlet;
#[cfg(feature = "webtorrent")]
mod review;
#[cfg(feature = "webtorrent")]
mod session;
#[cfg(feature = "webtorrent")]
mod shared;
#[cfg(feature = "webtorrent")]
mod swarms;

#[cfg(not(feature = "webtorrent"))]
pub(super) use absent::{Session, WebTorrent};
#[cfg(feature = "webtorrent")]
pub(super) use {session::Session, shared::WebTorrent};

/// What an operator can choose of it.
#[derive(Debug, Clone)]
pub struct WebTorrentOptions {
    /// Paths of connections, with `:name` and `*name` parameters. Without any, there are none.
    pub routes: Vec<String>,
    /// How often a client shall announce, in seconds.
    pub announce_interval_s: u32,
    /// The most offers of one announce that are passed on.
    pub offers_max: usize,
    /// The most torrents that one connection announces.
    pub torrents_max: usize,
    /// The most connections at a time. They do not count among those of HTTP.
    pub connections_max: usize,
    /// The most of one source (IPv4 address or IPv6 /64), a quarter of what an IPv6 /48 may have; 0 for no limit.
    pub connections_per_source_max: usize,
}

impl Default for WebTorrentOptions {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            announce_interval_s: 120,
            offers_max: 10,
            torrents_max: 200,
            connections_max: 16 << 10,
            connections_per_source_max: 2 << 10,
        }
    }
}
