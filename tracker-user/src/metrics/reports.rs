//! What the hook `report` tells.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::register::register;

/// Announces on their way to the service.
#[derive(Debug, Clone)]
pub struct ReportMetrics {
    /// Those that wait.
    pub queued: IntGauge,
    /// The service has taken them.
    pub delivered: IntCounter,
    /// The service will never take them.
    pub refused: IntCounter,
    /// The hook ended before the service took them.
    pub lost: IntCounter,
    /// Attempts that failed.
    pub failures: IntCounter,
}

impl ReportMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "xdp_tracker_reported_announces_total",
            "Announces that the hook `report` has done with, by what became of them.",
        );
        let announces = register(registry, IntCounterVec::new(opts, &["outcome"])?)?;
        let outcome = |outcome| announces.with_label_values(&[outcome]);
        let queued = IntGauge::new(
            "xdp_tracker_report_queue",
            "Announces that wait to be told by the hook `report`.",
        )?;
        let failures = IntCounter::new(
            "xdp_tracker_report_failures_total",
            "Attempts of the hook `report` to tell its service that failed.",
        )?;
        Ok(Self {
            queued: register(registry, queued)?,
            delivered: outcome("delivered"),
            refused: outcome("refused"),
            lost: outcome("lost"),
            failures: register(registry, failures)?,
        })
    }
}
