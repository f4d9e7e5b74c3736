//! What the end-to-end tests and `cargo xtask demo` are made of: hosts on a network of their own,
//! the tracker on one of them, and clients that we did not write on others.

mod client;
mod http;
mod lan;
mod metrics;
mod namespace;
mod program;
mod scratch;
mod torrent;
mod tracker;
mod udp;
mod xdp;

pub use client::{Aria2, Libtorrent, Transmission, Webtorrent};
pub use lan::{Host, Lan};
pub use metrics::Metrics;
pub use namespace::Namespace;
pub use program::{Program, eventually};
pub use scratch::Scratch;
pub use torrent::{InfoHash, Torrent, sha256};
pub use tracker::{Family, Mode, Protocol, Tracker};
pub use udp::{Announce, AnnounceReply, ScrapeReply, UdpClient};
pub use xdp::XdpPass;
