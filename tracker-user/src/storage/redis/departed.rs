//! Peers that leave while Redis is being read: what was read of them before they left must not bring them
//! back.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::change::Key;

/// More of them may come back, until they expire.
const DEPARTED_MAX: usize = 1 << 16;

/// Those of the present look at Redis.
#[derive(Default)]
pub(super) struct Departed {
    is_wanted: AtomicBool,
    peers: Mutex<HashSet<Key>>,
}

impl Departed {
    /// A look at Redis begins.
    pub(super) fn begin(&self) {
        self.lock().clear();
        self.is_wanted.store(true, Ordering::SeqCst);
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.is_wanted.store(false, Ordering::SeqCst);
        *self.lock() = HashSet::new();
    }

    /// A peer has left.
    pub(super) fn note(&self, key: Key) {
        if !self.is_wanted.load(Ordering::SeqCst) {
            return;
        }
        let mut peers = self.lock();
        if peers.len() < DEPARTED_MAX {
            peers.insert(key);
        }
    }

    /// Whether it has left since the look began.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracker_common::id::InfoHash;

    #[test]
    fn who_leaves_is_noted_during_a_look_only() {
        let departed = Departed::default();
        let key = |port| (InfoHash([1; 20]), ([192, 0, 2, 1], port).into());
        departed.note(key(1));
        departed.begin();
        departed.note(key(2));
        assert!(!departed.has(&key(1)) && departed.has(&key(2)));
        departed.end();
        assert!(!departed.has(&key(2)));
    }
}
