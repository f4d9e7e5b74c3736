//! The frontend as clients see it, over a storage that remembers what it was asked.

mod loopback;
mod loops;
mod outcomes;
mod properties;
mod rules;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tracker_common::{
    connection::ConnectionIds,
    hash::SipKey,
    id::InfoHash,
    peers::PeerBuf,
    wire::{PROTOCOL_ID, action},
};

use super::{Datagram, Outcome, Scratch, UdpFrontend, UdpSettings};
use crate::{
    config::UdpConfig,
    pipeline::{AnnounceRequest, Pipeline, PreHook, Refusal, SwarmStats},
    storage::Storage,
};

const NOW_NS: u64 = 1_000_000_000_000;
const CLIENT_V4: &str = "192.0.2.1:5000";
const CLIENT_V6: &str = "[2001:db8::1]:5000";
const TRANSACTION_ID: [u8; 4] = *b"txid";
/// What the storage says of every swarm.
const SWARM: SwarmStats = SwarmStats { seeders: 3, leechers: 4, completed: 5 };

/// Returns the announcer as the only peer.
#[derive(Default)]
struct FakeStorage {
    announces: Mutex<Vec<AnnounceRequest>>,
    broken: bool,
}

impl FakeStorage {
    fn check(&self) -> Result<(), Refusal> {
        if self.broken { Err(Refusal::Internal("no connection".to_owned())) } else { Ok(()) }
    }
}

impl Storage for FakeStorage {
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal> {
        self.check()?;
        self.announces.lock().unwrap().push(request.clone());
        peers.clear();
        peers.push(request.peer);
        Ok(SWARM)
    }

    /// The first byte of the info-hash is the number of seeders, so that the order shows.
    fn scrape(&self, info_hash: &InfoHash, _source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        self.check()?;
        Ok(SwarmStats { seeders: info_hash.0[0].into(), ..SWARM })
    }
}

fn settings() -> UdpSettings {
    settings_of(UdpConfig::default())
}

fn settings_of(config: UdpConfig) -> UdpSettings {
    UdpSettings::new(config, ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 0))
}

/// A frontend and all that is behind it.
struct Tracker {
    frontend: UdpFrontend,
    pipeline: Pipeline,
    storage: Arc<FakeStorage>,
    scratch: Scratch,
    reply: Vec<u8>,
}

impl Tracker {
    fn new(settings: UdpSettings) -> Self {
        Self::with(settings, FakeStorage::default(), Vec::new())
    }

    fn with(settings: UdpSettings, storage: FakeStorage, hooks: Vec<Box<dyn PreHook>>) -> Self {
        let storage = Arc::new(storage);
        Self {
            frontend: UdpFrontend::new(settings),
            pipeline: Pipeline::new(Arc::clone(&storage) as _, hooks, Vec::new(), 1800, 900),
            storage,
            scratch: Scratch::default(),
            reply: Vec::new(),
        }
    }

    /// The outcome; the reply is in `self.reply`.
    fn answer_at(&mut self, packet: &[u8], client: &str, wall_ns: u64) -> Outcome {
        let source = client.parse().unwrap();
        let datagram = Datagram { bytes: packet, source, interface: 0, wall_ns };
        self.frontend.answer(&self.pipeline, &datagram, &mut self.scratch, &mut self.reply)
    }

    fn answer(&mut self, packet: &[u8], client: &str) -> Outcome {
        self.answer_at(packet, client, NOW_NS)
    }

    /// Sends a packet with a good connection id in it, from `client`.
    fn verified(&mut self, packet: &[u8], client: &str) -> Outcome {
        self.answer(&connect(), client);
        let mut packet = packet.to_vec();
        packet[..8].copy_from_slice(&self.reply[8..16]);
        self.answer(&packet, client)
    }

    /// The text of the error that a packet with a good connection id is answered with.
    fn error(&mut self, packet: &[u8]) -> String {
        self.verified(packet, CLIENT_V4);
        error_text(&self.reply)
    }

    /// The announce that the storage saw after a packet with a good connection id.
    fn announced(&mut self, packet: &[u8], client: &str) -> AnnounceRequest {
        let outcome = self.verified(packet, client);
        assert_eq!(outcome.refusal, None);
        self.storage.announces.lock().unwrap().pop().unwrap()
    }
}

fn error_text(reply: &[u8]) -> String {
    let (head, text) = reply.split_at(8);
    assert_eq!(head, [action::ERROR, TRANSACTION_ID].concat());
    let (nul, text) = text.split_last().unwrap();
    assert_eq!(*nul, 0);
    String::from_utf8(text.to_vec()).unwrap()
}

fn request(action: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&[0; 8][..], &action, &TRANSACTION_ID, body].concat()
}

fn connect() -> Vec<u8> {
    [&PROTOCOL_ID[..], &action::CONNECT, &TRANSACTION_ID].concat()
}

fn scrape(info_hashes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let hashes: Vec<u8> = info_hashes.into_iter().flat_map(|byte| [byte; 20]).collect();
    request(action::SCRAPE, &hashes)
}

/// The fields of an announce that tests vary.
#[derive(Clone)]
struct Announce {
    action: [u8; 4],
    event: u32,
    /// 4 bytes, or 16 under action 4.
    ip: Vec<u8>,
    numwant: i32,
    port: u16,
    /// BEP 41 options.
    options: Vec<u8>,
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            action: action::ANNOUNCE,
            event: 2,
            ip: vec![0; 4],
            numwant: -1,
            port: 6881,
            options: Vec::new(),
        }
    }
}

impl Announce {
    fn v6() -> Self {
        Self { action: action::ANNOUNCE_V6, ip: vec![0; 16], ..Self::default() }
    }

    fn packet(&self) -> Vec<u8> {
        let body = [
            &[b'h'; 20][..],
            b"-TR4050-abcdefghijkl",
            &10_u64.to_be_bytes(),
            &20_u64.to_be_bytes(),
            &30_u64.to_be_bytes(),
            &self.event.to_be_bytes(),
            &self.ip,
            b"key!",
            &self.numwant.to_be_bytes(),
            &self.port.to_be_bytes(),
            &self.options,
        ];
        request(self.action, &body.concat())
    }
}
