//! Brings announces to the service.
//!
//! It is sent `{"tracker": "...", "batch": 1, "announces": [...]}` by POST, and answers with a status of 200
//! to 299. A batch that it does not take, or does not seem to have taken, is sent again under its number, and
//! no other before it. One that it calls malformed is halved, until the one announce that it does not like is
//! found, which is given up.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{NAME, queue::Queue, record::Record};
use crate::{
    config::{ReportConfig, ServiceUrl},
    log_limit::{LogLimit, Trouble},
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
    client: Client,
    url: ServiceUrl,
    interval: Duration,
    batch_max: usize,
    queue: Arc<Queue>,
    metrics: ReportMetrics,
    /// Tells the batches of this hook from those of all others.
    tracker: String,
    /// Those that have been taken out of the queue and not been done with.
    taken: Vec<Record>,
    /// How many of these are sent at once: half as many after a batch that was malformed, twice as many after
    /// one that was not.
    size: usize,
    /// The number of the batch that they begin with.
    number: u64,
    /// The last attempt failed.
    outage: Trouble,
    refusals: LogLimit,
}

impl Sender {
    /// # Errors
    /// When there is no randomness.
    pub(super) fn new(
        config: &ReportConfig,
        batch_max: usize,
        queue: Arc<Queue>,
        metrics: ReportMetrics,
    ) -> io::Result<Self> {
        Ok(Self {
            client: Client::new(*config.timeout),
            url: config.url.clone(),
            interval: *config.interval,
            batch_max,
            queue,
            metrics,
            tracker: format!("{:016x}", getrandom::u64().map_err(io::Error::from)?),
            taken: Vec::new(),
            size: batch_max,
            number: 1,
            outage: Trouble::default(),
            refusals: LogLimit::default(),
        })
    }

    pub(super) fn run(&mut self, stopping: &Stopping) {
        let mut stopped_at = None;
        loop {
            if stopping.is_set() {
                stopped_at.get_or_insert_with(Instant::now);
            }
            let give_up_at = stopped_at.map(|at| at + LINGER);
            let is_done = self.send_all(give_up_at);
            match give_up_at {
                None if is_done => stopping.rest(self.interval),
                None => stopping.pause(RETRY_PAUSE),
                Some(_) if is_done => return,
                Some(at) if Instant::now() > at => return self.lose(),
                Some(_) => thread::sleep(RETRY_PAUSE),
            }
        }
    }

    /// Sends all that waits. Returns whether the service has taken it, or never will.
    fn send_all(&mut self, give_up_at: Option<Instant>) -> bool {
        while give_up_at.is_none_or(|at| Instant::now() <= at) {
            if self.taken.is_empty() {
                self.taken = self.queue.take(self.batch_max);
            }
            if self.taken.is_empty() {
                return true;
            }
            if !self.send() {
                return false;
            }
        }
        false
    }

    /// Sends a batch. Returns whether the next may follow.
    fn send(&mut self) -> bool {
        let size = self.size.min(self.taken.len());
        let announces = &self.taken[..size];
        let batch = Batch { tracker: &self.tracker, batch: self.number, announces };
        match self.client.notify(self.url.reveal(), &batch) {
            Ok(()) => {
                self.metrics.delivered.inc_by(size as u64);
                self.done(size);
                self.size = (2 * self.size).min(self.batch_max);
                if self.outage.is_over() {
                    tracing::info!("the hook `{NAME}`: its service takes announces again");
                }
                true
            }
            Err(error) if error.status().is_some_and(|status| MALFORMED.contains(&status)) => {
                if size == 1 {
                    self.give_up(&error);
                    self.done(1);
                } else {
                    self.size = size / 2;
                    // Half of it is another batch.
                    self.number += 1;
                }
                true
            }
            Err(error) => {
                self.complain(error);
                false
            }
        }
    }

    /// So many have been told, or are given up.
    fn done(&mut self, records: usize) {
        self.taken.drain(..records);
        self.queue.done(records);
        self.number += 1;
    }

    fn give_up(&self, error: &ClientError) {
        self.metrics.refused.inc();
        if let Some(times) = self.refusals.admit() {
            tracing::error!(
                "the hook `{NAME}`: its service refuses announces, which are given up ({times} times): {error}"
            );
        }
    }

    /// Logs the first of several failures. The URL may have a secret in it.
    fn complain(&mut self, error: ClientError) {
        self.metrics.failures.inc();
        let error = format!("{:#}", anyhow::Error::from(error));
        if self.outage.goes_on(&error) {
            tracing::error!(
                "the hook `{NAME}`: its service takes no announces, it is tried again: {error}"
            );
        }
    }

    fn lose(&mut self) {
        let lost = self.taken.len() + self.queue.take(usize::MAX).len();
        self.queue.done(lost);
        self.metrics.lost.inc_by(lost as u64);
        tracing::error!("the hook `{NAME}` ends: {lost} announces are told to nobody");
    }
}
