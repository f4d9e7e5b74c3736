//! In the stead of Redis, where the cargo feature `redis` is off: the storage `redis` is refused before a start.

use std::{convert::Infallible, sync::Arc};

use crate::{
    config::{RedisConfig, StorageConfig},
    metrics::Metrics,
    pipeline::PostHook,
    storage::memory::MemoryStorage,
};

/// The storage cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("this build shares no swarms: its cargo feature `redis` is off")]
pub(crate) struct Absent;

/// There are no files to look at.
///
/// # Errors
/// None.
pub(crate) fn check_files(_: &StorageConfig) -> Result<(), Infallible> {
    Ok(())
}

/// See `access::Writes`.
#[expect(dead_code, reason = "no Redis is asked")]
pub(crate) enum Writes {
    Allowed,
    Refused(String),
    Untold,
}

/// Refuses the storage.
///
/// # Errors
/// Always.
pub(crate) fn check(_: &RedisConfig) -> Result<Writes, Absent> {
    Err(Absent)
}

/// There is none.
pub(crate) enum Replica {}

impl Replica {
    pub(crate) fn start(
        _: &RedisConfig,
        _: &Arc<MemoryStorage>,
        _: &Metrics,
    ) -> Result<Self, Absent> {
        Err(Absent)
    }

    pub(crate) fn feed(&self) -> Box<dyn PostHook> {
        match *self {}
    }

    pub(crate) fn reload(&self, _: &RedisConfig) {
        match *self {}
    }

    pub(crate) fn stop(&self) {
        match *self {}
    }
}
