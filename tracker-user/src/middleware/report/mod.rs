//! The post-hook `report`: tells a service of announces, over HTTP. So a private site keeps account of what
//! its members give and take.
//!
//! * `record`: an announce as it is told;
//! * `queue`: those that wait;
//! * `sender`: brings them to the service, in batches, each of which it repeats until it is taken;
//! * `pool`: the threads of all hooks, for the tracker's end to wait for.

mod pool;
mod queue;
mod record;
mod sender;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, io, sync::Arc};

use crate::{
    clock::wall_ns,
    config::{ReportConfig, ReportedAnnounces},
    metrics::Metrics,
    pipeline::{AnnounceRequest, AnnounceResponse, Interest, PostHook},
    worker::Worker,
};
pub use pool::Reports;
use queue::Queue;
use record::Record;
use sender::Sender;

const NAME: &str = "report";

/// Why the hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Nothing could be sent.
    #[error("`batch_max` is 0")]
    NoBatch,
    /// There can be no thread, or no randomness.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The hook. When it is dropped, what waits is still told: nobody waits for that.
pub struct Report {
    queue: Arc<Queue>,
    interest: Interest,
    /// Names of the announces' parameters that are told, in lower case.
    parameters: Arc<[String]>,
    /// So many do not wait for others.
    batch_max: usize,
    worker: Arc<Worker>,
}

impl Report {
    /// Makes the hook. The service is not asked anything yet.
    ///
    /// # Errors
    /// When an option is out of its range, or there can be no thread or no randomness.
    pub fn new(config: &ReportConfig, metrics: &Metrics) -> Result<Self, ReportError> {
        // A batch is no larger than the queue.
        let batch_max = config.batch_max.min(config.queue_max) as usize;
        if config.batch_max == 0 {
            return Err(ReportError::NoBatch);
        }
        let (figures, dropped) = (metrics.reports(), metrics.limit_reached("report_queue"));
        let queue =
            Arc::new(Queue::new(config.queue_max as usize, figures.queued.clone(), dropped));
        let mut sender = Sender::new(config, batch_max, Arc::clone(&queue), figures)?;
        let worker = Arc::new(Worker::start("hook-report", move |stopping| sender.run(stopping))?);
        let names = config.parameters.iter().map(|name| name.to_ascii_lowercase());
        let names: BTreeSet<_> = names.collect();
        let interest = match config.announces {
            ReportedAnnounces::Every => Interest::Every,
            ReportedAnnounces::Transitions => Interest::Transitions,
        };
        Ok(Self { queue, interest, parameters: names.into_iter().collect(), batch_max, worker })
    }
}

impl PostHook for Report {
    fn name(&self) -> &'static str {
        NAME
    }

    fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
        let waiting = self.queue.put(Record::new(request, &self.parameters, wall_ns()));
        if waiting == Some(self.batch_max) {
            self.worker.wake();
        }
    }

    fn interest(&self) -> Interest {
        self.interest
    }

    fn needs_params(&self) -> bool {
        !self.parameters.is_empty()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.worker.tell();
    }
}
