//! What the storage `redis` shows.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register::register;

/// The connection to Redis.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    /// 1 while all goes to Redis and comes from it.
    pub connected: IntGauge,
    /// Attempts that failed: to connect, or to read or write.
    pub failures: IntCounter,
    /// Commands that it refused, of a batch of which it carried out others.
    pub refused: IntCounter,
    /// Keys, fields and messages that are none of ours or Chihaya's.
    pub malformed: IntCounter,
    /// When all that Redis holds was last looked at, in seconds since 1970; 0 for never.
    pub synced_at: IntGauge,
}

impl RedisMetrics {
    /// Registers them. Only where there is such a storage: a zero would look like an outage.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let counter = |name, help| register(registry, IntCounter::new(name, help)?);
        Ok(Self {
            connected: gauge("xdp_tracker_redis_connected", "Whether Redis is there.")?,
            failures: counter(
                "xdp_tracker_redis_failures_total",
                "Attempts to connect to Redis, to read or to write that failed.",
            )?,
            refused: counter(
                "xdp_tracker_redis_refused_total",
                "Commands that Redis refused for a key's type or for want of memory.",
            )?,
            malformed: counter(
                "xdp_tracker_redis_malformed_total",
                "Keys, fields and messages in Redis that could not be read.",
            )?,
            synced_at: gauge(
                "xdp_tracker_redis_last_sync_timestamp_seconds",
                "When all that Redis holds was last looked at.",
            )?,
        })
    }
}
