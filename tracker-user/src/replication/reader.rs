//! Hears what other trackers have heard.

use std::{
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use redis::{Connection, Msg};
use tracker_common::{announce::Event, id::PeerId, peers::PeerBuf};

use super::{
    change::State,
    error::LinkError,
    health::Part,
    link,
    message::{self, Heard},
    shared::{RETRY_PAUSE, Shared},
};
use crate::{
    pipeline::{AnnounceRequest, Params},
    storage::Storage as _,
    worker::{Stopping, Worker},
};

/// How often it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(250);

/// When a server that says nothing is asked whether it is there.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// The thread.
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// Told once, what came of the first attempt to subscribe.
    begun: Option<mpsc::Sender<Result<(), LinkError>>>,
}

impl Reader {
    /// Starts it, and waits until it listens. Where it cannot, it ends.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Result<Worker, LinkError>> {
        let (begun, has_begun) = mpsc::channel();
        let mut reader = Self { shared: Arc::clone(shared), begun: Some(begun) };
        let worker = Worker::start("redis-reader", move |stopping| reader.run(stopping))?;
        let begun = has_begun.recv().map_err(io::Error::other)?;
        Ok(begun.map(|()| worker))
    }

    fn run(&mut self, stopping: &Stopping) {
        while !stopping.is_set() {
            let listened = self
                .shared
                .settings
                .connect()
                .and_then(|mut link| self.listen(&mut link, stopping));
            if let Err(error) = listened {
                if let Some(begun) = self.begun.take() {
                    // Who starts it waits for this.
                    let _ = begun.send(Err(error));
                    return;
                }
                self.shared.health.lost(Part::Reader, &error);
                stopping.rest(RETRY_PAUSE);
            }
        }
    }

    fn listen(
        &mut self,
        connection: &mut Connection,
        stopping: &Stopping,
    ) -> Result<(), LinkError> {
        let settings = &self.shared.settings;
        link::subscribe(connection, &message::channel(settings.broker.database))?;
        let mut messages = connection.as_pubsub();
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Ok(()));
        }
        if self.shared.health.is_back(Part::Reader) {
            // What was said meanwhile was missed.
            self.shared.sync_wanted.set();
        }
        let mut heard_at = Instant::now();
        while !stopping.is_set() {
            messages.set_read_timeout(Some(LOOK))?;
            match messages.get_message().map_err(LinkError::from) {
                Ok(message) => {
                    self.apply(&message);
                    heard_at = Instant::now();
                }
                Err(error) if !error.is_timeout() => return Err(error),
                Err(_) if heard_at.elapsed() > QUIET_MAX => {
                    messages.set_read_timeout(Some(settings.read_timeout))?;
                    messages.ping::<redis::Value>()?;
                    heard_at = Instant::now();
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn apply(&self, message: &Msg) {
        match message::decode(message.get_payload_bytes()) {
            Ok((sender, _)) if sender == self.shared.instance => {}
            Ok((_, changes)) => changes.iter().for_each(|heard| apply(&self.shared, heard)),
            Err(error) => {
                tracing::debug!("Redis: {error}");
                self.shared.metrics.malformed.inc();
            }
        }
    }
}

/// Changes the table as the announce would have when it came. What has an age has waited for Redis: the peer
/// may have announced here since.
fn apply(shared: &Shared, heard: &Heard) {
    let Heard { info_hash, peer, state, completed, age } = *heard;
    let storage = &shared.storage;
    match state {
        State::Gone => {
            if completed && !storage.complete(&info_hash, &peer) {
                // The first that is heard of the torrent.
                storage.merge(&info_hash, peer, true, age);
                storage.complete(&info_hash, &peer);
            }
            shared.departed.note((info_hash, peer));
            storage.depart(&info_hash, peer, age);
        }
        _ if age == 0 => announce(shared, heard),
        _ => {
            storage.merge(&info_hash, peer, state == State::Seeder, age);
            if completed {
                storage.complete(&info_hash, &peer);
            }
        }
    }
}

fn announce(shared: &Shared, heard: &Heard) {
    let request = AnnounceRequest {
        info_hash: heard.info_hash,
        peer_id: PeerId([0; 20]),
        peer: heard.peer,
        event: if heard.completed { Event::Completed } else { Event::None },
        left: u64::from(heard.state != State::Seeder),
        downloaded: 0,
        uploaded: 0,
        numwant: 0,
        seed: 0,
        interface: 0,
        params: Params::default(),
    };
    // The table refuses nobody.
    let _ = shared.storage.announce(&request, &mut PeerBuf::new());
}
