//! The one thread that changes what others may only use: makes room for growing swarms, sweeps out
//! silent peers, and shows the table's figures.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tracker_common::table::owner::{Stats, Table, Totals};

use super::{MappedMemory, fullness::Fullness};
use crate::{
    clock::monotonic_ns,
    config::MemoryConfig,
    metrics::{Metrics, PerFamily},
    worker::{Stopping, Worker},
};

/// Waits until no kernel program that ran when it was called still runs.
pub type Grace = Box<dyn FnMut() + Send>;

/// Swarms that fill up at the same time grow together: the wait for the kernel is long, and one
/// does for all.
const GROW_PAUSE: Duration = Duration::from_millis(2);

/// How long to leave a table alone that has no room to grow into.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// How soon a table at its cap is swept again for torrents without peers.
const FULL_SWEEP_PAUSE: Duration = Duration::from_secs(5);

/// Counting peers takes one in so many parts of the time, at most: it walks over the whole table.
const COUNT_SHARE: u32 = 20;

/// The handle of the running thread.
pub(super) struct Keeper {
    worker: Worker,
    config: Arc<ArcSwap<MemoryConfig>>,
}

impl Keeper {
    pub(super) fn start(
        table: Arc<Table<MappedMemory>>,
        config: &MemoryConfig,
        sweep_first: bool,
        grace: Option<Grace>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let config = Arc::new(ArcSwap::from_pointee(config.clone()));
        let mut work = Work {
            table,
            grace: grace.unwrap_or_else(|| Box::new(|| ())),
            metrics,
            config: Arc::clone(&config),
            reported: Reported::default(),
            fullness: Fullness::default(),
        };
        let worker =
            Worker::start("table-keeper", move |stopping| work.run(sweep_first, stopping))?;
        Ok(Self { worker, config })
    }

    /// Exchanges the intervals; each counts after the one that runs.
    pub(super) fn reload(&self, config: MemoryConfig) {
        self.config.store(Arc::new(config));
    }

    /// Says that there is something to do. Costs next to nothing when it is known already.
    pub(super) fn wake(&self) {
        self.worker.wake();
    }

    pub(super) fn stop(&self) {
        self.worker.stop();
    }
}

struct Work {
    table: Arc<Table<MappedMemory>>,
    grace: Grace,
    metrics: Arc<Metrics>,
    config: Arc<ArcSwap<MemoryConfig>>,
    reported: Reported,
    fullness: Fullness,
}

/// What the counters in the metrics have been told already.
#[derive(Default)]
struct Reported {
    queue_dropped: u64,
    admission_refused: u64,
    blocks_refused: u64,
    unlisted: u64,
    misses_refused: u64,
    torrents_refused: u64,
}

impl Work {
    fn run(&mut self, sweep_first: bool, stopping: &Stopping) {
        let mut sweep_at = Instant::now();
        if !sweep_first {
            sweep_at += *self.config.load().gc_interval;
        }
        let mut swept_at = None;
        let (mut report_at, mut count_at) = (Instant::now(), Instant::now());
        while !stopping.is_set() {
            if self.table.has_work() {
                let grown = self.table.grow(monotonic_ns(), &mut self.grace);
                thread::sleep(if grown > 0 { GROW_PAUSE } else { FULL_PAUSE });
            }
            if self.table.is_loose() {
                self.table.compact(monotonic_ns(), &mut self.grace);
            }
            let now = Instant::now();
            if now >= sweep_at {
                self.sweep(now);
                swept_at = Some(now);
                sweep_at = now + *self.config.load().gc_interval;
            }
            if now >= report_at {
                let refused = self.report();
                // Torrents without peers are the first to go.
                let rests = swept_at.is_some_and(|at| now < at + FULL_SWEEP_PAUSE);
                if refused > 0 && !rests {
                    sweep_at = now;
                }
                report_at = now + *self.config.load().prometheus_reporting_interval;
            }
            if now >= count_at {
                let started = Instant::now();
                self.count();
                let pause = started.elapsed() * COUNT_SHARE;
                count_at = started + pause.max(*self.config.load().prometheus_reporting_interval);
            }
            if !self.table.has_work() && !self.table.is_loose() {
                let now = Instant::now();
                let next = sweep_at.min(report_at).min(count_at);
                stopping.rest(next.saturating_duration_since(now));
            }
        }
    }

    fn sweep(&mut self, started: Instant) {
        let totals = self.table.sweep(monotonic_ns(), &mut self.grace);
        self.metrics.storage().gc_duration_ms.observe(started.elapsed().as_secs_f64() * 1e3);
        self.show(&totals);
    }

    /// Growing swarms do not wait for it.
    fn count(&mut self) {
        let Self { table, grace, .. } = self;
        let totals = table.count(monotonic_ns(), || {
            if table.has_work() {
                table.grow(monotonic_ns(), &mut *grace);
            }
        });
        self.show(&totals);
    }

    /// Torrents without peers are kept for their completed downloads, which Chihaya does not count.
    fn show(&self, totals: &Totals) {
        let storage = self.metrics.storage();
        storage.infohashes.set(totals.torrents.map(i64::from).iter().sum());
        storage.seeders.set(gauge(totals.seeders.iter().sum()));
        storage.leechers.set(gauge(totals.leechers.iter().sum()));
    }

    /// Returns how many announces were refused for want of room since the last time.
    fn report(&mut self) -> u64 {
        let stats: Stats = self.table.stats();
        let table = self.metrics.table();
        set(&table.torrents, stats.torrents);
        set(&table.torrents_max, stats.torrents_max);
        table.block_bytes.set(gauge(stats.block_bytes));
        table.block_bytes_max.set(gauge(stats.block_bytes_max));
        let dropped = stats.queue_dropped - self.reported.queue_dropped;
        table.grow_requests_dropped.inc_by(dropped);
        let refused = stats.admission_refused - self.reported.admission_refused;
        let no_block = stats.blocks_refused - self.reported.blocks_refused;
        let no_torrent = refused.saturating_sub(no_block);
        self.metrics.limit_reached("torrents").inc_by(no_torrent);
        self.metrics.limit_reached("blocks").inc_by(no_block);
        self.fullness.log(&stats, no_torrent, no_block);
        for (limit, count, reported) in [
            ("peers_per_source", stats.unlisted, self.reported.unlisted),
            ("misses_per_source", stats.misses_refused, self.reported.misses_refused),
            ("torrents_per_source", stats.torrents_refused, self.reported.torrents_refused),
        ] {
            self.metrics.limit_reached(limit).inc_by(count - reported);
        }
        self.reported = Reported {
            queue_dropped: stats.queue_dropped,
            admission_refused: stats.admission_refused,
            blocks_refused: stats.blocks_refused,
            unlisted: stats.unlisted,
            misses_refused: stats.misses_refused,
            torrents_refused: stats.torrents_refused,
        };
        refused
    }
}

fn set(gauges: &PerFamily, [ipv4, ipv6]: [u32; 2]) {
    gauges.ipv4.set(ipv4.into());
    gauges.ipv6.set(ipv6.into());
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
