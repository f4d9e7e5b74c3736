//! How what serves in a runtime learns that it shall end.

use tokio::sync::watch;

/// Ends when its [`Stop`] is dropped.
#[derive(Debug, Clone)]
pub struct Stopped(watch::Receiver<()>);

/// Dropped to stop all that have been given its [`Stopped`].
#[derive(Debug)]
pub struct Stop(#[expect(dead_code, reason = "it is there to be dropped")] watch::Sender<()>);

impl Stopped {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Stop, Self) {
        let (stop, stopped) = watch::channel(());
        (Stop(stop), Self(stopped))
    }

    /// Returns when it is time to stop.
    pub async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
