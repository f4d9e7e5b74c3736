//! What hooks do beside judging requests.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::register::register;

/// How often a hook's lists or keys were brought up to date.
#[derive(Debug, Clone)]
pub struct Refreshes {
    /// They are the new ones now.
    pub succeeded: IntCounter,
    /// The old ones are still in force.
    pub failed: IntCounter,
}

/// Those of all hooks, by name.
#[derive(Debug)]
pub(super) struct HookMetrics {
    refreshes: IntCounterVec,
    pub(super) jwt_refusals: IntCounterVec,
}

impl HookMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "xdp_tracker_hook_refreshes_total",
            "How often a hook's lists or keys were read or fetched again.",
        );
        let refreshes = IntCounterVec::new(opts, &["hook", "outcome"])?;
        let opts = Opts::new(
            "xdp_tracker_jwt_refusals_total",
            "Announces with a token that the hook `jwt` found wrong, by what is wrong with it.",
        );
        let jwt_refusals = IntCounterVec::new(opts, &["reason"])?;
        Ok(Self {
            refreshes: register(registry, refreshes)?,
            jwt_refusals: register(registry, jwt_refusals)?,
        })
    }

    pub(super) fn refreshes(&self, hook: &'static str) -> Refreshes {
        let outcome = |outcome| self.refreshes.with_label_values(&[hook, outcome]);
        Refreshes { succeeded: outcome("succeeded"), failed: outcome("failed") }
    }
}
