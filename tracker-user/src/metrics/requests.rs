//! Requests, counted and timed, with no look-up by label where nothing went wrong.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    exponential_buckets,
};

use super::{
    durations::{Durations, Untimed},
    labels::{Action, AddressFamily, BoundedLabels, Outcome},
    register::register,
};

/// Distinct failure reasons that get a label of their own.
pub(super) const ERRORS_MAX: usize = 64;

/// Which side dealt with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPath {
    /// The XDP program.
    Kernel,
    /// The daemon.
    User,
}

impl RequestPath {
    /// The label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

/// The counters of requests of both paths.
pub(super) const REQUESTS: &str = "xdp_tracker_requests_total";

/// `xdp_tracker_requests_total` of one path, not registered, with the labels `action`,
/// `address_family` and `outcome`. A collector of the kernel's counters fills one at each scrape.
///
/// # Errors
/// Only if the names here were not Prometheus names.
pub fn request_counters(path: RequestPath) -> prometheus::Result<IntCounterVec> {
    let opts =
        Opts::new(REQUESTS, "Requests by what became of them in the kernel and in the daemon.");
    IntCounterVec::new(
        opts.const_label("path", path.label()),
        &["action", "address_family", "outcome"],
    )
}

/// Buckets of all of Chihaya's histograms, in milliseconds.
pub(super) fn buckets() -> prometheus::Result<Vec<f64>> {
    exponential_buckets(9.375, 2.0, 10)
}

/// The daemon's share of `xdp_tracker_requests_total`.
#[derive(Debug)]
pub(super) struct UserRequests {
    counters: IntCounterVec,
    resolved: [OnceLock<IntCounter>; Action::COUNT * AddressFamily::COUNT * Outcome::COUNT],
}

impl UserRequests {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = register(registry, request_counters(RequestPath::User)?)?;
        Ok(Self { counters, resolved: [const { OnceLock::new() }; _] })
    }

    fn count(&self, action: Action, family: AddressFamily, outcome: Outcome) {
        let cell = cell(action, family) * Outcome::COUNT + outcome as usize;
        let resolve = || {
            let labels = [action.label(), family.label(), outcome.label()];
            self.counters.with_label_values(&labels)
        };
        self.resolved[cell].get_or_init(resolve).inc();
    }
}

/// The metrics of one frontend: Chihaya's histogram, and its part of ours.
#[derive(Debug)]
pub struct FrontendMetrics {
    durations: Durations,
    /// Those without an error, by [`cell`].
    resolved: [OnceLock<Histogram>; Action::COUNT * AddressFamily::COUNT],
    errors: BoundedLabels,
    errors_exhausted: IntCounter,
    requests: Arc<UserRequests>,
}

impl FrontendMetrics {
    /// What [`FrontendMetrics::observe`] is told when the fault is ours.
    pub const INTERNAL_ERROR: &str = "internal error";

    pub(super) fn new(
        protocol: &str,
        registry: &Registry,
        requests: Arc<UserRequests>,
        errors_exhausted: IntCounter,
    ) -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(
            format!("chihaya_{protocol}_response_duration_milliseconds"),
            format!("Time from a request's arrival over {protocol} until it was dealt with."),
        );
        let labels = ["action", "address_family", "error"];
        let durations = HistogramVec::new(opts.buckets(buckets()?), &labels)?;
        Ok(Self {
            durations: register(registry, Durations::new(durations))?,
            resolved: [const { OnceLock::new() }; _],
            errors: BoundedLabels::new(ERRORS_MAX),
            errors_exhausted,
            requests,
        })
    }

    /// Has requests counted that were answered elsewhere: `source` is asked for them whenever
    /// Prometheus asks. They are not in `xdp_tracker_requests_total`. Only the first source counts.
    pub fn add_untimed(&self, source: impl Fn() -> Vec<Untimed> + Send + Sync + 'static) {
        self.durations.add_untimed(Box::new(source));
    }

    /// Counts a request that the daemon has dealt with. `error` is the failure reason,
    /// [`FrontendMetrics::INTERNAL_ERROR`], or "" for success; `elapsed` is zero where it was not
    /// measured.
    pub fn observe(&self, action: Action, family: AddressFamily, error: &str, elapsed: Duration) {
        let milliseconds = elapsed.as_secs_f64() * 1e3;
        let labels = |error| [action.label(), family.label(), error];
        let histogram = |error| self.durations.timed.with_label_values(&labels(error));
        let outcome = match error {
            "" => {
                let resolved = &self.resolved[cell(action, family)];
                resolved.get_or_init(|| histogram("")).observe(milliseconds);
                Outcome::Answered
            }
            error => {
                let label = self.errors.admit(error).unwrap_or_else(|| {
                    self.errors_exhausted.inc();
                    BoundedLabels::OTHER
                });
                histogram(label).observe(milliseconds);
                if error == Self::INTERNAL_ERROR { Outcome::Failed } else { Outcome::Refused }
            }
        };
        self.requests.count(action, family, outcome);
    }
}

const fn cell(action: Action, family: AddressFamily) -> usize {
    action as usize * AddressFamily::COUNT + family as usize
}
