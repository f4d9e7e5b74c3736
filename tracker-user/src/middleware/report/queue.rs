//! Announces that wait to be told, in the order in which they came.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::{IntCounter, IntGauge};

use super::record::Record;

/// The queue. Whoever puts something in never waits for the service.
pub(super) struct Queue {
    records: Mutex<VecDeque<Record>>,
    max: usize,
    /// How many have been put in, by all hooks, and not been [done with](Queue::done).
    waiting: IntGauge,
    dropped: IntCounter,
}

impl Queue {
    /// `dropped` counts those that find it full.
    pub(super) fn new(max: usize, waiting: IntGauge, dropped: IntCounter) -> Self {
        Self { records: Mutex::default(), max, waiting, dropped }
    }

    /// Adds one, and returns how many there are now; nothing where it is full.
    pub(super) fn put(&self, record: Record) -> Option<usize> {
        let mut records = self.lock();
        if records.len() >= self.max {
            drop(records);
            self.dropped.inc();
            return None;
        }
        records.push_back(record);
        self.waiting.inc();
        Some(records.len())
    }

    /// Takes out so many at most.
    pub(super) fn take(&self, max: usize) -> Vec<Record> {
        let mut records = self.lock();
        let taken = records.len().min(max);
        records.drain(..taken).collect()
    }

    /// So many that were taken out have been told, or are not told any more.
    pub(super) fn done(&self, records: usize) {
        self.waiting.sub(records as i64);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Record>> {
        // Whoever panicked has left it whole: each change is one call.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
