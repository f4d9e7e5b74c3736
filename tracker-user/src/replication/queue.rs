//! Changes that wait to be written: of each peer the newest only.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::IntCounter;

use super::change::{Change, Key};

/// Peers whose changes may wait while Redis is away.
pub(super) const QUEUE_MAX: usize = 1 << 18;

/// The queue. Whoever puts something in never waits for whoever takes it out.
pub(super) struct Queue {
    changes: Mutex<HashMap<Key, Change>>,
    dropped: IntCounter,
}

impl Queue {
    /// `dropped` counts the changes that found it full.
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self { changes: Mutex::default(), dropped }
    }

    /// Takes the place of an earlier change of the same peer. A download that was completed stays so.
    pub(super) fn put(&self, key: Key, change: Change) {
        let mut changes = self.lock();
        if let Some(earlier) = changes.get_mut(&key) {
            let completed = earlier.completed || change.completed;
            *earlier = Change { completed, ..change };
        } else if changes.len() < QUEUE_MAX {
            changes.insert(key, change);
        } else {
            drop(changes);
            self.dropped.inc();
        }
    }

    /// Whether something of this peer waits.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// All that has come in since the last time.
    pub(super) fn take(&self) -> Vec<(Key, Change)> {
        let taken = mem::take(&mut *self.lock());
        taken.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Change>> {
        // Whoever panicked has left the map whole: each change is one call.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::change::State;
    use proptest::prelude::*;
    use tracker_common::id::{InfoHash, PeerId};

    fn queue() -> Queue {
        Queue::new(IntCounter::new("dropped", "dropped").unwrap())
    }

    fn key(torrent: u8, port: u16) -> Key {
        (InfoHash([torrent; 20]), ([192, 0, 2, 1], port).into())
    }

    fn change(state: State, completed: bool, at_ns: u64) -> Change {
        Change { peer_id: PeerId([1; 20]), state, completed, at_ns }
    }

    #[test]
    fn a_leave_after_a_join_wins_and_a_completed_download_is_not_forgotten() {
        let queue = queue();
        queue.put(key(1, 1), change(State::Leecher, false, 1));
        queue.put(key(1, 1), change(State::Seeder, true, 2));
        queue.put(key(1, 1), change(State::Gone, false, 3));
        assert_eq!(queue.take(), [(key(1, 1), change(State::Gone, true, 3))]);
        assert_eq!(queue.take(), []);
    }

    #[test]
    fn newcomers_find_it_full_and_those_in_it_are_brought_up_to_date() {
        let queue = queue();
        for number in 0..QUEUE_MAX + 3 {
            let info_hash = InfoHash(std::array::from_fn(|at| (number >> (8 * (at % 8))) as u8));
            queue.put((info_hash, key(0, 1).1), change(State::Leecher, false, 1));
        }
        assert_eq!(queue.dropped.get(), 3);
        queue.put((InfoHash([0; 20]), key(0, 1).1), change(State::Seeder, false, 2));
        let taken = queue.take();
        assert_eq!(taken.len(), QUEUE_MAX);
        assert!(taken.iter().any(|(_, change)| change.state == State::Seeder));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_the_last_of_each_peer(
            puts in prop::collection::vec((0..3_u8, 1..4_u16, 0..3_u8, any::<bool>()), 0..40),
        ) {
            let queue = queue();
            let mut expected = HashMap::new();
            for (at, &(torrent, port, state, completed)) in puts.iter().enumerate() {
                let state = [State::Leecher, State::Seeder, State::Gone][usize::from(state)];
                let key = key(torrent, port);
                queue.put(key, change(state, completed, at as u64));
                let before = expected.get(&key).is_some_and(|change: &Change| change.completed);
                expected.insert(key, change(state, completed || before, at as u64));
            }
            prop_assert_eq!(queue.take().into_iter().collect::<HashMap<_, _>>(), expected);
        }
    }
}
