//! Whether Redis is there: said once for each outage, and shown in the metrics.

use std::sync::{Mutex, PoisonError};

use super::link::LinkError;
use crate::metrics::RedisMetrics;

/// What can lose its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Reader,
    Writer,
    Syncer,
}

/// The state of all connections.
pub(super) struct Health {
    broker: String,
    /// A bit for each part that has none.
    lost: Mutex<u8>,
    metrics: RedisMetrics,
}

impl Health {
    /// Without a writer yet.
    pub(super) fn new(broker: &str, metrics: &RedisMetrics) -> Self {
        let lost = Mutex::new(1 << Part::Writer as u8);
        Self { broker: broker.to_owned(), lost, metrics: metrics.clone() }
    }

    /// A part cannot do its work.
    pub(super) fn lost(&self, part: Part, error: &LinkError) {
        self.metrics.failures.inc();
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.connected.set(0);
        if *lost == 0 {
            tracing::error!(
                "storage.config.redis_broker: Redis at {} is lost: {error}; peers are served from memory, \
                 and it is tried again every second",
                self.broker
            );
        }
        *lost |= 1 << part as u8;
    }

    /// A part can do its work. Returns whether it could not before.
    pub(super) fn is_back(&self, part: Part) -> bool {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let was_lost = *lost & 1 << part as u8 != 0;
        *lost &= !(1 << part as u8);
        if was_lost && *lost == 0 {
            self.metrics.connected.set(1);
            tracing::info!("Redis at {} is connected", self.broker);
        }
        was_lost
    }
}
