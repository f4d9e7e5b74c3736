//! Whether Redis is there: said once for each outage, and shown in the metrics.

use std::sync::{Mutex, PoisonError};

use super::error::LinkError;
use crate::{log_limit::Trouble, metrics::RedisMetrics};

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
    lost: Mutex<Lost>,
    metrics: RedisMetrics,
}

/// What has no connection.
struct Lost {
    /// A bit for each part.
    parts: u8,
    /// An outage that was logged. A server that comes and goes has a line now and then.
    trouble: Trouble,
    /// It has been connected before.
    was_connected: bool,
}

impl Health {
    /// Without a writer yet.
    pub(super) fn new(broker: &str, metrics: &RedisMetrics) -> Self {
        let parts = 1 << Part::Writer as u8;
        let lost = Lost { parts, trouble: Trouble::default(), was_connected: false };
        Self { broker: broker.to_owned(), lost: Mutex::new(lost), metrics: metrics.clone() }
    }

    /// A part cannot do its work.
    pub(super) fn lost(&self, part: Part, error: &LinkError) {
        self.metrics.failures.inc();
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        self.metrics.connected.set(0);
        if lost.parts == 0 && lost.trouble.goes_on("lost") {
            tracing::error!(
                "storage.config.redis_broker: Redis at {} is lost: {error}; peers are served from memory, \
                 and it is tried again every second",
                self.broker
            );
        }
        lost.parts |= 1 << part as u8;
    }

    /// A part can do its work. Returns whether it could not before.
    pub(super) fn is_back(&self, part: Part) -> bool {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let was_lost = lost.parts & 1 << part as u8 != 0;
        lost.parts &= !(1 << part as u8);
        if was_lost && lost.parts == 0 {
            self.metrics.connected.set(1);
            let is_first = !std::mem::replace(&mut lost.was_connected, true);
            if lost.trouble.is_over() || is_first {
                tracing::info!("Redis at {} is connected", self.broker);
            }
        }
        was_lost
    }
}
