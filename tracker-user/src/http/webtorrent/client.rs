//! What a client asks for, and what it gets.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use prometheus::IntCounter;
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use super::{
    WebTorrent,
    announced::{Announced, Judges},
    message::{self, Announce, Answer, Message, Subject, Unreadable},
    outlet::{Inlet, Kind, Left, Outlet},
    swarms::{Peer, Progress, Taken},
};
use crate::{
    config::{HttpConfig, WebTorrentConfig},
    http::{
        Action, HttpFrontend,
        frontend::{Answered, WAITS_MAX},
        refusal::refusal,
        scrape,
    },
    pipeline::{
        AnnounceRequest, AnnounceResponse, Params, Pipeline, Refusal, ScrapeRequest, SwarmStats,
    },
};

/// The other end of a connection, which is in swarms until that ends, or a review takes it out.
pub(super) struct Client {
    pub(super) frontend: Arc<HttpFrontend>,
    pub(super) source: SocketAddr,
    /// Of the URL of the connection.
    pub(super) params: Params,
    pub(super) outlet: Outlet,
    /// Its peers that are in swarms.
    pub(super) entered: HashMap<(InfoHash, PeerId), Announced>,
    /// The hooks by which all of them are admitted.
    pub(super) judges: Judges,
}

/// What a message leads to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) reply: Option<String>,
    /// For the post-hooks, when the reply is on its way.
    pub(super) answered: Option<Answered>,
}

impl Client {
    pub(super) fn new(
        frontend: Arc<HttpFrontend>,
        source: SocketAddr,
        params: Params,
    ) -> (Self, Inlet) {
        let (outlet, inlet) = frontend.webtorrent.room.open();
        frontend.webtorrent.metrics.connections.inc();
        let judges = Judges::of(&frontend.pipeline);
        (Self { frontend, source, params, outlet, entered: HashMap::new(), judges }, inlet)
    }

    /// Does what a message asks for.
    pub(super) async fn receive(&mut self, text: &str) -> Outcome {
        let received = Instant::now();
        let settings = self.frontend.settings();
        let config = &settings.config;
        let (subject, result) = match Message::parse(text) {
            Ok(Message::Announce(announce)) => {
                let info_hash = Some(announce.info_hash);
                let result = self.announce(announce, &config.webtorrent).await;
                (Subject { action: Action::Announce, info_hash }, result)
            }
            Ok(Message::Scrape(info_hashes)) => {
                let subject = Subject { action: Action::Scrape, info_hash: None };
                (subject, self.scrape(info_hashes, config).await)
            }
            Ok(Message::Answer(answer)) => {
                self.relay_answer(&answer);
                return Outcome::default();
            }
            Err(Unreadable { subject, refusal }) => (subject, Err(refusal)),
        };
        let (client, refusal) = (Some(self.source.ip()), result.as_ref().err());
        self.frontend.observe(config, subject.action, client, refusal, received);
        result.unwrap_or_else(|refusal| {
            let reply = Some(message::failure(subject, &refusal));
            Outcome { reply, answered: None }
        })
    }

    async fn announce(
        &mut self,
        announce: Announce<'_>,
        config: &WebTorrentConfig,
    ) -> Result<Outcome, Refusal> {
        let request = self.request(&announce, config);
        let mut response = AnnounceResponse::default();
        let admitted = self
            .admitted(|pipeline| {
                let interval_s = config.announce_interval.whole_seconds();
                response = AnnounceResponse { interval_s, ..AnnounceResponse::default() };
                pipeline.admit(&request, &mut response)
            })
            .await;
        // It would stay for two more intervals where it may not enter.
        if let Err(Refusal::Client(_)) = admitted {
            self.leave(&request);
        }
        let pipeline = admitted?;
        if request.event == Event::Stopped {
            response.swarm = self.leave(&request);
        } else {
            response.swarm = self.enter(&request, response.interval_s, config)?;
            self.relay_offers(&announce, &request);
        }
        let AnnounceResponse { interval_s, swarm, .. } = response;
        let reply = Some(message::announce_reply(request.info_hash, interval_s, swarm));
        Ok(Outcome { reply, answered: Answered::new(&pipeline, request, &mut response) })
    }

    async fn scrape(
        &self,
        info_hashes: Vec<InfoHash>,
        config: &HttpConfig,
    ) -> Result<Outcome, Refusal> {
        let (source, params) = (self.source, self.params.clone());
        let info_hashes = scrape::tidied(info_hashes, config);
        let request = ScrapeRequest { info_hashes, source, params };
        self.admitted(|pipeline| pipeline.admit_scrape(&request)).await?;
        let swarms = &self.webtorrent().swarms;
        let swarms: Vec<_> = request.info_hashes.iter().map(|hash| swarms.stats(hash)).collect();
        let reply = Some(message::scrape_reply(&request.info_hashes, &swarms));
        Ok(Outcome { reply, answered: None })
    }

    fn request(&self, announce: &Announce, config: &WebTorrentConfig) -> AnnounceRequest {
        let &Announce { info_hash, peer_id, event, left, downloaded, uploaded, .. } = announce;
        let numwant = announce.offers.len().min(config.max_offers as usize);
        AnnounceRequest {
            info_hash,
            peer_id,
            peer: self.source,
            event,
            left,
            downloaded,
            uploaded,
            numwant: u16::try_from(numwant).unwrap_or(u16::MAX),
            seed: fastrand::u32(..),
            interface: 0,
            params: self.params.clone(),
        }
    }

    /// Asks the pre-hooks, also again where they have to ask somebody; returns those that were asked.
    pub(super) async fn admitted(
        &self,
        mut ask: impl FnMut(&Pipeline) -> Result<(), Refusal>,
    ) -> Result<Arc<Pipeline>, Refusal> {
        let mut waits = 0;
        loop {
            let pipeline = self.frontend.pipeline.load_full();
            match ask(&pipeline) {
                Ok(()) => return Ok(pipeline),
                Err(Refusal::Pending(pending)) if waits < WAITS_MAX => {
                    waits += 1;
                    pending.ended().await;
                }
                Err(refusal) => return Err(refusal.settled()),
            }
        }
    }

    /// Takes the peer into the swarm, for it to announce again after an interval.
    fn enter(
        &mut self,
        request: &AnnounceRequest,
        interval_s: u32,
        config: &WebTorrentConfig,
    ) -> Result<SwarmStats, Refusal> {
        let &AnnounceRequest { info_hash, peer_id, .. } = request;
        let entry = (info_hash, peer_id);
        let webtorrent = &self.frontend.webtorrent;
        if self.entered.len() >= config.max_torrents as usize && !self.entered.contains_key(&entry)
        {
            webtorrent.metrics.torrents_exhausted.inc();
            return Err(refusal("too many torrents"));
        }
        let peer = Peer { outlet: self.outlet.clone(), address: self.source.ip() };
        let progress = progress(request);
        let swarm = webtorrent.swarms.enter(&info_hash, peer_id, peer, progress);
        let swarm = swarm.map_err(|Taken| refusal("peer_id is in use"))?;
        self.entered.insert(entry, Announced::now(request, interval_s));
        Ok(swarm)
    }

    /// Takes the peer out of the swarm.
    pub(super) fn leave(&mut self, request: &AnnounceRequest) -> SwarmStats {
        let &AnnounceRequest { info_hash, peer_id, .. } = request;
        self.entered.remove(&(info_hash, peer_id));
        self.webtorrent().swarms.leave(&info_hash, &peer_id, &self.outlet)
    }

    /// Each offer is for another peer.
    fn relay_offers(&self, announce: &Announce, request: &AnnounceRequest) {
        let WebTorrent { swarms, metrics, .. } = self.webtorrent();
        let &AnnounceRequest { info_hash, peer_id, numwant, .. } = request;
        let others = swarms.others(&info_hash, &peer_id, progress(request), numwant.into());
        for (other, offer) in others.iter().zip(&announce.offers) {
            let write = || message::relayed_offer(info_hash, peer_id, offer);
            self.relay(other, Kind::Offer, &metrics.offers, write);
        }
    }

    /// Who answers must be in the swarm; a peer that has left meanwhile gets nothing.
    fn relay_answer(&self, answer: &Answer) {
        let WebTorrent { swarms, metrics, .. } = self.webtorrent();
        let &Answer { info_hash, peer_id, to_peer_id, .. } = answer;
        for other in swarms.between(&info_hash, &peer_id, &self.outlet, &to_peer_id) {
            let write = || message::relayed_answer(answer);
            self.relay(&other, Kind::Answer, &metrics.answers, write);
        }
    }

    fn relay(&self, to: &Outlet, kind: Kind, relayed: &IntCounter, write: impl FnOnce() -> String) {
        let relay_full = &self.webtorrent().metrics.relay_full;
        match to.leave(kind, write) {
            Left::Waits { dropped } => {
                relayed.inc();
                relay_full.inc_by(dropped as u64);
            }
            Left::Full => relay_full.inc(),
            Left::Gone => {}
        }
    }

    fn webtorrent(&self) -> &WebTorrent {
        &self.frontend.webtorrent
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let WebTorrent { swarms, metrics, .. } = self.webtorrent();
        for (info_hash, peer_id) in self.entered.keys() {
            swarms.leave(info_hash, peer_id, &self.outlet);
        }
        metrics.connections.dec();
    }
}

/// Who has completed the download is a seeder whatever `left` says, as elsewhere.
fn progress(request: &AnnounceRequest) -> Progress {
    match (request.event, request.left) {
        (Event::Completed, _) => Progress::Completed,
        (_, 0) => Progress::Seeder,
        _ => Progress::Leecher,
    }
}
