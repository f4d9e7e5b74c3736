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
mod announced;
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
