//! Values that a hook replaces while requests are judged by them.

use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};

/// A list, or the like, that the hook and the data plane share. Each request is judged by one whole
/// value: the old one or the new one.
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// A first value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value of this moment. To be held for one request, not longer.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// Puts another value in the place of the present one, of this and of all clones.
    pub fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }

    /// For those who keep a copy elsewhere: tells them when it is out of date.
    #[must_use]
    pub fn follow(&self) -> Follower<T> {
        Follower { live: self.clone(), seen: Weak::new() }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Looks for changes of a [`Live`] value whenever it is asked.
#[derive(Debug)]
pub struct Follower<T> {
    live: Live<T>,
    /// Keeps the value's address from being used again, but not the value.
    seen: Weak<T>,
}

impl<T> Follower<T> {
    /// The value, if it is another than at the last call; there always is one at the first. Values
    /// that came and went in between are skipped.
    pub fn changed(&mut self) -> Option<Arc<T>> {
        let value = self.live.0.load_full();
        if Weak::as_ptr(&self.seen) == Arc::as_ptr(&value) {
            return None;
        }
        self.seen = Arc::downgrade(&value);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_sees_the_replacement() {
        let live = Live::new(1);
        let clone = live.clone();
        live.replace(2);
        assert_eq!(**clone.load(), 2);
    }

    #[test]
    fn a_follower_is_told_of_each_value_once_and_of_the_latest_only() {
        let live = Live::new(1);
        let mut follower = live.follow();
        assert_eq!(follower.changed().as_deref(), Some(&1));
        assert_eq!(follower.changed(), None);
        live.replace(2);
        live.replace(3);
        assert_eq!(follower.changed().as_deref(), Some(&3));
        assert_eq!(follower.changed(), None);
    }

    #[test]
    fn an_equal_value_is_a_change_too() {
        let live = Live::new(1);
        let mut follower = live.follow();
        follower.changed();
        live.replace(1);
        assert_eq!(follower.changed().as_deref(), Some(&1));
    }

    #[test]
    fn followers_do_not_keep_old_values() {
        let value = Arc::new(());
        let live = Live::new(Arc::clone(&value));
        let mut follower = live.follow();
        follower.changed();
        live.replace(Arc::default());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
