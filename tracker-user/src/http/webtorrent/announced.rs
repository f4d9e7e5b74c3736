//! What a session remembers of its peers' announces, and by which hooks they were judged.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::pipeline::{AnnounceRequest, Pipeline};

/// After how many intervals without an announce a peer leaves.
const INTERVALS_MAX: u32 = 2;

/// A peer's last announce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) left: u64,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// When it leaves, unless it announces before.
    pub(super) expires: Instant,
}

impl Announced {
    /// Now, by a client that is told to come back after an interval.
    pub(super) fn now(request: &AnnounceRequest, interval_s: u32) -> Self {
        let &AnnounceRequest { left, downloaded, uploaded, .. } = request;
        let interval = Duration::from_secs(interval_s.into());
        Self { left, downloaded, uploaded, expires: Instant::now() + interval * INTERVALS_MAX }
    }
}

/// The hooks at one time, and the state of their lists.
pub(super) struct Judges {
    pipeline: Weak<Pipeline>,
    revision: u64,
}

impl Judges {
    pub(super) fn of(pipeline: &ArcSwap<Pipeline>) -> Self {
        let pipeline = pipeline.load();
        Self { pipeline: Arc::downgrade(&pipeline), revision: pipeline.revision() }
    }
}

impl PartialEq for Judges {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.pipeline.ptr_eq(&other.pipeline)
    }
}
