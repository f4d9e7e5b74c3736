//! What all threads of a replica go by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{departed::Departed, health::Health, link::Settings, queue::Queue};
use crate::{config::RedisConfig, metrics::RedisMetrics, storage::memory::MemoryStorage};

/// How long a lost server is left alone.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What all threads go by.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// The tracker's name in messages.
    pub(super) instance: u64,
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) queue: Queue,
    pub(super) departed: Departed,
    pub(super) sync_wanted: Wanted,
    pub(super) health: Health,
    pub(super) config: ArcSwap<RedisConfig>,
    pub(super) metrics: RedisMetrics,
}

/// A reason to look at Redis before it is time.
#[derive(Default)]
pub(super) struct Wanted(AtomicBool);

impl Wanted {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}
