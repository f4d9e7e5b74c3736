//! Chihaya's histogram of one protocol, and in it the requests that nobody timed.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus::{
    HistogramVec,
    core::{Collector, Desc},
    proto::{LabelPair, Metric, MetricFamily},
};

use super::labels::{Action, AddressFamily};

/// Requests of one kind that were answered elsewhere than in the daemon, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untimed {
    /// What was asked for.
    pub action: Action,
    /// The client's.
    pub family: AddressFamily,
    /// The failure reason, or "" for success.
    pub error: &'static str,
    /// How many there have been.
    pub count: u64,
}

impl Untimed {
    fn labels(&self) -> [&'static str; 3] {
        [self.action.label(), self.family.label(), self.error]
    }
}

type Source = Box<dyn Fn() -> Vec<Untimed> + Send + Sync>;

/// Timed requests, and those of a source that is asked whenever Prometheus asks: they count as
/// having taken no time, and so are in every bucket.
#[derive(Clone)]
pub(super) struct Durations {
    pub(super) timed: HistogramVec,
    untimed: Arc<OnceLock<Source>>,
}

impl Durations {
    pub(super) fn new(timed: HistogramVec) -> Self {
        Self { timed, untimed: Arc::default() }
    }

    /// Only the first source counts.
    pub(super) fn add_untimed(&self, source: Source) {
        let _ = self.untimed.set(source);
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timed.fmt(f)
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        self.timed.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut untimed = self.untimed.get().map(|source| source()).unwrap_or_default();
        untimed.retain(|requests| requests.count > 0);
        for requests in &untimed {
            // Makes the series where the daemon has not had such a request.
            self.timed.with_label_values(&requests.labels());
        }
        let mut families = self.timed.collect();
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let labels: Vec<_> = metric.get_label().iter().map(LabelPair::value).collect();
            let same = untimed.iter().filter(|requests| requests.labels() == labels[..]);
            let count = same.map(|requests| requests.count).sum();
            add(metric, count);
        }
        families
    }
}

fn add(metric: &mut Metric, count: u64) {
    let mut histogram = metric.get_histogram().clone();
    let mut buckets = histogram.get_bucket().to_vec();
    for bucket in &mut buckets {
        bucket.set_cumulative_count(bucket.cumulative_count() + count);
    }
    histogram.set_bucket(buckets);
    histogram.set_sample_count(histogram.get_sample_count() + count);
    metric.set_histogram(histogram);
}
