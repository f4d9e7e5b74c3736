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
    /// How many wait, in the queues of all hooks.
    queued: IntGauge,
    dropped: IntCounter,
}

impl Queue {
    /// `dropped` counts those that find it full.
    pub(super) fn new(max: usize, queued: IntGauge, dropped: IntCounter) -> Self {
        Self { records: Mutex::default(), max, queued, dropped }
    }

    /// Adds one, and returns how many wait now.
    pub(super) fn put(&self, record: Record) -> usize {
        let mut records = self.lock();
        let waiting = records.len();
        if waiting >= self.max {
            drop(records);
            self.dropped.inc();
            return waiting;
        }
        records.push_back(record);
        self.queued.inc();
        waiting + 1
    }

    /// Takes out so many at most.
    pub(super) fn take(&self, max: usize) -> Vec<Record> {
        let mut records = self.lock();
        let taken = records.len().min(max);
        self.queued.sub(taken as i64);
        records.drain(..taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Record>> {
        // Whoever panicked has left it whole: each change is one call.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
