//! A thread that works until it is told to stop.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crate::privileges;

/// How long a lost server is left alone.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How often it is seen whether it has ended.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// Its handle.
pub(super) struct Worker {
    thread: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
    stopping: Stopping,
}

/// Whether it is to stop.
#[derive(Clone, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Rests, until woken or stopped.
    pub(super) fn rest(&self, pause: Duration) {
        if !self.is_set() {
            thread::park_timeout(pause);
        }
    }
}

impl Worker {
    pub(super) fn start(
        name: &str,
        work: impl FnOnce(Stopping) + Send + 'static,
    ) -> io::Result<Self> {
        let stopping = Stopping::default();
        let handle = privileges::spawn(name, {
            let stopping = stopping.clone();
            move || work(stopping)
        })?;
        let thread = handle.thread().clone();
        Ok(Self { thread, handle: Mutex::new(Some(handle)), stopping })
    }

    /// Ends a rest.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }

    /// Tells it to stop.
    pub(super) fn tell(&self) {
        self.stopping.0.store(true, Ordering::Release);
        self.wake();
    }

    /// Waits for its end, until the deadline: it may be waiting for a server that hangs. Returns whether it
    /// has ended.
    pub(super) fn stop(&self, deadline: Instant) -> bool {
        self.tell();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(handle) = handle else { return true };
        while !handle.is_finished() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(STOP_LOOK);
        }
        if handle.join().is_err() {
            tracing::error!("a thread of the storage redis had panicked");
        }
        true
    }
}
