//! The kernel's counters, read when Prometheus asks.

use std::sync::{Arc, Mutex, PoisonError};

use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
};
use prometheus::{
    IntCounter, IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tracker_common::abi::{self, VERDICTS, Verdict, name};

use super::Kernel;
use crate::metrics::{Action, AddressFamily, Metrics, Outcome, RequestPath, request_counters};

/// What a verdict is called in the metrics.
enum Label {
    /// The kernel has dealt with the request.
    Served(Action, Outcome),
    /// It was left to the daemon, for this reason.
    Passed(&'static str),
}

/// All verdicts but `NotOurs`, which is not counted.
const LABELS: [(Verdict, Label); 15] = [
    (Verdict::Connected, Label::Served(Action::Connect, Outcome::Answered)),
    (Verdict::Announced, Label::Served(Action::Announce, Outcome::Answered)),
    (Verdict::Scraped, Label::Served(Action::Scrape, Outcome::Answered)),
    (Verdict::BadIdRefused, Label::Served(Action::Other, Outcome::Refused)),
    (Verdict::BadIdDropped, Label::Served(Action::Other, Outcome::Dropped)),
    (Verdict::TorrentRefused, Label::Served(Action::Announce, Outcome::Refused)),
    (Verdict::Unusual, Label::Passed("unusual")),
    (Verdict::Options, Label::Passed("options")),
    (Verdict::ClaimsAddress, Label::Passed("claimed address")),
    (Verdict::Gated, Label::Passed("hook")),
    (Verdict::UnknownTorrent, Label::Passed("unknown torrent")),
    (Verdict::Frozen, Label::Passed("growing torrent")),
    (Verdict::Full, Label::Passed("full torrent")),
    (Verdict::Contended, Label::Passed("contended")),
    (Verdict::NoReply, Label::Passed("no reply possible")),
];

/// Adds the kernel's counters to the metrics.
///
/// # Errors
/// When the program's map is not what it should be.
pub(super) fn register(kernel: &mut Kernel, metrics: &Arc<Metrics>) -> anyhow::Result<()> {
    let map = kernel.take(name::COUNTERS)?;
    let events_lost = metrics.table().events_lost.clone();
    metrics.register(KernelCounters {
        map,
        served: request_counters(RequestPath::Kernel)?,
        passed: passed_counters()?,
        events_lost: Mutex::new(events_lost),
    })?;
    Ok(())
}

fn passed_counters() -> prometheus::Result<IntCounterVec> {
    let opts = Opts::new(
        "xdp_tracker_kernel_passed_total",
        "Requests that the kernel left to the daemon, by reason.",
    );
    IntCounterVec::new(opts, &["address_family", "reason"])
}

struct KernelCounters {
    map: PerCpuArray<MapData, Counters>,
    served: IntCounterVec,
    passed: IntCounterVec,
    events_lost: Mutex<IntCounter>,
}

impl KernelCounters {
    /// The sums over all processors.
    fn read(&self) -> Option<abi::Counters> {
        let per_cpu = self.map.get(&0, 0).ok()?;
        let mut sum = abi::Counters { verdicts: [[0; VERDICTS]; 2], events_lost: 0 };
        for Counters(one) in per_cpu.iter() {
            let all = sum.verdicts.as_flattened_mut().iter_mut();
            all.zip(one.verdicts.as_flattened()).for_each(|(sum, one)| *sum += one);
            sum.events_lost += one.events_lost;
        }
        Some(sum)
    }
}

impl Collector for KernelCounters {
    fn desc(&self) -> Vec<&Desc> {
        [&self.served, &self.passed].into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // One at a time: the counters are brought to what the kernel says, not increased.
        let events_lost = self.events_lost.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counters) = self.read() else { return Vec::new() };
        raise(&events_lost, counters.events_lost);
        for (family, verdicts) in
            [AddressFamily::IPv4, AddressFamily::IPv6].into_iter().zip(counters.verdicts)
        {
            for (verdict, label) in &LABELS {
                let counter = match label {
                    Label::Served(action, outcome) => self.served.with_label_values(&[
                        action.label(),
                        family.label(),
                        outcome.label(),
                    ]),
                    Label::Passed(reason) => {
                        self.passed.with_label_values(&[family.label(), reason])
                    }
                };
                raise(&counter, verdicts[*verdict as usize]);
            }
        }
        [&self.served, &self.passed].into_iter().flat_map(Collector::collect).collect()
    }
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
        let mut seen = LABELS.map(|(verdict, _)| verdict as usize).to_vec();
        seen.push(Verdict::NotOurs as usize);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..=Verdict::NoReply as usize));
    }
}
