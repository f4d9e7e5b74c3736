//! A thread that works until it is told to stop.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crate::privileges;

/// How often it is seen whether it has ended.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// Its handle.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
    stopping: Stopping,
}

/// Whether it is to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Rests, until woken or stopped.
    pub(crate) fn rest(&self, pause: Duration) {
        if !self.is_set() {
            thread::park_timeout(pause);
        }
    }

    /// Rests until stopped, whatever wakes it, but no longer than that.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while let rest = until.saturating_duration_since(Instant::now())
            && rest > Duration::ZERO
            && !self.is_set()
        {
            self.rest(rest);
        }
    }
}

impl Worker {
    /// Starts it. `work` returns when it sees that it is to stop.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(
        name: &str,
        work: impl FnOnce(&Stopping) + Send + 'static,
    ) -> io::Result<Self> {
        let stopping = Stopping::default();
        let handle = privileges::spawn(name, {
            let stopping = stopping.clone();
            move || work(&stopping)
        })?;
        let thread = handle.thread().clone();
        Ok(Self { thread, handle: Mutex::new(Some(handle)), stopping })
    }

    /// Ends a rest, or the next one. Costs next to nothing when that was said already.
    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }

    /// Tells it to stop.
    pub(crate) fn tell(&self) {
        self.stopping.0.store(true, Ordering::Release);
        self.wake();
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(&self) {
        self.tell();
        let Some(handle) = self.handle().take() else { return };
        if handle.join().is_err() {
            let name = self.thread.name().unwrap_or_default();
            tracing::error!("the thread {name} had panicked");
        }
    }

    /// Likewise, until the deadline: it may be waiting for a server that hangs. Returns whether it has ended.
    pub(crate) fn stop_until(&self, deadline: Instant) -> bool {
        self.tell();
        while !self.has_ended() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(STOP_LOOK);
        }
        self.stop();
        true
    }

    /// Whether it has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.handle().as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn handle(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_rests_until_it_is_woken_and_works_until_it_is_told_to_stop() {
        let (worked, works) = mpsc::channel();
        let worker = Worker::start("test", move |stopping| {
            while !stopping.is_set() {
                worked.send(()).unwrap();
                stopping.rest(LONG);
            }
        })
        .unwrap();
        works.recv().unwrap();
        worker.wake();
        works.recv().unwrap();
        worker.stop();
        assert!(works.recv().is_err());
        assert!(worker.stop_until(Instant::now()), "it has ended");
    }

    #[test]
    fn nobody_waits_for_it_beyond_the_deadline() {
        let (hold, held) = mpsc::channel::<()>();
        let worker = Worker::start("test", move |_| _ = held.recv()).unwrap();
        assert!(!worker.stop_until(Instant::now()));
        assert!(!worker.stop_until(Instant::now()), "it still has not");
        drop(hold);
    }
}
