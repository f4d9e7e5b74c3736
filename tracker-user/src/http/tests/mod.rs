//! The frontend as clients see it: `replies` without a network, `connections` over streams, `https`
//! over TLS, `waiting` where a hook takes its time, `webtorrent` by browsers.

mod connections;
mod https;
mod replies;
mod waiting;
mod webtorrent;

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use tracker_common::{announce::Event, id::InfoHash, peers::PeerBuf};

use super::{Action, HttpFrontend, Observe, Settings};
use crate::{
    config::{GoDuration, HttpConfig},
    metrics::{Metrics, WebTorrentMetrics},
    pipeline::{
        AnnounceRequest, AnnounceResponse, Pipeline, PostHook, PreHook, Refusal, SwarmStats,
    },
    storage::Storage,
};

/// A frontend before a storage of vectors, and what has been seen of its work.
#[derive(Clone)]
struct Tracker {
    frontend: Arc<HttpFrontend>,
    pipeline: Arc<ArcSwap<Pipeline>>,
    journal: Arc<Journal>,
    webtorrent: WebTorrentMetrics,
}

impl Tracker {
    fn new(config: HttpConfig) -> Self {
        Self::with(Settings::new(config).unwrap())
    }

    /// One that serves so many connections at a time.
    fn with_connections(max: usize, config: HttpConfig) -> Self {
        let mut settings = Settings::new(config).unwrap();
        settings.connections_max = max;
        Self::with(settings)
    }

    fn with(settings: Settings) -> Self {
        let journal = Arc::new(Journal::default());
        let pipeline = pipeline(Arc::new(Swarms::default()), &journal, 1800);
        let pipeline = Arc::new(ArcSwap::from_pointee(pipeline));
        let observer = Arc::clone(&journal) as Arc<dyn Observe>;
        let webtorrent = Metrics::new().unwrap().webtorrent();
        let frontend =
            HttpFrontend::new(settings, Arc::clone(&pipeline), observer, webtorrent.clone());
        Self { frontend: Arc::new(frontend), pipeline, journal, webtorrent }
    }

    /// How many announces the post-hook has seen.
    fn announced(&self) -> usize {
        self.journal.announced.lock().unwrap().len()
    }
}

fn pipeline(storage: Arc<dyn Storage>, journal: &Arc<Journal>, interval_s: u32) -> Pipeline {
    let recorder = Box::new(Recorder(Arc::clone(journal)));
    Pipeline::new(storage, vec![Box::new(Gate)], vec![recorder], interval_s, 900)
}

/// Knows nothing of limits or of time.
#[derive(Default)]
struct Swarms(Mutex<HashMap<(InfoHash, bool), Swarm>>);

#[derive(Default)]
struct Swarm {
    peers: Vec<(SocketAddr, bool)>,
    completed: u32,
}

impl Swarm {
    fn stats(&self) -> SwarmStats {
        let seeders = self.peers.iter().filter(|(_, seeder)| *seeder).count();
        let leechers = (self.peers.len() - seeders) as u32;
        SwarmStats { seeders: seeders as u32, leechers, completed: self.completed }
    }
}

impl Storage for Swarms {
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal> {
        let mut swarms = self.0.lock().unwrap();
        let swarm = swarms.entry((request.info_hash, request.peer.is_ipv6())).or_default();
        swarm.peers.retain(|(peer, _)| *peer != request.peer);
        if request.event == Event::Completed {
            swarm.completed += 1;
        }
        peers.clear();
        for (peer, _) in swarm.peers.iter().take(request.numwant.into()) {
            peers.push(*peer);
        }
        if peers.is_empty() {
            peers.push(request.peer);
        }
        if request.event != Event::Stopped {
            swarm.peers.push((request.peer, request.left == 0));
        }
        Ok(swarm.stats())
    }

    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        let swarms = self.0.lock().unwrap();
        Ok(swarms.get(&(*info_hash, source.is_ipv6())).map(Swarm::stats).unwrap_or_default())
    }
}

/// A storage that is down.
struct Broken;

impl Storage for Broken {
    fn announce(&self, _: &AnnounceRequest, _: &mut PeerBuf) -> Result<SwarmStats, Refusal> {
        Err(Refusal::Internal("no route to storage".to_owned()))
    }

    fn scrape(&self, _: &InfoHash, _: &SocketAddr) -> Result<SwarmStats, Refusal> {
        Err(Refusal::Internal("no route to storage".to_owned()))
    }
}

/// Refuses whoever brings the parameter `refuse`.
struct Gate;

impl PreHook for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        match request.params.get("refuse") {
            Some(_) => Err(Refusal::Client(Cow::Borrowed("unapproved client"))),
            None => Ok(()),
        }
    }
}

/// What metrics and the post-hook were told.
#[derive(Default)]
struct Journal {
    responses: Mutex<Vec<(Action, Option<IpAddr>, String)>>,
    exhausted: Mutex<usize>,
    sources_exhausted: Mutex<usize>,
    handshakes_failed: Mutex<usize>,
    announced: Mutex<Vec<SocketAddr>>,
}

impl Observe for Journal {
    fn response(&self, action: Action, client: Option<IpAddr>, error: &str, elapsed: Duration) {
        assert_eq!(elapsed, Duration::ZERO, "nobody asked for timing");
        self.responses.lock().unwrap().push((action, client, error.to_owned()));
    }

    fn connections_exhausted(&self) {
        *self.exhausted.lock().unwrap() += 1;
    }

    fn source_exhausted(&self) {
        *self.sources_exhausted.lock().unwrap() += 1;
    }

    fn handshake_failed(&self) {
        *self.handshakes_failed.lock().unwrap() += 1;
    }
}

struct Recorder(Arc<Journal>);

impl PostHook for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
        self.0.announced.lock().unwrap().push(request.peer);
    }
}

/// The path of a leecher's announce, compact, of the torrent `a`.
fn announce(port: u16, extra: &str) -> String {
    format!(
        "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4050-bbbbbbbbbbbb&compact=1\
         &left=1&downloaded=0&uploaded=0&port={port}{extra}"
    )
}
