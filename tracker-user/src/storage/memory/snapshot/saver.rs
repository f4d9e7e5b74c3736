//! The thread that saves the table: it may have to wait for a disk, which nobody else shall.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tracker_common::table::owner::Table;

use super::save;
use crate::{
    clock::wall_ns, config::SnapshotConfig, metrics::Metrics, privileges,
    storage::memory::MappedMemory,
};

/// The handle of the running thread.
pub(in crate::storage::memory) struct Saver {
    handle: Mutex<Option<JoinHandle<()>>>,
    stopping: Arc<AtomicBool>,
    config: Arc<ArcSwap<SnapshotConfig>>,
}

impl Saver {
    pub(in crate::storage::memory) fn start(
        table: Arc<Table<MappedMemory>>,
        config: &SnapshotConfig,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let config = Arc::new(ArcSwap::from_pointee(config.clone()));
        let work =
            Work { table, metrics, stopping: Arc::clone(&stopping), config: Arc::clone(&config) };
        let handle = privileges::spawn("snapshot", move || work.run())?;
        Ok(Self { handle: Mutex::new(Some(handle)), stopping, config })
    }

    /// Exchanges the options; an interval that runs is begun anew.
    pub(in crate::storage::memory) fn reload(&self, config: SnapshotConfig) {
        self.config.store(Arc::new(config));
        self.wake();
    }

    fn wake(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.iter().for_each(|handle| handle.thread().unpark());
    }

    /// Saves a last time.
    pub(in crate::storage::memory) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("the snapshot's thread had panicked");
        }
    }
}

struct Work {
    table: Arc<Table<MappedMemory>>,
    metrics: Arc<Metrics>,
    stopping: Arc<AtomicBool>,
    config: Arc<ArcSwap<SnapshotConfig>>,
}

impl Work {
    fn run(&self) {
        let mut saved = Instant::now();
        let mut failed = false;
        loop {
            let is_last = self.stopping.load(Ordering::Acquire);
            let config = self.config.load_full();
            let rest = config.interval.saturating_sub(saved.elapsed());
            if is_last || rest == Duration::ZERO {
                failed = !self.save(&config, failed);
                saved = Instant::now();
            } else {
                thread::park_timeout(rest);
            }
            if is_last {
                return;
            }
        }
    }

    /// Says so of the first of several failures.
    fn save(&self, config: &SnapshotConfig, has_failed: bool) -> bool {
        let Some(path) = &config.path else { return true };
        match save(&self.table, path, config.peers) {
            Ok(()) => {
                let seconds = wall_ns() / 1_000_000_000;
                self.metrics.table().snapshot_saved_at.set(seconds as i64);
                true
            }
            Err(error) => {
                if !has_failed {
                    tracing::error!(
                        "storage.config.snapshot.path: {}: the swarms cannot be saved: {error}",
                        path.display(),
                    );
                }
                self.metrics.table().snapshots_failed.inc();
                false
            }
        }
    }
}
