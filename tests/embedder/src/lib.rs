//! What a program of its own brings to the tracker inside it: a configuration made in code, and two hooks.

use std::{
    error::Error,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tracker_user::{
    AnnounceRequest, AnnounceResponse, Event, InfoHash, ListKind, Live, Offload, Params, PeerId,
    PostHook, PreHook, Refusal, ScrapeRequest, TorrentList, config::Config,
};

/// A tracker over UDP and HTTP at ports of the system's choice, on this machine alone.
///
/// # Errors
/// None: the addresses are well-formed.
pub fn config() -> Result<Config, Box<dyn Error>> {
    let mut config = Config::default();
    config.udp.addr = vec!["127.0.0.1:0".parse()?];
    config.http.addr = Some("127.0.0.1:0".parse()?);
    Ok(config)
}

/// What is refused, and the words for it.
pub const REFUSED_PORT: u16 = 1313;
pub const REASON: &str = "not by this port";

/// Counts announces, and refuses those of one port.
#[derive(Debug, Default)]
pub struct Doorman(AtomicU32);

impl Doorman {
    /// How many announces it has seen.
    pub fn seen(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PreHook for Doorman {
    fn name(&self) -> &'static str {
        "doorman"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        if request.peer.port() == REFUSED_PORT {
            return Err(Refusal::Client(REASON.into()));
        }
        Ok(())
    }

    fn scrape(&self, request: &ScrapeRequest) -> Result<(), Refusal> {
        let _: &Params = &request.params;
        Ok(())
    }

    fn offload(&self) -> Offload {
        Offload::Never
    }
}

/// Keeps what peers have said of themselves.
#[derive(Debug, Default)]
pub struct Diary(Mutex<Vec<(InfoHash, PeerId, Event)>>);

impl Diary {
    /// What has been said so far.
    pub fn entries(&self) -> Vec<(InfoHash, PeerId, Event)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PostHook for Diary {
    fn name(&self) -> &'static str {
        "diary"
    }

    fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
        let entry = (request.info_hash, request.peer_id, request.event);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

/// A list of torrents that another thread may change while the tracker runs.
#[derive(Debug, Clone)]
pub struct Catalogue(pub TorrentList);

impl Catalogue {
    /// Admits these torrents and no others.
    pub fn of(info_hashes: impl IntoIterator<Item = InfoHash>) -> Self {
        let info_hashes = Live::new(info_hashes.into_iter().collect());
        Self(TorrentList { kind: ListKind::Allow, info_hashes })
    }
}

impl PreHook for Catalogue {
    fn name(&self) -> &'static str {
        "catalogue"
    }

    fn offload(&self) -> Offload {
        Offload::Rule(tracker_user::List::Torrents(self.0.clone()))
    }
}
