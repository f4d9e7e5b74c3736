//! Looks again at the swarms that a connection is in.
//!
//! Nothing expires while a connection lasts, and hooks judge a peer when it announces. So the session looks at its
//! peers at every [`REVIEW_INTERVAL`]: one that has not announced for two intervals leaves its swarm, and when the
//! hooks or their lists have changed since they last judged, they judge all again, and those that they refuse leave.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use super::client::Client;
use crate::pipeline::{AnnounceRequest, AnnounceResponse, Pipeline, Refusal};

/// How often a session looks at its peers. The sessions do so one by one, each at its own times.
pub(super) const REVIEW_INTERVAL: Duration = Duration::from_secs(10);

/// After how many intervals without an announce a peer leaves.
const INTERVALS_MAX: u32 = 2;

/// After how many peers a review lets other sessions have their turn.
const PEERS_AT_A_TIME: usize = 64;

/// A peer's last announce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    left: u64,
    downloaded: u64,
    uploaded: u64,
    /// When it leaves, unless it announces before.
    expires: Instant,
}

impl Announced {
    /// Now, by a client that is told to come back after an interval.
    pub(super) fn now(request: &AnnounceRequest, interval_s: u32) -> Self {
        let &AnnounceRequest { left, downloaded, uploaded, .. } = request;
        let interval = Duration::from_secs(interval_s.into());
        Self { left, downloaded, uploaded, expires: Instant::now() + interval * INTERVALS_MAX }
    }
}

/// The hooks at one time, and the state of their lists.
pub(super) struct Judges {
    pipeline: Weak<Pipeline>,
    revision: u64,
}

impl Judges {
    pub(super) fn of(pipeline: &ArcSwap<Pipeline>) -> Self {
        let pipeline = pipeline.load();
        Self { pipeline: Arc::downgrade(&pipeline), revision: pipeline.revision() }
    }
}

impl PartialEq for Judges {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.pipeline.ptr_eq(&other.pipeline)
    }
}

impl Client {
    /// Takes those peers out of their swarms that are silent, or that the hooks now refuse.
    pub(super) async fn review(&mut self) {
        self.leave_if_silent();
        // Looked at before they judge, so that a change meanwhile has them judge again.
        let judges = Judges::of(&self.frontend.pipeline);
        if judges != self.judges && self.judge_again().await {
            self.judges = judges;
        }
    }

    fn leave_if_silent(&mut self) {
        let now = Instant::now();
        let Self { frontend, outlet, entered, .. } = self;
        entered.retain(|(info_hash, peer_id), announced| {
            let stays = announced.expires > now;
            if !stays {
                frontend.webtorrent.swarms.leave(info_hash, peer_id, outlet);
            }
            stays
        });
    }

    /// Has the hooks judge each peer again; `false` where one of them has no judgement.
    async fn judge_again(&mut self) -> bool {
        let interval = self.frontend.settings().config.webtorrent.announce_interval;
        let interval_s = interval.whole_seconds();
        let peers: Vec<_> =
            self.entered.iter().map(|(peer, announced)| (*peer, *announced)).collect();
        let mut are_all_judged = true;
        for (index, (peer, announced)) in peers.into_iter().enumerate() {
            if index % PEERS_AT_A_TIME == PEERS_AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            let request = self.repeated(peer, announced);
            let admitted = self.admitted(|pipeline| {
                let mut response = AnnounceResponse { interval_s, ..AnnounceResponse::default() };
                pipeline.admit(&request, &mut response)
            });
            match admitted.await {
                Ok(_) => {}
                Err(Refusal::Client(_)) => {
                    self.leave(&request);
                }
                Err(_) => are_all_judged = false,
            }
        }
        are_all_judged
    }

    /// A peer's last announce once more, as one between two events.
    fn repeated(
        &self,
        (info_hash, peer_id): (InfoHash, PeerId),
        last: Announced,
    ) -> AnnounceRequest {
        let Announced { left, downloaded, uploaded, .. } = last;
        AnnounceRequest {
            info_hash,
            peer_id,
            peer: self.source,
            event: Event::None,
            left,
            downloaded,
            uploaded,
            numwant: 0,
            seed: fastrand::u32(..),
            interface: 0,
            params: self.params.clone(),
        }
    }
}
