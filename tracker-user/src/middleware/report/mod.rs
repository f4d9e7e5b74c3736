//! The post-hook `report`: tells a service of announces, over HTTP. So a private site keeps account of what
//! its members give and take.
//!
//! * `record`: an announce as it is told;
//! * `queue`: those that wait;
//! * `sender`: brings them to the service, in batches, each of which it repeats until it is taken;
//! * `pool`: keeps a hook over reloads that leave it as it is.

mod pool;
mod queue;
mod record;
mod sender;
#[cfg(test)]
mod tests;

use std::{io, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    clock::wall_ns,
    config::ServiceUrl,
    metrics::Metrics,
    pipeline::{AnnounceRequest, AnnounceResponse, Interest, PostHook},
    worker::Worker,
};
pub use pool::Reports;
use queue::Queue;
use record::Record;
use sender::Sender;

const NAME: &str = "report";

/// What is told, to whom, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// The service's URL, of HTTP or HTTPS.
    pub url: ServiceUrl,
    /// Which of the announces that the kernel answers.
    pub interest: Interest,
    /// Names of the announces' parameters that are told, in lower case.
    pub parameters: Vec<String>,
    /// How long announces may wait for others to go along with them.
    pub interval: Duration,
    /// How long the service may take to answer.
    pub timeout: Duration,
    /// How many announces are told at once.
    pub batch_max: NonZeroUsize,
    /// How many may wait.
    pub queue_max: usize,
}

impl ReportOptions {
    /// A batch is no larger than the queue.
    fn batch_max(&self) -> usize {
        self.batch_max.get().min(self.queue_max)
    }
}

/// The hook. When it is dropped, what waits is still told: nobody waits for that.
pub struct Report {
    queue: Arc<Queue>,
    interest: Interest,
    parameters: Arc<[String]>,
    /// So many do not wait for others.
    batch_max: usize,
    worker: Arc<Worker>,
}

impl Report {
    /// Makes the hook. The service is not asked anything yet.
    ///
    /// # Errors
    /// When there can be no thread, or no randomness.
    pub fn new(options: ReportOptions, metrics: &Metrics) -> io::Result<Self> {
        let (figures, dropped) = (metrics.reports(), metrics.limit_reached("report_queue"));
        let queue = Arc::new(Queue::new(options.queue_max, figures.queued.clone(), dropped));
        let mut sender = Sender::new(&options, Arc::clone(&queue), figures)?;
        let worker = Arc::new(Worker::start("hook-report", move |stopping| sender.run(stopping))?);
        let (interest, batch_max) = (options.interest, options.batch_max());
        Ok(Self { queue, interest, parameters: options.parameters.into(), batch_max, worker })
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
