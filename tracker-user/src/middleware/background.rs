//! What a hook does beside judging requests.

use std::{io, time::Duration};

use crate::worker::Worker;

/// A thread that takes one step after another and ends when this is dropped: at once if it pauses,
/// else after its step. Nobody waits for that, as whoever drops the last of a pipeline may be busy
/// serving.
#[derive(Debug)]
pub(super) struct Background(Worker);

impl Background {
    /// Starts the thread. `step` returns how long to pause before the next one.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(
        name: &str,
        pause: Duration,
        mut step: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let worker = Worker::start(name, move |stopping| {
            stopping.pause(pause);
            while !stopping.is_set() {
                stopping.pause(step());
            }
        })?;
        Ok(Self(worker))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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
