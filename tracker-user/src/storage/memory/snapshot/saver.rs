//! The thread that saves the table: it may have to wait for a disk, which nobody else shall.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tracker_common::table::owner::Table;

use super::{Lock, save};
use crate::{
    clock::wall_ns,
    config::SnapshotConfig,
    log_limit::Trouble,
    metrics::Metrics,
    storage::memory::MappedMemory,
    worker::{Stopping, Worker},
};

/// The handle of the running thread.
pub(in crate::storage::memory) struct Saver {
    worker: Worker,
    config: Arc<ArcSwap<SnapshotConfig>>,
}

impl Saver {
    pub(in crate::storage::memory) fn start(
        table: Arc<Table<MappedMemory>>,
        config: &SnapshotConfig,
        lock: Option<Lock>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let config = Arc::new(ArcSwap::from_pointee(config.clone()));
        let mut work = Work { table, metrics, config: Arc::clone(&config), lock };
        let worker = Worker::start("snapshot", move |stopping| work.run(stopping))?;
        Ok(Self { worker, config })
    }

    /// Exchanges the options; an interval that runs is begun anew.
    pub(in crate::storage::memory) fn reload(&self, config: SnapshotConfig) {
        self.config.store(Arc::new(config));
        self.worker.wake();
    }

    /// Saves a last time.
    pub(in crate::storage::memory) fn stop(&self) {
        self.worker.stop();
    }
}

struct Work {
    table: Arc<Table<MappedMemory>>,
    metrics: Arc<Metrics>,
    config: Arc<ArcSwap<SnapshotConfig>>,
    /// Of the file that was saved last.
    lock: Option<Lock>,
}

impl Work {
    fn run(&mut self, stopping: &Stopping) {
        let mut saved = Instant::now();
        let mut trouble = Trouble::default();
        loop {
            let is_last = stopping.is_set();
            let config = self.config.load_full();
            let rest = config.interval.saturating_sub(saved.elapsed());
            if is_last || rest == Duration::ZERO {
                self.save(&config, &mut trouble);
                saved = Instant::now();
            } else {
                stopping.rest(rest);
            }
            if is_last {
                return;
            }
        }
    }

    /// Logs the first of several failures, and that they are over.
    fn save(&mut self, config: &SnapshotConfig, trouble: &mut Trouble) {
        let Some(path) = &config.path else {
            self.lock = None;
            return;
        };
        let saved = self.lock(path).and_then(|()| save(&self.table, path, config.peers));
        match saved {
            Ok(()) => {
                let seconds = wall_ns() / 1_000_000_000;
                self.metrics.table().snapshot_saved_at.set(seconds as i64);
                if trouble.is_over() {
                    tracing::info!(
                        "storage.config.snapshot.path: {}: the swarms are saved again",
                        path.display(),
                    );
                }
            }
            Err(error) => {
                if trouble.goes_on(&error.to_string()) {
                    tracing::error!(
                        "storage.config.snapshot.path: {}: the swarms cannot be saved: {error}",
                        path.display(),
                    );
                }
                self.metrics.table().snapshots_failed.inc();
            }
        }
    }

    /// Takes the lock of another file, where a reload has named one.
    fn lock(&mut self, path: &Path) -> io::Result<()> {
        if self.lock.as_ref().is_none_or(|lock| lock.path() != path) {
            self.lock = Some(Lock::take(path).map_err(io::Error::other)?);
        }
        Ok(())
    }
}
