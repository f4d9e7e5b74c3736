//! A thread that works until it is told to stop.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use crate::privileges;

/// How long a lost server is left alone.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

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

    /// Waits for its end.
    pub(super) fn stop(&self) {
        self.stopping.0.store(true, Ordering::Release);
        self.wake();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if handle.is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("a thread of the storage redis had panicked");
        }
    }
}
