//! Hooks that outlive a reload, and those that have been replaced by one and are still busy: what waits for a
//! service that is down is not to be lost by either.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{NAME, Report, ReportError};
use crate::{config::ReportConfig, metrics::Metrics, worker::Worker};

/// How long the tracker's end waits for services.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The hooks of a tracker.
#[derive(Default)]
pub struct Reports(Mutex<Vec<Known>>);

struct Known {
    config: ReportConfig,
    hook: Weak<Report>,
    worker: Arc<Worker>,
}

impl Reports {
    /// The hook with these options: the one that there is, or another.
    ///
    /// # Errors
    /// As [`Report::new`].
    pub fn get(
        &self,
        config: &ReportConfig,
        metrics: &Metrics,
    ) -> Result<Arc<Report>, ReportError> {
        let mut hooks = self.lock();
        hooks.retain(|known| !known.worker.has_ended());
        let same = hooks.iter().filter(|known| known.config == *config);
        if let Some(hook) = same.filter_map(|known| known.hook.upgrade()).next() {
            return Ok(hook);
        }
        let hook = Arc::new(Report::new(config, metrics)?);
        let worker = Arc::clone(&hook.worker);
        hooks.push(Known { config: config.clone(), hook: Arc::downgrade(&hook), worker });
        Ok(hook)
    }

    /// The tracker ends: tells what still waits, if the services are there.
    pub fn stop(&self, metrics: &Metrics) {
        let deadline = Instant::now() + STOP_MAX;
        let hooks = self.lock();
        hooks.iter().for_each(|known| known.worker.tell());
        let ended = hooks.iter().filter(|known| known.worker.stop_until(deadline)).count();
        if ended < hooks.len() {
            let lost = metrics.reports().queued.get();
            tracing::error!(
                "the hook `{NAME}`: its service does not take what waits: {lost} announces are told to nobody"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        // Whoever panicked has left it whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
