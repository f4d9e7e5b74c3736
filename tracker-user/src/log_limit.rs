//! Keeps what goes wrong again and again from filling the log.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Lets through one line in [`LogLimit::PERIOD`].
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// Occurrences since the last line.
    silent: AtomicU64,
    last: Mutex<Option<Instant>>,
}

impl LogLimit {
    const PERIOD: Duration = Duration::from_secs(10);

    /// Counts an occurrence. Where it is to be logged, returns how many there were since the last
    /// one that was, itself included.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.silent.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.try_lock().ok()?;
        if last.is_some_and(|last| last.elapsed() < Self::PERIOD) {
            return None;
        }
        *last = Some(Instant::now());
        Some(self.silent.swap(0, Ordering::Relaxed))
    }
}

/// Something that is tried until it succeeds: the log gets one line for each cause, and one when it is over.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// The cause that was logged.
    cause: Option<String>,
    limit: LogLimit,
}

impl Trouble {
    /// It failed. Returns whether that is to be logged.
    pub(crate) fn goes_on(&mut self, cause: &str) -> bool {
        let is_new = self.cause.as_deref() != Some(cause) && self.limit.admit().is_some();
        if is_new {
            self.cause = Some(cause.to_owned());
        }
        is_new
    }

    /// It succeeded. Returns whether a failure was logged before.
    pub(crate) fn is_over(&mut self) -> bool {
        self.cause.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_logged_and_the_next_ones_are_counted() {
        let limit = LogLimit::default();
        assert_eq!([limit.admit(), limit.admit(), limit.admit()], [Some(1), None, None]);
        *limit.last.lock().unwrap() = None;
        assert_eq!([limit.admit(), limit.admit()], [Some(3), None]);
    }

    #[test]
    fn of_what_goes_on_each_cause_is_logged_once() {
        let mut trouble = Trouble::default();
        assert!(!trouble.is_over());
        assert_eq!(["a", "a", "b"].map(|cause| trouble.goes_on(cause)), [true, false, false]);
        *trouble.limit.last.lock().unwrap() = None;
        assert_eq!(["a", "b", "b"].map(|cause| trouble.goes_on(cause)), [false, true, false]);
        assert!(trouble.is_over() && !trouble.is_over());
    }
}
