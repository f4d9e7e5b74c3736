//! Hooks that have been replaced by a reload and are still busy: what waits for a service that is down is not lost.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{NAME, Report, ReportError};
use crate::{config::ReportConfig, metrics::Metrics, worker::Worker};

/// How long the tracker's end waits for services.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The threads of all such hooks of a tracker.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Arc<Worker>>>);

impl Reports {
    /// Makes a hook, whose end [`Reports::stop`] waits for.
    ///
    /// # Errors
    /// As [`Report::new`].
    pub fn start(
        &self,
        config: &ReportConfig,
        metrics: &Metrics,
    ) -> Result<Arc<Report>, ReportError> {
        let hook = Arc::new(Report::new(config, metrics)?);
        let mut workers = self.lock();
        workers.retain(|worker| !worker.has_ended());
        workers.push(Arc::clone(&hook.worker));
        Ok(hook)
    }

    /// The tracker ends: tells what still waits, if the services are there.
    pub fn stop(&self, metrics: &Metrics) {
        let deadline = Instant::now() + STOP_MAX;
        let workers = self.lock();
        workers.iter().for_each(|worker| worker.tell());
        let ended = workers.iter().filter(|worker| worker.stop_until(deadline)).count();
        if ended < workers.len() {
            let lost = metrics.reports().queued.get();
            tracing::error!(
                "the hook `{NAME}`: its service does not take what waits: {lost} announces are told to nobody"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        // A thread that panicked has left it whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
