//! Looks again at the swarms that a connection is in.
//!
//! Nothing expires while a connection lasts, and hooks judge a peer when it announces. So the session looks at its
//! peers at every [`REVIEW_INTERVAL`]: one that has not announced for two intervals leaves its swarm, and when the
//! hooks or their lists have changed since they last judged, they judge all again, and those that they refuse leave.

use std::time::Duration;

use tokio::time::Instant;
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use super::{
    announced::{Announced, Judges},
    client::Client,
};
use crate::pipeline::{AnnounceRequest, AnnounceResponse, Refusal};

/// How often a session looks at its peers. The sessions do so one by one, each at its own times.
pub(super) const REVIEW_INTERVAL: Duration = Duration::from_secs(10);

/// After how many peers a review lets other sessions have their turn.
const PEERS_AT_A_TIME: usize = 64;

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
