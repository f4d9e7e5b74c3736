//! Hears announces of this tracker, whoever answered them.

use std::sync::Arc;

use super::{change::Change, shared::Shared};
use crate::{
    clock::wall_ns,
    pipeline::{AnnounceRequest, AnnounceResponse, PostHook},
};

/// The post-hook.
pub(super) struct Feed {
    shared: Arc<Shared>,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl PostHook for Feed {
    fn name(&self) -> &'static str {
        "storage redis"
    }

    fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
        let (key, change) = Change::of(request, wall_ns());
        self.shared.queue.put(key, change);
    }
}
