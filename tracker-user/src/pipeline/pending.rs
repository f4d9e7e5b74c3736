//! How a hook that has to ask somebody says so, without keeping a thread waiting.

use tokio::sync::watch;

/// The hook has asked; the request can be judged when [`Pending::ended`] returns.
#[derive(Debug, Clone)]
pub struct Pending(watch::Receiver<()>);

/// Whoever looks for the answer keeps this until it is known, or cannot be had. Dropping it ends the
/// wait of all clones of its [`Pending`].
#[derive(Debug)]
pub struct Asking(#[expect(dead_code, reason = "it is there to be dropped")] watch::Sender<()>);

impl Pending {
    /// A wait that ends with the [`Asking`].
    #[must_use]
    pub fn new() -> (Asking, Self) {
        let (asking, pending) = watch::channel(());
        (Asking(asking), Self(pending))
    }

    /// Returns when it is time to ask the hook again.
    pub async fn ended(mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Whether it is time to ask the hook again.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// Two are equal that end together.
impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for Pending {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wait_of_all_ends_with_the_asking() {
        let (asking, pending) = Pending::new();
        let other = pending.clone();
        assert!(!pending.has_ended());
        drop(asking);
        pending.ended().await;
        assert!(other.has_ended());
    }
}
