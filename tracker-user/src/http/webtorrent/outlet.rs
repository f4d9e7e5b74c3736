//! The way to a client for what others send it: bounded, and never waited for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The most offers and answers that wait for one client. Offers die within a minute, and peers make new ones.
pub(super) const WAITING_MAX: usize = 32;

/// The most bytes of them, so that nobody who does not read takes the room of many.
const WAITING_BYTES_EACH_MAX: usize = 128 << 10;

/// The most bytes of offers and answers that wait for clients, all in all.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// The room that what waits for all clients shares.
pub(super) struct Room(Arc<Semaphore>);

/// Where others leave messages for a client.
#[derive(Clone)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Waiting>,
    /// The client's own, and that which all share.
    rooms: [Arc<Semaphore>; 2],
}

/// Where the client's session finds them.
pub(super) struct Inlet(mpsc::Receiver<Waiting>);

/// A message, and the room that it takes until it is dropped.
struct Waiting {
    text: String,
    _room: [OwnedSemaphorePermit; 2],
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WAITING_BYTES_MAX)))
    }
}

impl Room {
    /// The two ends of the way to a new client.
    pub(super) fn open(&self) -> (Outlet, Inlet) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let own = Arc::new(Semaphore::new(WAITING_BYTES_EACH_MAX));
        (Outlet { sender, rooms: [own, Arc::clone(&self.0)] }, Inlet(receiver))
    }
}

impl Outlet {
    /// Leaves a message, which is not even written where there is no room for it; `false` then.
    pub(super) fn leave(&self, write: impl FnOnce() -> String) -> bool {
        let Ok(place) = self.sender.try_reserve() else { return false };
        let text = write();
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let [own, shared] = self.rooms.clone().map(|room| room.try_acquire_many_owned(bytes));
        let (Ok(own), Ok(shared)) = (own, shared) else { return false };
        place.send(Waiting { text, _room: [own, shared] });
        true
    }

    /// Whether both lead to the same client.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }
}

impl Inlet {
    /// The next message, if there is one already.
    pub(super) fn waiting(&mut self) -> Option<String> {
        self.0.try_recv().ok().map(|waiting| waiting.text)
    }

    /// The next message, in the order in which they were left. Waits for ever where nobody can leave any.
    pub(super) async fn next(&mut self) -> String {
        match self.0.recv().await {
            Some(Waiting { text, .. }) => text,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_one_too_many_is_not_taken() {
        let (outlet, mut inlet) = Room::default().open();
        for number in 0..WAITING_MAX {
            assert!(outlet.leave(|| number.to_string()));
        }
        assert!(!outlet.leave(|| panic!("one too many")));
        for number in 0..WAITING_MAX {
            assert_eq!(inlet.next().await, number.to_string());
        }
        assert!(outlet.leave(|| "room again".to_owned()));
    }

    #[tokio::test]
    async fn nobody_takes_more_than_a_share_of_the_room() {
        let room = Room::default();
        let ((slow, mut inlet), (other, _inlet)) = (room.open(), room.open());
        let half = || "x".repeat(WAITING_BYTES_EACH_MAX / 2);
        assert!(slow.leave(half) && slow.leave(half) && !slow.leave(|| "x".to_owned()));
        assert!(other.leave(half));
        assert_eq!(inlet.next().await.len(), WAITING_BYTES_EACH_MAX / 2);
        assert!(slow.leave(half));
    }

    #[tokio::test]
    async fn clients_share_the_room_until_their_messages_are_fetched() {
        let room = Room(Arc::new(Semaphore::new(10)));
        let ([one, _], mut inlet) = {
            let (outlet, inlet) = room.open();
            ([outlet.clone(), outlet], inlet)
        };
        let (other, _other) = room.open();
        assert!(one.leave(|| "123456".to_owned()));
        assert!(!other.leave(|| "12345".to_owned()));
        assert_eq!(inlet.next().await, "123456");
        assert!(other.leave(|| "12345".to_owned()));
    }
}
