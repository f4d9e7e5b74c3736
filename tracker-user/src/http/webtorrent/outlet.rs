//! The way to a client for what others send it: bounded, and never waited for.
//!
//! A client that reads slowly loses messages, and not its connection: offers first, since their senders make new
//! ones, and then answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// The most offers and answers that wait for one client. Offers die within a minute, and peers make new ones.
const WAITING_MAX: usize = 32;

/// The most bytes of them, so that no client that does not read takes the room of many.
const WAITING_BYTES_EACH_MAX: usize = 128 << 10;

/// The most bytes of offers and answers that wait for clients, all in all.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A message of up to so many bytes needs no room where nothing else waits for its client. So clients that do not
/// read, however many, keep no message from one that does.
const WAITING_BYTES_FREE: usize = 8 << 10;

/// The room that what waits for all clients shares.
#[derive(Clone)]
pub(super) struct Room(Arc<Share>);

/// Where others leave messages for a client.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Way>);

/// Where the client's session finds them. When it is dropped, no more are taken.
pub(super) struct Inlet(Arc<Way>);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

/// What has become of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It waits for the client, and so many offers were dropped for it.
    Waits { dropped: usize },
    /// It was dropped: there is no room.
    Full,
    /// The client has gone.
    Gone,
}

/// A message, and the room that it takes until it is dropped.
pub(super) struct Waiting {
    pub(super) text: String,
    kind: Kind,
    _room: [Taken; 2],
}

/// What the two ends share.
struct Way {
    queue: Mutex<Queue>,
    has_more: Notify,
    is_asked: Notify,
    /// The client's own room, and that of all.
    own: Arc<Share>,
    shared: Arc<Share>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    has_ended: bool,
}

/// A number of bytes of which parts are taken and given back.
struct Share {
    taken: AtomicUsize,
    max: usize,
}

/// A part of a share, which is given back when it is dropped.
struct Taken {
    share: Arc<Share>,
    bytes: usize,
}

impl Share {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        let add = |taken: usize| taken.checked_add(bytes).filter(|&taken| taken <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Taken { share: Arc::clone(self), bytes })
    }

    fn is_untouched(&self) -> bool {
        self.taken.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.share.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Share::new(WAITING_BYTES_MAX))
    }
}

impl Room {
    /// The two ends of the way to a new client.
    pub(super) fn open(&self) -> (Outlet, Inlet) {
        let way = Arc::new(Way {
            queue: Mutex::default(),
            has_more: Notify::new(),
            is_asked: Notify::new(),
            own: Share::new(WAITING_BYTES_EACH_MAX),
            shared: Arc::clone(&self.0),
        });
        (Outlet(Arc::clone(&way)), Inlet(way))
    }
}

impl Way {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a message, if there is any.
    fn try_take(&self, bytes: usize) -> Option<[Taken; 2]> {
        let is_free = bytes <= WAITING_BYTES_FREE && self.own.is_untouched();
        let own = self.own.try_take(bytes)?;
        let shared = self.shared.try_take(if is_free { 0 } else { bytes })?;
        Some([own, shared])
    }
}

impl Queue {
    /// Drops the offer that has waited longest; `false` where there is none.
    fn drop_an_offer(&mut self) -> bool {
        let index = self.waiting.iter().position(|waiting| waiting.kind == Kind::Offer);
        index.and_then(|index| self.waiting.remove(index)).is_some()
    }
}

impl Outlet {
    /// Leaves a message. An offer is not even written where there is no place for it; for an answer offers make way.
    pub(super) fn leave(&self, kind: Kind, write: impl FnOnce() -> String) -> Left {
        let way = &*self.0;
        let mut queue = way.queue();
        if queue.has_ended {
            return Left::Gone;
        }
        let mut dropped = 0;
        let mut make_way = |queue: &mut Queue| {
            let has_dropped = kind == Kind::Answer && queue.drop_an_offer();
            dropped += usize::from(has_dropped);
            has_dropped
        };
        if queue.waiting.len() >= WAITING_MAX && !make_way(&mut queue) {
            return Left::Full;
        }
        let text = write();
        let room = loop {
            match way.try_take(text.len()) {
                Some(room) => break room,
                None if make_way(&mut queue) => {}
                None => return Left::Full,
            }
        };
        queue.waiting.push_back(Waiting { text, kind, _room: room });
        drop(queue);
        way.has_more.notify_one();
        Left::Waits { dropped }
    }

    /// Has the session ask its client for a sign of life.
    pub(super) fn ask_for_sign(&self) {
        self.0.is_asked.notify_one();
    }

    /// Whether both lead to the same client.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Inlet {
    /// The next message, in the order in which they were left.
    pub(super) async fn next(&self) -> Waiting {
        loop {
            if let Some(waiting) = self.0.queue().waiting.pop_front() {
                return waiting;
            }
            self.0.has_more.notified().await;
        }
    }

    /// Ends when the client is to be asked for a sign of life.
    pub(super) async fn asked(&self) {
        self.0.is_asked.notified().await;
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.has_ended = true;
        queue.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Left = Left::Waits { dropped: 0 };

    fn bytes(count: usize) -> impl FnOnce() -> String {
        move || "x".repeat(count)
    }

    #[tokio::test]
    async fn messages_come_in_order_and_one_too_many_is_not_taken() {
        let (outlet, inlet) = Room::default().open();
        for number in 0..WAITING_MAX {
            assert_eq!(outlet.leave(Kind::Offer, || number.to_string()), WAITS);
        }
        assert_eq!(outlet.leave(Kind::Offer, || panic!("one too many")), Left::Full);
        for number in 0..WAITING_MAX {
            assert_eq!(inlet.next().await.text, number.to_string());
        }
        assert_eq!(outlet.leave(Kind::Offer, || "room again".to_owned()), WAITS);
    }

    #[tokio::test]
    async fn offers_make_way_for_an_answer_and_answers_for_nothing() {
        let (outlet, inlet) = Room::default().open();
        for _ in 1..WAITING_MAX {
            assert_eq!(outlet.leave(Kind::Answer, || "answer".to_owned()), WAITS);
        }
        assert_eq!(outlet.leave(Kind::Offer, || "offer".to_owned()), WAITS);
        let late = || "late".to_owned();
        assert_eq!(outlet.leave(Kind::Answer, late), Left::Waits { dropped: 1 });
        assert_eq!(outlet.leave(Kind::Answer, late), Left::Full);
        for _ in 1..WAITING_MAX {
            assert_eq!(inlet.next().await.text, "answer");
        }
        assert_eq!(inlet.next().await.text, "late");
        // The same where bytes are scarce, and not places.
        let third = WAITING_BYTES_EACH_MAX / 3;
        for _ in 0..3 {
            assert_eq!(outlet.leave(Kind::Offer, bytes(third)), WAITS);
        }
        assert_eq!(outlet.leave(Kind::Offer, bytes(third)), Left::Full);
        assert_eq!(outlet.leave(Kind::Answer, bytes(2 * third)), Left::Waits { dropped: 2 });
    }

    #[tokio::test]
    async fn no_client_takes_more_than_a_share_of_the_room() {
        let room = Room::default();
        let ((slow, inlet), (other, _inlet)) = (room.open(), room.open());
        let half = || bytes(WAITING_BYTES_EACH_MAX / 2);
        assert_eq!(slow.leave(Kind::Offer, half()), WAITS);
        assert_eq!(slow.leave(Kind::Offer, half()), WAITS);
        assert_eq!(slow.leave(Kind::Offer, bytes(1)), Left::Full);
        assert_eq!(other.leave(Kind::Offer, half()), WAITS);
        let taken = inlet.next().await;
        assert_eq!(taken.text.len(), WAITING_BYTES_EACH_MAX / 2);
        assert_eq!(slow.leave(Kind::Offer, bytes(1)), Left::Full, "it has not left yet");
        drop(taken);
        assert_eq!(slow.leave(Kind::Offer, half()), WAITS);
    }

    #[tokio::test]
    async fn clients_share_the_room_until_their_messages_are_fetched() {
        const LONG: usize = WAITING_BYTES_FREE + 1;
        let room = Room(Share::new(2 * LONG - 1));
        let ((one, inlet), (other, _inlet)) = (room.open(), room.open());
        assert_eq!(one.leave(Kind::Offer, bytes(LONG)), WAITS);
        assert_eq!(other.leave(Kind::Offer, bytes(LONG)), Left::Full);
        drop(inlet.next().await);
        assert_eq!(other.leave(Kind::Offer, bytes(LONG)), WAITS);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_messages_though_others_have_taken_all_the_room() {
        let room = Room(Share::new(WAITING_BYTES_EACH_MAX));
        let ((slow, _inlet), (other, inlet)) = (room.open(), room.open());
        assert_eq!(slow.leave(Kind::Offer, bytes(WAITING_BYTES_EACH_MAX)), WAITS);
        for _ in 0..3 {
            assert_eq!(other.leave(Kind::Offer, bytes(WAITING_BYTES_FREE)), WAITS);
            assert_eq!(other.leave(Kind::Offer, bytes(1)), Left::Full, "only where none waits");
            drop(inlet.next().await);
        }
    }

    #[test]
    fn nothing_waits_for_a_client_that_has_gone() {
        let room = Room::default();
        let (outlet, inlet) = room.open();
        assert_eq!(outlet.leave(Kind::Answer, bytes(WAITING_BYTES_EACH_MAX)), WAITS);
        drop(inlet);
        assert!(room.0.is_untouched());
        assert_eq!(outlet.leave(Kind::Answer, || panic!("to nobody")), Left::Gone);
    }
}
