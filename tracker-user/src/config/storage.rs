//! The storage's keys.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::{Broker, BrokerError, GoDuration, Secret};

/// Where swarms are kept.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "config")]
pub enum StorageConfig {
    /// In this machine's memory, in the table that the kernel shares.
    #[default]
    #[serde(rename = "memory")]
    Memory(MemoryConfig),
    /// In the same table, and in a Redis server that several trackers share.
    #[serde(rename = "redis")]
    Redis(RedisConfig),
}

impl StorageConfig {
    /// What the table goes by, whatever else keeps the swarms.
    #[must_use]
    pub fn memory(&self) -> MemoryConfig {
        match self {
            Self::Memory(memory) => memory.clone(),
            Self::Redis(redis) => MemoryConfig {
                gc_interval: redis.gc_interval,
                peer_lifetime: redis.peer_lifetime,
                prometheus_reporting_interval: redis.prometheus_reporting_interval,
                snapshot: SnapshotConfig::default(),
            },
        }
    }
}

/// Options of the storage `memory`.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MemoryConfig {
    /// How often peers that have gone silent are swept out.
    #[default(GoDuration::from_mins(3))]
    pub gc_interval: GoDuration,
    /// How long a peer counts after its last announce. Longer than `announce_interval`, or peers
    /// drop out between announces.
    #[default(GoDuration::from_mins(31))]
    pub peer_lifetime: GoDuration,
    /// How often the counts of torrents, seeders and leechers are brought up to date in the metrics.
    #[default(GoDuration::from_secs(1))]
    pub prometheus_reporting_interval: GoDuration,
    /// Swarms on disk, for a start after a reboot, or without a kernel that kept them.
    pub snapshot: SnapshotConfig,
}

/// What of the swarms is saved, and where.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotConfig {
    /// The file. Unset: nothing is saved or restored.
    #[schemars(example = "/var/lib/xdp-tracker/swarms")]
    pub path: Option<PathBuf>,
    /// How often it is written. It is also written at the end.
    #[default(GoDuration::from_mins(5))]
    #[schemars(extend("minimum" = 1_000_000_000))]
    pub interval: GoDuration,
    /// Peers too, and not only how often each torrent was downloaded.
    #[default(true)]
    pub peers: bool,
}

/// Options of the storage `redis`.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RedisConfig {
    /// How often peers that have gone silent are swept out, and what Redis holds is looked at.
    #[default(GoDuration::from_mins(3))]
    pub gc_interval: GoDuration,
    /// How long a peer counts after its last announce. The same for all trackers.
    #[default(GoDuration::from_mins(31))]
    pub peer_lifetime: GoDuration,
    /// How often the counts of torrents, seeders and leechers are brought up to date in the metrics.
    #[default(GoDuration::from_secs(1))]
    pub prometheus_reporting_interval: GoDuration,
    /// The server: `redis://password@host:port/database`, and with `rediss://` over TLS. Unset:
    /// `redis://myRedis@127.0.0.1:6379/0`, as in Chihaya.
    pub redis_broker: Option<Secret>,
    /// With `rediss://`, the PEM file of the authorities that may have signed the server's certificate. Unset:
    /// those that the system trusts.
    #[schemars(example = "/etc/xdp-tracker/redis-ca.pem")]
    #[schemars(extend("x-reads" = "file"))]
    pub redis_ca_path: Option<PathBuf>,
    /// With `rediss://`, the PEM file of the certificate chain that the server is shown. Redis asks for one
    /// unless it is told not to (`tls-auth-clients`).
    #[schemars(example = "/etc/xdp-tracker/redis-client.pem")]
    #[schemars(extend("x-reads" = "file"))]
    pub redis_cert_path: Option<PathBuf>,
    /// The PEM file of its private key.
    #[schemars(example = "/etc/xdp-tracker/redis-client.key")]
    #[schemars(extend("x-reads" = "file"))]
    pub redis_key_path: Option<PathBuf>,
    /// How long the server may take to answer.
    #[default(GoDuration::from_secs(15))]
    pub redis_read_timeout: GoDuration,
    /// How long a command may take to leave.
    #[default(GoDuration::from_secs(15))]
    pub redis_write_timeout: GoDuration,
    /// How long the server may take to accept a connection.
    #[default(GoDuration::from_secs(15))]
    pub redis_connect_timeout: GoDuration,
}

impl RedisConfig {
    /// The server.
    ///
    /// # Errors
    /// What is wrong with `redis_broker`.
    pub fn broker(&self) -> Result<Broker, BrokerError> {
        Broker::parse(self.redis_broker.as_ref().map_or(Broker::DEFAULT, Secret::reveal))
    }
}
