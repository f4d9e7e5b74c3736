//! What a hook does beside judging requests.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use crate::privileges;

/// A thread that takes one step after another and ends when this is dropped: at once if it pauses,
/// else after its step. Nobody waits for that, as whoever drops the last of a pipeline may be busy
/// serving.
#[derive(Debug)]
pub(super) struct Background {
    /// Dropped to stop the thread.
    _stop: mpsc::Sender<()>,
}

impl Background {
    /// Starts the thread. `step` returns how long to pause before the next one.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(
        name: &str,
        mut pause: Duration,
        mut step: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        privileges::spawn(name, move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = step();
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_steps_until_it_is_dropped() {
        let (stepped, steps) = mpsc::channel();
        let step = move || {
            let _ = stepped.send(());
            Duration::from_millis(1)
        };
        let background = Background::start("test", Duration::ZERO, step).unwrap();
        for _ in 0..3 {
            steps.recv().unwrap();
        }
        drop(background);
        // Ends when the thread has dropped its end.
        while steps.recv().is_ok() {}
    }
}
