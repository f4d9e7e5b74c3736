//! What an announce means to other trackers.

use std::net::SocketAddr;

use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::pipeline::AnnounceRequest;

/// What a peer is in a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has something to fetch.
    Leecher,
    /// It has nothing to fetch.
    Seeder,
    /// It has left.
    Gone,
}

/// Who and where: what the newest of several changes is of.
pub(super) type Key = (InfoHash, SocketAddr);

/// What a peer has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) peer_id: PeerId,
    pub(super) state: State,
    /// A download was completed, now or in a change that this one took the place of.
    pub(super) completed: bool,
    /// When, in nanoseconds since 1970.
    pub(super) at_ns: u64,
}

impl Change {
    pub(super) fn of(request: &AnnounceRequest, at_ns: u64) -> (Key, Self) {
        let completed = request.event == Event::Completed;
        let state = match request.event {
            Event::Stopped => State::Gone,
            _ if completed || request.left == 0 => State::Seeder,
            _ => State::Leecher,
        };
        let change = Self { peer_id: request.peer_id, state, completed, at_ns };
        ((request.info_hash, request.peer), change)
    }
}
