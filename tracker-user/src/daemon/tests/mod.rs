//! A tracker made from a configuration, as clients and operators see it.

mod certificate;
mod floods;
mod hooks;
mod kept;
mod keys;
mod reload;
mod start;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Runtime;
use tracker_common::wire::{PROTOCOL_ID, action};

use certificate::Certificate;

use super::{
    engine::{Ending, Engine},
    found::{Found, Occasion},
    hooks::{HookMaker, OwnHooks},
    prepared::Prepared,
};
use crate::{
    config::{self, Loaded, UnknownKeys},
    metrics::Metrics,
};

/// No test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is below `chihaya:` in a file with these lines.
fn prepare(lines: &str) -> anyhow::Result<Prepared> {
    prepare_with(lines, &HookMaker::new(&OwnHooks::default(), &Arc::new(Metrics::new()?)))
}

fn prepare_with(lines: &str, hooks: &HookMaker) -> anyhow::Result<Prepared> {
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("chihaya:\n{indented}");
    let Loaded { config, source, .. } = config::parse("t.yaml", &text, UnknownKeys::Refuse)?;
    let mut found = Found::new(&config);
    Prepared::new(config, hooks, Occasion::Start, &mut found)
        .ok_or_else(|| anyhow::anyhow!(found.lines(&source).join("\n")))
}

/// A tracker that runs until this is dropped.
struct Running {
    tracker: Option<Engine>,
    hooks: HookMaker,
    metrics: Arc<Metrics>,
    runtime: Runtime,
}

impl Running {
    fn start(lines: &str) -> anyhow::Result<Self> {
        Self::start_with(lines, &OwnHooks::default())
    }

    fn start_with(lines: &str, own: &OwnHooks) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let metrics = Arc::new(Metrics::new()?);
        let hooks = HookMaker::new(own, &metrics);
        let prepared = prepare_with(lines, &hooks)?;
        let tracker = Engine::start(prepared, hooks.grants(), &metrics, runtime.handle())?;
        Ok(Self { tracker: Some(tracker), hooks, metrics, runtime })
    }

    fn tracker(&self) -> &Engine {
        self.tracker.as_ref().unwrap()
    }

    /// The keys that wait for a restart.
    fn reload(&mut self, lines: &str) -> Vec<&'static str> {
        let prepared = prepare_with(lines, &self.hooks).unwrap();
        self.tracker.as_mut().unwrap().reload(prepared)
    }

    /// Where this is served first.
    fn addr(&self, what: &str) -> SocketAddr {
        let addresses = &self.tracker().frontends.addresses;
        addresses.iter().find(|(served, _)| served.to_string() == what).unwrap().1
    }

    fn get_with(&self, path: &str, headers: &str) -> String {
        get_from(self.addr("HTTP"), path, headers)
    }

    fn get(&self, path: &str) -> String {
        self.get_with(path, "")
    }

    fn udp(&self) -> UdpClient {
        UdpClient::new(self.addr("UDP"))
    }

    fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.metrics.registry().gather()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(tracker) = self.tracker.take() {
            tracker.stop(self.runtime.handle(), Ending::Whole);
        }
    }
}

/// A request over HTTP and what is answered, head and body, on a connection of its own.
fn get_from(server: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    reply.escape_ascii().to_string().replace("\\r\\n", "\n").replace("\\n", "\n")
}

/// The path of a compact announce of the torrent `a`.
fn announce(port: u16, extra: &str) -> String {
    format!(
        "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4050-bbbbbbbbbbbb&compact=1\
         &left=1&downloaded=0&uploaded=0&port={port}{extra}"
    )
}

/// An announce of the torrent `a` over UDP.
#[derive(Clone)]
struct Announce {
    ip: [u8; 4],
    numwant: i32,
    port: u16,
    /// BEP 41.
    options: Vec<u8>,
}

impl Announce {
    fn of_port(port: u16) -> Self {
        Self { ip: [0; 4], numwant: -1, port, options: Vec::new() }
    }

    fn packet(&self, id: [u8; 8]) -> Vec<u8> {
        [
            &id[..],
            &action::ANNOUNCE,
            b"txid",
            &[b'a'; 20],
            b"-TR4050-bbbbbbbbbbbb",
            &0_u64.to_be_bytes(),
            &1_u64.to_be_bytes(),
            &0_u64.to_be_bytes(),
            &2_u32.to_be_bytes(),
            &self.ip,
            b"key!",
            &self.numwant.to_be_bytes(),
            &self.port.to_be_bytes(),
            &self.options,
        ]
        .concat()
    }
}

/// A client with a socket of its own.
struct UdpClient {
    socket: UdpSocket,
}

impl UdpClient {
    fn new(tracker: SocketAddr) -> Self {
        let any: SocketAddr =
            if tracker.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(tracker).unwrap();
        Self { socket }
    }

    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        self.socket.send(packet).unwrap();
        let mut reply = [0; 2048];
        let len = self.socket.recv(&mut reply).expect("a reply");
        reply[..len].to_vec()
    }

    fn connect(&self) -> [u8; 8] {
        let request = [&PROTOCOL_ID[..], &action::CONNECT, b"txid"].concat();
        self.ask(&request)[8..].try_into().unwrap()
    }

    /// Announces with this in the address field.
    fn announce(&self, id: [u8; 8], port: u16, ip: [u8; 4]) -> Vec<u8> {
        self.announce_as(id, &Announce { ip, ..Announce::of_port(port) })
    }

    fn announce_as(&self, id: [u8; 8], announce: &Announce) -> Vec<u8> {
        self.ask(&announce.packet(id))
    }

    fn scrape(&self, id: [u8; 8], info_hashes: usize) -> Vec<u8> {
        self.ask(&[&id[..], &action::SCRAPE, b"txid", &b"a".repeat(20 * info_hashes)].concat())
    }
}
