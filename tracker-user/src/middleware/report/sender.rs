//! Brings announces to the service.
//!
//! It is sent `{"tracker": "...", "batch": 1, "announces": [...]}` by POST, and answers with a status of 200
//! to 299. A batch that it does not take, or does not seem to have taken, is sent again under its number, and
//! no other before it; but one that it calls malformed is given up.

use std::{
    io, mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{NAME, ReportOptions, queue::Queue, record::Record};
use crate::{
    metrics::ReportMetrics,
    middleware::client::{Client, ClientError},
    worker::Stopping,
};

/// How long a service that takes nothing is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long it goes on trying when the hook is no more.
const LINGER: Duration = Duration::from_secs(60);

/// What a service says of what it will never take: bad request, content too large, unprocessable.
const MALFORMED: [u16; 3] = [400, 413, 422];

#[derive(Serialize)]
struct Batch<'a> {
    tracker: &'a str,
    batch: u64,
    announces: &'a [Record],
}

/// The thread.
pub(super) struct Sender {
    options: ReportOptions,
    client: Client,
    queue: Arc<Queue>,
    metrics: ReportMetrics,
    /// Tells the batches of this hook from those of all others.
    tracker: String,
    /// The number of the last batch.
    number: u64,
    /// The batch that has not been taken yet.
    batch: Vec<Record>,
    /// The last attempt failed, and that was logged.
    is_failing: bool,
}

impl Sender {
    /// # Errors
    /// When there is no randomness.
    pub(super) fn new(
        options: ReportOptions,
        queue: Arc<Queue>,
        metrics: ReportMetrics,
    ) -> io::Result<Self> {
        Ok(Self {
            client: Client::new(options.timeout),
            tracker: format!("{:016x}", getrandom::u64().map_err(io::Error::from)?),
            options,
            queue,
            metrics,
            number: 0,
            batch: Vec::new(),
            is_failing: false,
        })
    }

    pub(super) fn run(&mut self, stopping: &Stopping) {
        let mut stopped_at = None;
        loop {
            if stopping.is_set() {
                stopped_at.get_or_insert_with(Instant::now);
            }
            let is_done = self.send_all();
            match stopped_at {
                None if is_done => stopping.rest(self.options.interval),
                None => stopping.rest(RETRY_PAUSE),
                Some(_) if is_done => return,
                Some(at) if at.elapsed() > LINGER => return self.lose(),
                Some(_) => thread::sleep(RETRY_PAUSE),
            }
        }
    }

    /// Sends all that waits. Returns whether it was taken.
    fn send_all(&mut self) -> bool {
        loop {
            if self.batch.is_empty() {
                self.batch = self.queue.take(self.options.batch_max.get());
                self.number += u64::from(!self.batch.is_empty());
            }
            if self.batch.is_empty() {
                return true;
            }
            if !self.send() {
                return false;
            }
        }
    }

    /// Sends the batch. Returns whether it is done with.
    fn send(&mut self) -> bool {
        let batch = Batch { tracker: &self.tracker, batch: self.number, announces: &self.batch };
        let outcome = self.client.tell(&self.options.url, &batch);
        let announces = self.batch.len() as u64;
        match outcome {
            Ok(()) => {
                self.metrics.delivered.inc_by(announces);
                if mem::take(&mut self.is_failing) {
                    tracing::info!("the hook `{NAME}` is heard by its service again");
                }
            }
            Err(error) => {
                self.metrics.failures.inc();
                let is_refused = error.status().is_some_and(|status| MALFORMED.contains(&status));
                self.complain(error, is_refused);
                if !is_refused {
                    return false;
                }
                self.metrics.refused.inc_by(announces);
            }
        }
        self.batch.clear();
        true
    }

    /// Says so of the first of several failures.
    fn complain(&mut self, error: ClientError, is_refused: bool) {
        if mem::replace(&mut self.is_failing, true) {
            return;
        }
        let (url, error) = (&self.options.url, anyhow::Error::from(error));
        let what = if is_refused { "that batch is given up" } else { "it is told again" };
        tracing::error!("the hook `{NAME}`: {url} takes no announces, {what}: {error:#}");
    }

    fn lose(&mut self) {
        let lost = self.batch.len() + self.queue.take(usize::MAX).len();
        self.metrics.lost.inc_by(lost as u64);
        tracing::error!("the hook `{NAME}` ends: {lost} announces are told to nobody");
    }
}
