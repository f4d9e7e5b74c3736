//! xdp-tracker as a library: a BitTorrent tracker inside another program, with hooks of that program's own.
//!
//! [`Tracker::builder`] takes a configuration, hooks and a metrics registry; [`Builder::start`] returns the running
//! [`Tracker`]. The daemon `xdp-tracker` is the same builder with [`Builder::run`].
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::sync::Arc;
//!
//! use tracker_user::config::Config;
//! use tracker_user::{AnnounceRequest, AnnounceResponse, Frontend, PreHook, Refusal, Tracker};
//!
//! /// Counts announces, and refuses ports that only root can listen on.
//! #[derive(Default)]
//! struct UserPorts(AtomicU32);
//!
//! impl PreHook for UserPorts {
//!     fn name(&self) -> &'static str {
//!         "user ports"
//!     }
//!
//!     fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
//!         self.0.fetch_add(1, Ordering::Relaxed);
//!         match request.peer.port() {
//!             ..1024 => Err(Refusal::Client("use a port above 1023".into())),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.udp.addr = vec!["127.0.0.1:0".parse()?];
//! config.http.addr = Some("127.0.0.1:0".parse()?);
//!
//! let hook = Arc::new(UserPorts::default());
//! let tracker = Tracker::builder().config(config.clone()).pre_hook(Arc::clone(&hook)).start()?;
//! println!("announce to udp://{}", tracker.address(Frontend::Udp).ok_or("no UDP")?);
//!
//! let swarm = tracker.swarm(&"5a".repeat(20).parse()?);
//! assert_eq!((swarm.ipv4.seeders, swarm.peers.len()), (0, 0));
//! assert_eq!(tracker.stats().answered, 0);
//!
//! config.announce_interval = tracker_user::config::GoDuration::from_mins(10);
//! assert!(tracker.reload(config)?.needs_restart.is_empty());
//! tracker.stop();
//! # Ok(())
//! # }
//! ```
//!
//! What hooks need is exported here; [`config`] has the types of the configuration, [`prometheus`] is the crate of the
//! metrics and [`ipnet`] that of the networks of a [`NetworkList`]. Heavy parts are cargo features: `xdp` (answers in the kernel), `redis` (swarms that trackers share),
//! `webtorrent` (browsers) and `cli` (the daemon's command line). All are on by default, for the daemon; a program that
//! embeds the tracker depends on it with `default-features = false` and names what it needs. `docs/embedding.md` has
//! more.
//!
//! # Inside
//!
//! Data flows one way: a frontend (`udp`, `http`) parses a request, [`pipeline`] runs the hooks
//! around [`storage`], and the frontend writes the reply. Where it can, the module `dataplane` lets the kernel
//! do all of that on the same swarms. [`daemon`] puts the parts together.

mod certificate;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
#[cfg(feature = "xdp")]
pub mod dataplane;
#[cfg(not(feature = "xdp"))]
#[path = "dataplane/absent.rs"]
mod dataplane;
#[cfg(feature = "cli")]
pub mod e2e;
mod files;
pub mod http;
mod log_limit;
#[cfg(feature = "cli")]
pub mod logging;
pub mod metrics;
pub mod middleware;
mod percent;
pub mod pipeline;
pub mod privileges;
#[cfg(feature = "redis")]
pub mod replication;
#[cfg(not(feature = "redis"))]
#[path = "replication/absent.rs"]
mod replication;
pub mod routes;
pub mod stopped;
pub mod storage;
pub mod udp;
mod watch;
mod worker;

pub use {ipnet, prometheus};

pub use daemon::{Builder, Frontend, Reloaded, Stats, Swarm, Tracker};
pub use pipeline::{
    AnnounceRequest, AnnounceResponse, Asking, Grant, GrantSink, Interest, KeyList, List, ListKind,
    Live, NetworkList, NoGrants, Offload, Params, Pending, PostHook, PreHook, PreferredSubnet,
    Refusal, ScrapeRequest, SwarmStats, TorrentList,
};
pub use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
    peers::PeerBuf,
    policy::{IntervalVariation, Key, Rule},
};
