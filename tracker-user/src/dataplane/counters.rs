//! The kernel's counters, read when Prometheus asks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
};
use prometheus::{
    IntCounter, IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tracker_common::{
    abi::{self, VERDICTS, Verdict, name},
    policy::Rule,
    wire::Failure,
};

use super::Kernel;
use crate::metrics::{
    Action, AddressFamily, Metrics, Outcome, RequestPath, Untimed, request_counters,
};

/// What a verdict is called in the metrics.
#[derive(Clone, Copy)]
enum Label {
    /// The kernel has answered the request.
    Answered(Action),
    /// It has dealt with one whose connection id is bad.
    BadId(Outcome),
    /// It has refused an announce, or a scrape, by a hook's list.
    Unapproved(Rule),
    /// It has dealt with one over a limit, of this name.
    Limited(Action, Outcome, &'static str),
    /// It was left to the daemon, for this reason.
    Passed(&'static str),
}

/// What requests that were dropped for a limit go by in Chihaya's histogram.
const LIMITED: &str = "over a limit";
const SOURCE: &str = "requests of a source";
const EGRESS: &str = "egress";
const PASSES: &str = "passes_per_source";
const UNPROVEN: &str = "unproven_passes";

/// All verdicts but `NotOurs`, which is not counted.
fn labels() -> impl Iterator<Item = (Verdict, Label)> {
    let of_rules = Rule::ALL.map(|rule| (rule.verdict(), Label::Unapproved(rule)));
    LABELS.into_iter().chain(of_rules)
}

/// The verdicts that are not a rule's.
const LABELS: [(Verdict, Label); 23] = [
    (Verdict::Connected, Label::Answered(Action::Connect)),
    (Verdict::Announced, Label::Answered(Action::Announce)),
    (Verdict::Scraped, Label::Answered(Action::Scrape)),
    (Verdict::BadIdRefused, Label::BadId(Outcome::Refused)),
    (Verdict::BadIdDropped, Label::BadId(Outcome::Dropped)),
    (Verdict::Unusual, Label::Passed("unusual")),
    (Verdict::Options, Label::Passed("options")),
    (Verdict::ClaimsAddress, Label::Passed("claimed address")),
    (Verdict::Gated, Label::Passed("hook")),
    (Verdict::UnknownTorrent, Label::Passed("unknown torrent")),
    (Verdict::Frozen, Label::Passed("growing torrent")),
    (Verdict::Full, Label::Passed("full torrent")),
    (Verdict::Contended, Label::Passed("contended")),
    (Verdict::NoReply, Label::Passed("no reply possible")),
    (Verdict::SourceThrottled, Label::Limited(Action::Announce, Outcome::Throttled, SOURCE)),
    (Verdict::SourceDropped, Label::Limited(Action::Other, Outcome::Dropped, SOURCE)),
    (Verdict::MissThrottled, Label::Limited(Action::Announce, Outcome::Throttled, "misses")),
    (Verdict::EgressThrottled, Label::Limited(Action::Announce, Outcome::Throttled, EGRESS)),
    (Verdict::EgressDropped, Label::Limited(Action::Other, Outcome::Dropped, EGRESS)),
    (Verdict::BadIdLimited, Label::Limited(Action::Other, Outcome::Dropped, "bad connection ids")),
    (Verdict::PassThrottled, Label::Limited(Action::Announce, Outcome::Throttled, PASSES)),
    (Verdict::PassDropped, Label::Limited(Action::Other, Outcome::Dropped, PASSES)),
    (Verdict::UnprovenDropped, Label::Limited(Action::Other, Outcome::Dropped, UNPROVEN)),
];

/// In the order of the program's counters.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::IPv4, AddressFamily::IPv6];

/// Adds the kernel's counters to the metrics.
///
/// # Errors
/// When the program's map is not what it should be.
pub(super) fn register(kernel: &mut Kernel, metrics: &Arc<Metrics>) -> anyhow::Result<()> {
    let map = kernel.take(name::COUNTERS)?;
    let map = Arc::new(CountersMap(map));
    let events_lost = metrics.table().events_lost.clone();
    metrics.register(KernelCounters {
        map: Arc::clone(&map),
        served: request_counters(RequestPath::Kernel)?,
        passed: passed_counters()?,
        limited: limited_counters()?,
        events_lost: Mutex::new(events_lost),
        unlisted: metrics.limit_reached("peers_per_source"),
        unlisted_before: AtomicU64::new(0),
        reached: [PASSES, UNPROVEN].map(|limit| (limit, metrics.limit_reached(limit))),
    })?;
    metrics.udp().add_untimed(move || map.served());
    Ok(())
}

fn passed_counters() -> prometheus::Result<IntCounterVec> {
    let opts = Opts::new(
        "xdp_tracker_kernel_passed_total",
        "Requests that the kernel left to the daemon, by reason.",
    );
    IntCounterVec::new(opts, &["address_family", "reason"])
}

fn limited_counters() -> prometheus::Result<IntCounterVec> {
    let opts = Opts::new(
        "xdp_tracker_kernel_limited_total",
        "Requests over a limit of `xdp.limits`: announces answered without peers, others dropped.",
    );
    IntCounterVec::new(opts, &["address_family", "limit"])
}

/// What the program counts.
struct CountersMap(PerCpuArray<MapData, Counters>);

struct KernelCounters {
    map: Arc<CountersMap>,
    served: IntCounterVec,
    passed: IntCounterVec,
    limited: IntCounterVec,
    events_lost: Mutex<IntCounter>,
    /// Beside it the daemon counts its own.
    unlisted: IntCounter,
    unlisted_before: AtomicU64,
    /// Limits that the kernel alone holds sources to, by the names of their keys.
    reached: [(&'static str, IntCounter); 2],
}

impl CountersMap {
    /// What the kernel has dealt with, for Chihaya's histogram.
    fn served(&self) -> Vec<Untimed> {
        let Some(counters) = self.read() else { return Vec::new() };
        let mut served = Vec::new();
        for (family, verdicts) in FAMILIES.into_iter().zip(counters.verdicts) {
            for (verdict, label) in labels() {
                let (action, family, error) = match label {
                    Label::Answered(action) => (action, family, ""),
                    // So Chihaya says of whom it has not yet understood.
                    Label::BadId(_) => {
                        let error = Failure::BadConnectionId.text();
                        (Action::Other, AddressFamily::Unknown, error)
                    }
                    Label::Unapproved(rule) => (Action::Announce, family, rule.text()),
                    Label::Limited(action, Outcome::Throttled, _) => (action, family, ""),
                    Label::Limited(action, ..) => (action, family, LIMITED),
                    Label::Passed(_) => continue,
                };
                let count = verdicts[verdict as usize];
                served.push(Untimed { action, family, error, count });
            }
        }
        served
    }

    /// The sums over all processors.
    fn read(&self) -> Option<abi::Counters> {
        let per_cpu = self.0.get(&0, 0).ok()?;
        let mut sum = abi::Counters { verdicts: [[0; VERDICTS]; 2], events_lost: 0, unlisted: 0 };
        for Counters(one) in per_cpu.iter() {
            let all = sum.verdicts.as_flattened_mut().iter_mut();
            all.zip(one.verdicts.as_flattened()).for_each(|(sum, one)| *sum += one);
            sum.events_lost += one.events_lost;
            sum.unlisted += one.unlisted;
        }
        Some(sum)
    }
}

impl Collector for KernelCounters {
    fn desc(&self) -> Vec<&Desc> {
        [&self.served, &self.passed, &self.limited].into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // One at a time: the counters are brought to what the kernel says, not increased.
        let events_lost = self.events_lost.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counters) = self.map.read() else { return Vec::new() };
        raise(&events_lost, counters.events_lost);
        let before = self.unlisted_before.swap(counters.unlisted, Relaxed);
        self.unlisted.inc_by(counters.unlisted.saturating_sub(before));
        for (limit, counter) in &self.reached {
            raise(counter, limited(&counters, limit));
        }
        for (family, verdicts) in FAMILIES.into_iter().zip(counters.verdicts) {
            // Several verdicts may have one label.
            let mut sums = BTreeMap::<_, u64>::new();
            let mut limits = BTreeMap::<_, u64>::new();
            for (verdict, label) in labels() {
                let count = verdicts[verdict as usize];
                let (action, what) = match label {
                    Label::Answered(action) => (Some(action), Outcome::Answered.label()),
                    Label::BadId(outcome) => (Some(Action::Other), outcome.label()),
                    Label::Unapproved(_) => (Some(Action::Announce), Outcome::Refused.label()),
                    Label::Limited(action, outcome, limit) => {
                        *limits.entry(limit).or_default() += count;
                        (Some(action), outcome.label())
                    }
                    Label::Passed(reason) => (None, reason),
                };
                *sums.entry((action.map(Action::label), what)).or_default() += count;
            }
            for (limit, sum) in limits {
                raise(&self.limited.with_label_values(&[family.label(), limit]), sum);
            }
            for ((action, what), sum) in sums {
                let counter = match action {
                    Some(action) => self.served.with_label_values(&[action, family.label(), what]),
                    None => self.passed.with_label_values(&[family.label(), what]),
                };
                raise(&counter, sum);
            }
        }
        [&self.served, &self.passed, &self.limited]
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

/// How many requests met the limit of this name.
fn limited(counters: &abi::Counters, name: &str) -> u64 {
    let is_of = |label: &Label| matches!(*label, Label::Limited(.., limit) if limit == name);
    let verdicts = labels().filter(|(_, label)| is_of(label)).map(|(verdict, _)| verdict);
    verdicts.flat_map(|verdict| counters.verdicts.map(|family| family[verdict as usize])).sum()
}

fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Counters(abi::Counters);

// SAFETY: integers of one size, no padding.
unsafe impl Pod for Counters {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_but_one_has_its_label() {
        let mut seen: Vec<_> = labels().map(|(verdict, _)| verdict as usize).collect();
        seen.push(Verdict::NotOurs as usize);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..Verdict::COUNT as usize));
    }
}
