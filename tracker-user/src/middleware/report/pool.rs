//! Hooks that outlive a reload: what waits for a service that is down is not to be lost by one.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Report, ReportOptions};
use crate::metrics::Metrics;

/// The hooks of a tracker.
#[derive(Default)]
pub struct Reports(Mutex<Vec<(ReportOptions, Weak<Report>)>>);

impl Reports {
    /// The hook with these options: the one that there is, or another.
    ///
    /// # Errors
    /// As [`Report::new`].
    pub fn get(&self, options: ReportOptions, metrics: &Metrics) -> io::Result<Arc<Report>> {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.retain(|(_, hook)| hook.strong_count() > 0);
        let known = hooks.iter().find(|(known, _)| *known == options);
        if let Some(hook) = known.and_then(|(_, hook)| hook.upgrade()) {
            return Ok(hook);
        }
        let hook = Arc::new(Report::new(options.clone(), metrics)?);
        hooks.push((options, Arc::downgrade(&hook)));
        Ok(hook)
    }
}
