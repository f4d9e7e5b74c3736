//! Peers that leave while Redis is being read: what was read of them before they left must not bring them
//! back.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::IntCounter;

use super::change::Key;
use crate::clock::wall_ns;

/// More of them may come back, until they expire.
const DEPARTED_MAX: usize = 1 << 16;

/// What the kernel has answered comes later than what a look found, and after a start much later: nanoseconds.
const LATE_MAX_NS: u64 = 5_000_000_000;

/// Those of the present look at Redis: gone from there, and about to go from the table.
pub(super) struct Departed {
    /// When the last look ended, in nanoseconds since 1970.
    ended_at_ns: AtomicU64,
    /// None between looks.
    peers: Mutex<Option<HashSet<Key>>>,
    forgotten: IntCounter,
}

impl Departed {
    /// `forgotten` counts those that found no room.
    pub(super) fn new(forgotten: IntCounter) -> Self {
        Self { ended_at_ns: AtomicU64::new(0), peers: Mutex::default(), forgotten }
    }

    /// A look at Redis begins.
    pub(super) fn begin(&self) {
        *self.lock() = Some(HashSet::new());
    }

    /// It has ended.
    pub(super) fn end(&self) {
        self.ended_at_ns.store(wall_ns(), Ordering::SeqCst);
        *self.lock() = None;
    }

    /// A peer has left, and Redis has it no more. After this it is to be removed from the table.
    pub(super) fn note(&self, key: Key) {
        let mut peers = self.lock();
        let Some(peers) = &mut *peers else { return };
        if peers.len() < DEPARTED_MAX {
            peers.insert(key);
        } else {
            self.forgotten.inc();
        }
    }

    /// Whether a look can have brought back a peer that left at this time, in nanoseconds since 1970.
    pub(super) fn may_be_back(&self, left_at_ns: u64) -> bool {
        // In this order: a look that ends in between has set its end before.
        self.lock().is_some() || self.ended_at_ns.load(Ordering::SeqCst) + LATE_MAX_NS >= left_at_ns
    }

    /// Merges a peer unless it has left since the look began. One that leaves meanwhile is noted after that,
    /// and so removed after that.
    pub(super) fn unless_gone(&self, key: &Key, merge: impl FnOnce()) {
        let peers = self.lock();
        if peers.as_ref().is_none_or(|peers| !peers.contains(key)) {
            merge();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashSet<Key>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracker_common::id::InfoHash;

    fn key(number: u32) -> Key {
        (InfoHash([1; 20]), (number.to_be_bytes(), 1).into())
    }

    fn departed() -> Departed {
        Departed::new(IntCounter::new("forgotten", "forgotten").unwrap())
    }

    fn has(departed: &Departed, key: &Key) -> bool {
        let mut has = true;
        departed.unless_gone(key, || has = false);
        has
    }

    #[test]
    fn who_leaves_is_noted_during_a_look_only() {
        let departed = departed();
        departed.note(key(1));
        departed.begin();
        departed.note(key(2));
        assert!(!has(&departed, &key(1)) && has(&departed, &key(2)));
        departed.end();
        assert!(!has(&departed, &key(2)));
    }

    #[test]
    fn only_a_look_brings_back_who_left_before_it_ended() {
        let departed = departed();
        let left_at_ns = wall_ns();
        assert!(!departed.may_be_back(left_at_ns));
        departed.begin();
        assert!(departed.may_be_back(left_at_ns));
        departed.end();
        assert!(departed.may_be_back(left_at_ns));
        assert!(!departed.may_be_back(left_at_ns + 2 * LATE_MAX_NS));
    }

    #[test]
    fn those_without_room_are_counted() {
        let departed = departed();
        departed.begin();
        (0..DEPARTED_MAX as u32 + 3).for_each(|number| departed.note(key(number)));
        assert_eq!(departed.forgotten.get(), 3);
    }
}
