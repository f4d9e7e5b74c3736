//! The configuration file: Chihaya's, and one block `xdp` beside it.
//!
//! The types are the one source: their doc comments and defaults make the shipped `config.yaml`
//! ([`example`]) and the [`schema`] by which unknown keys are found.

mod address;
mod broker;
mod duplicate;
mod duration;
mod example;
mod file_schema;
mod findings;
mod history;
mod hooks;
mod http;
mod in_code;
mod interfaces;
mod limits;
mod load;
mod moved;
mod named_files;
mod path;
mod pattern;
mod route;
mod scalar;
mod schema;
mod service_url;
mod share;
mod source;
mod storage;
mod table;
mod tidy;
mod udp;
mod validate;
mod xdp;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;
use tracker_common::limit::Limits;

pub use address::{ListenAddr, Network};
pub use broker::{Broker, BrokerError};
pub use duration::GoDuration;
pub use example::{example, shipped, to_yaml};
pub use file_schema::{SCHEMA_PATH, file_schema, modeline};
pub use findings::{Finding, UnknownKeys};
pub use hooks::{
    ClientApprovalConfig, HookConfig, IntervalVariationConfig, IpApprovalConfig, JwtConfig,
    PasskeyConfig, PortApprovalConfig, PreferredSubnetConfig, ReportConfig, ReportedAnnounces,
    TorrentApprovalConfig,
};
pub use http::{DualStack, HttpConfig, WebTorrentConfig};
pub use in_code::ConfigSource;
pub use limits::LimitsConfig;
pub use load::{ConfigError, ConfigFile, Loaded, PLACES, Reading, parse};
pub use path::Path as KeyPath;
pub(crate) use route::RoutePart;
pub use route::{ROUTES_MAX, Route, RouteError};
pub use schema::schema;
pub use service_url::ServiceUrl;
pub use source::{Source, key};
pub use storage::{MemoryConfig, RedisConfig, SnapshotConfig, StorageConfig};
pub use table::TableConfig;
pub use udp::{Secret, UdpConfig};
pub use xdp::{
    AttachMode, BadConnectionId, EventLevel, LogLevel, OnExit, ReplyRoute, ReversePath,
    VerifyChecksums, XdpConfig,
};

/// The key that everything is below.
const ROOT: &str = "chihaya";

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How long clients wait between announces.
    #[default(GoDuration::from_mins(30))]
    #[schemars(extend("minimum" = 1_000_000_000))]
    pub announce_interval: GoDuration,
    /// How long clients wait at least, even if their user asks for more peers. HTTP only.
    #[default(GoDuration::from_mins(15))]
    #[schemars(extend("minimum" = 1_000_000_000))]
    pub min_announce_interval: GoDuration,
    /// Where Prometheus finds `/metrics`. Unset: nowhere.
    #[schemars(example = "127.0.0.1:6880")]
    pub metrics_addr: Option<ListenAddr>,
    /// The socket by which `xdp-tracker reload` finds the running tracker.
    #[default(PathBuf::from("/run/xdp-tracker.sock"))]
    pub control_socket: PathBuf,
    /// HTTP and HTTPS (BEP 3). Listens only where an address is given.
    pub http: HttpConfig,
    /// UDP (BEP 15). Listens only where an address is given.
    pub udp: UdpConfig,
    /// Where swarms are kept.
    pub storage: StorageConfig,
    /// Hooks that run before a reply is made, in this order; the first that refuses ends it.
    #[schemars(example = hooks::examples())]
    pub prehooks: Vec<HookConfig>,
    /// Hooks that run after a reply has been made. Chihaya's that refuse are read as `prehooks`.
    #[schemars(example = hooks::post_examples())]
    pub posthooks: Vec<HookConfig>,
    /// Answering in the kernel (XDP).
    pub xdp: XdpConfig,
}

impl Config {
    /// What sources may have, in the kernel and in the daemon, with meters for so many of them.
    #[must_use]
    pub fn limits(&self, sources: u32) -> Limits {
        let lifetime = self.storage.memory().peer_lifetime.as_secs();
        self.xdp.limits.compile(lifetime, &self.xdp.table, sources)
    }
}
