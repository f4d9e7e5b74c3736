//! Values that a hook replaces while requests are judged by them.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, Guard};

/// A list, or the like, that the hook and the data plane share. Each request is judged by one whole
/// value: the old one or the new one.
#[derive(Debug)]
pub struct Live<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    in_force: ArcSwap<T>,
    /// How many values have come into force after the first.
    revision: AtomicU64,
    next: Mutex<Next<T>>,
}

/// What is to come into force when the followers have prepared for it.
#[derive(Debug)]
struct Next<T> {
    waiting: Option<Arc<T>>,
    prepared: Option<Arc<T>>,
    followers: usize,
}

impl<T> Live<T> {
    /// A first value.
    #[must_use]
    pub fn new(value: T) -> Self {
        let next = Next { waiting: None, prepared: None, followers: 0 };
        let in_force = ArcSwap::from_pointee(value);
        let revision = AtomicU64::new(0);
        Self(Arc::new(Shared { in_force, revision, next: Mutex::new(next) }))
    }

    /// Another number whenever another value has come into force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }

    /// The value of this moment. To be held for one request, not longer.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.in_force.load()
    }

    /// Puts another value in the place of the present one, of this and of all clones: at once, or when
    /// the [`Follower`] says so.
    pub fn replace(&self, value: T) {
        let mut next = self.next();
        next.waiting = Some(Arc::new(value));
        if next.followers == 0 {
            self.catch_up(&mut next);
        }
    }

    /// For the data plane, which keeps a copy elsewhere, so that both change at one moment. There is one follower at
    /// a time, but for a reload that keeps the hook: then there are two, which one thread asks one after the other.
    #[must_use]
    pub fn follow(&self) -> Follower<T> {
        self.next().followers += 1;
        Follower { live: self.clone() }
    }

    /// What a follower has prepared for, else the value of this moment.
    #[must_use]
    pub fn coming(&self) -> Arc<T> {
        self.next().prepared.clone().unwrap_or_else(|| self.0.in_force.load_full())
    }

    /// What was given last, whether it is in force yet or not.
    #[must_use]
    pub fn latest(&self) -> Arc<T> {
        let next = self.next();
        let coming = next.waiting.as_ref().or(next.prepared.as_ref());
        coming.map_or_else(|| self.0.in_force.load_full(), Arc::clone)
    }

    fn next(&self) -> MutexGuard<'_, Next<T>> {
        self.0.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest value comes into force.
    fn catch_up(&self, next: &mut Next<T>) {
        let prepared = next.prepared.take();
        if let Some(value) = next.waiting.take().or(prepared) {
            self.0.enforce(value);
        }
    }
}

impl<T> Shared<T> {
    fn enforce(&self, value: Arc<T>) {
        self.in_force.store(value);
        self.revision.fetch_add(1, Ordering::Release);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Says when the next value of a [`Live`] comes into force. When it goes, that is at once.
#[derive(Debug)]
pub struct Follower<T> {
    live: Live<T>,
}

impl<T> Follower<T> {
    /// Whether there is another value to prepare for. Those that came and went since the last call are
    /// skipped.
    pub fn prepare(&mut self) -> bool {
        let mut next = self.live.next();
        if let Some(value) = next.waiting.take() {
            next.prepared = Some(value);
        }
        next.prepared.is_some()
    }

    /// What was prepared for comes into force.
    pub fn commit(&mut self) {
        if let Some(value) = self.live.next().prepared.take() {
            self.live.0.enforce(value);
        }
    }
}

impl<T> Drop for Follower<T> {
    fn drop(&mut self) {
        let mut next = self.live.next();
        next.followers -= 1;
        if next.followers == 0 {
            self.live.catch_up(&mut next);
        }
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
    fn a_follower_says_when_a_value_comes_into_force() {
        let live = Live::new(1);
        let mut follower = live.follow();
        assert!(!follower.prepare());
        live.replace(2);
        live.replace(3);
        assert!(follower.prepare());
        assert_eq!((**live.load(), *live.coming()), (1, 3));
        follower.commit();
        assert_eq!((**live.load(), *live.coming()), (3, 3));
        assert!(!follower.prepare());
    }

    #[test]
    fn the_revision_changes_when_a_value_comes_into_force() {
        let live = Live::new(1);
        let first = live.revision();
        live.replace(2);
        let second = live.revision();
        assert_ne!(second, first);
        let mut follower = live.follow();
        live.replace(3);
        follower.prepare();
        assert_eq!(live.revision(), second);
        follower.commit();
        assert_ne!(live.revision(), second);
    }

    #[test]
    fn what_comes_while_a_follower_prepares_is_for_the_next_time() {
        let live = Live::new(1);
        let mut follower = live.follow();
        live.replace(2);
        follower.prepare();
        live.replace(3);
        follower.commit();
        assert_eq!(**live.load(), 2);
        assert!(follower.prepare());
        follower.commit();
        assert_eq!(**live.load(), 3);
    }

    #[test]
    fn the_latest_is_what_was_given_last() {
        let live = Live::new(1);
        assert_eq!(*live.latest(), 1);
        let mut follower = live.follow();
        live.replace(2);
        assert_eq!(*live.latest(), 2);
        follower.prepare();
        assert_eq!(*live.latest(), 2);
        live.replace(3);
        assert_eq!(*live.latest(), 3);
        follower.commit();
        assert_eq!((**live.load(), *live.latest()), (2, 3));
    }

    #[test]
    fn an_equal_value_is_another_too() {
        let live = Live::new(1);
        let mut follower = live.follow();
        live.replace(1);
        assert!(follower.prepare());
    }

    #[test]
    fn two_followers_change_over_while_a_value_waits() {
        let live = Live::new(1);
        let mut before = live.follow();
        live.replace(2);
        assert!(before.prepare());
        // A reload that keeps the hook: the pipeline that comes follows the same value.
        let mut after = live.follow();
        assert!(after.prepare(), "what one has prepared for, the other puts into force");
        after.commit();
        assert_eq!(**live.load(), 2);
        before.commit();
        live.replace(3);
        drop(before);
        assert_eq!(**live.load(), 2, "the other one still says when");
        assert!(after.prepare());
        after.commit();
        assert_eq!(**live.load(), 3);
    }

    #[test]
    fn nothing_waits_for_a_follower_that_has_gone() {
        let live = Live::new(1);
        let (mut follower, other) = (live.follow(), live.follow());
        live.replace(2);
        follower.prepare();
        drop(follower);
        assert_eq!(**live.load(), 1);
        drop(other);
        assert_eq!(**live.load(), 2);
        live.replace(3);
        assert_eq!(**live.load(), 3);
    }
}
