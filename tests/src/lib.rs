//! What the end-to-end tests and `cargo xtask demo` are made of: hosts on a network of their own,
//! the tracker on one of them, and clients that we did not write on others.

mod certificates;
mod client;
mod host;
mod http;
mod lan;
mod metrics;
mod namespace;
mod options;
mod program;
mod redis;
mod scratch;
mod torrent;
mod tracker;
mod udp;
mod wire;
mod xdp;

pub use certificates::Certificates;
pub use client::{Aria2, Libtorrent, Transmission, Webtorrent, WebtorrentPeer};
pub use host::{Host, INTERFACE};
pub use lan::Lan;
pub use metrics::Metrics;
pub use namespace::Namespace;
pub use options::{Build, Mode, Options};
pub use program::{Program, eventually};
pub use redis::{Redis, RedisClient, Reply};
pub use scratch::Scratch;
pub use torrent::{InfoHash, Torrent, sha256};
pub use tracker::{Family, Protocol, Tracker, binary};
pub use udp::{Announce, AnnounceReply, ScrapeReply, UdpClient};
pub use wire::Wire;
pub use xdp::XdpPass;
