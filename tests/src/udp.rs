//! A client of the UDP tracker protocol (BEP 15), written from the BEP and sharing nothing with the
//! tracker.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{InfoHash, Namespace};

const PROTOCOL_MAGIC: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// The option that carries a piece of the URL data (BEP 41), and the bytes of one.
const URL_DATA: u8 = 2;
const URL_DATA_MAX: usize = 255;

/// How often a request is sent before it is given up, and how long its reply may take: longer than a
/// tracker on a busy machine rests, since a request that is sent twice is counted twice.
const ATTEMPTS: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(3);

/// Announces under way at a time: their replies fit into a socket's buffer.
const WINDOW: usize = 100;

/// How much a client that was held up makes good for.
const LATE_MAX: Duration = Duration::from_millis(100);

/// A socket with a connection id.
pub struct UdpClient {
    socket: UdpSocket,
    connection_id: u64,
    transaction_id: u32,
}

/// What an announce says.
#[derive(Clone, Copy)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The client's name for itself.
    pub peer_id: [u8; 20],
    /// Bytes still to fetch.
    pub left: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped, 4 paused.
    pub event: u32,
    /// Where the peer accepts connections.
    pub port: u16,
}

impl Announce {
    /// A peer that has nothing yet, tells its port and has no event to report.
    #[must_use]
    pub fn leecher(info_hash: InfoHash, port: u16) -> Self {
        let mut peer_id = *b"-XT0000-000000000000";
        peer_id[18..].copy_from_slice(&port.to_be_bytes());
        Self { info_hash, peer_id, left: 1, event: 0, port }
    }

    /// The path and query by which it is announced over HTTP.
    #[must_use]
    pub fn path(&self) -> String {
        let escaped =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let (info_hash, peer_id) = (escaped(&self.info_hash.0), escaped(&self.peer_id));
        let Self { left, port, .. } = self;
        format!(
            "/announce?info_hash={info_hash}&peer_id={peer_id}&left={left}&port={port}\
             &downloaded=0&uploaded=0&compact=1"
        )
    }

    /// What follows the head of the request.
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(82);
        body.extend(self.info_hash.0);
        body.extend(self.peer_id);
        body.extend(0u64.to_be_bytes());
        body.extend(self.left.to_be_bytes());
        body.extend(0u64.to_be_bytes());
        body.extend(self.event.to_be_bytes());
        body.extend([0; 8]);
        body.extend((-1i32).to_be_bytes());
        body.extend(self.port.to_be_bytes());
        body
    }
}

/// The answer to an announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Seconds until the next announce.
    pub interval_s: u32,
    /// Peers that lack something.
    pub leechers: u32,
    /// Peers that lack nothing.
    pub seeders: u32,
    /// Where they accept connections.
    pub peers: Vec<SocketAddr>,
}

/// The figures of one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeReply {
    /// Peers that lack nothing.
    pub seeders: u32,
    /// Downloads that were completed.
    pub completed: u32,
    /// Peers that lack something.
    pub leechers: u32,
}

impl UdpClient {
    /// Opens a socket in `namespace` and gets a connection id from `tracker`.
    ///
    /// # Errors
    /// The tracker does not answer, or not as it should; as with every method here.
    pub fn connect(namespace: &Namespace, tracker: SocketAddr) -> Result<Self> {
        let any: IpAddr = if tracker.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = namespace.enter(|| {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(tracker)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            anyhow::Ok(socket)
        })?;
        let mut client = Self { socket, connection_id: PROTOCOL_MAGIC, transaction_id: 0 };
        client.reconnect()?;
        Ok(client)
    }

    /// Gets another connection id.
    ///
    /// # Errors
    /// As [`UdpClient::connect`].
    pub fn reconnect(&mut self) -> Result<()> {
        self.connection_id = PROTOCOL_MAGIC;
        let reply = self.exchange(CONNECT, &[])?;
        let id = reply.as_slice().try_into().context("a connect reply has 16 bytes")?;
        self.connection_id = u64::from_be_bytes(id);
        Ok(())
    }

    /// Announces.
    ///
    /// # Errors
    /// As [`UdpClient::connect`].
    pub fn announce(&mut self, announce: &Announce) -> Result<AnnounceReply> {
        self.announce_with(announce, "")
    }

    /// Announces with URL data (BEP 41): a path and a query.
    ///
    /// # Errors
    /// As [`UdpClient::connect`].
    pub fn announce_with(&mut self, announce: &Announce, url_data: &str) -> Result<AnnounceReply> {
        let mut body = announce.body();
        for piece in url_data.as_bytes().chunks(URL_DATA_MAX) {
            body.extend([URL_DATA, piece.len() as u8]);
            body.extend(piece);
        }
        let reply = self.exchange(ANNOUNCE, &body)?;
        let ([interval_s, leechers, seeders], peers) = words(&reply)?;
        let peers = if self.socket.peer_addr()?.is_ipv4() {
            peers.chunks(6).map(address::<4>).collect()
        } else {
            peers.chunks(18).map(address::<16>).collect::<Result<_>>()
        };
        Ok(AnnounceReply { interval_s, leechers, seeders, peers: peers? })
    }

    /// Announces all of these, many at a time, and returns when each has been answered.
    ///
    /// # Errors
    /// As [`UdpClient::connect`].
    pub fn announce_all(&mut self, announces: &[Announce]) -> Result<()> {
        for window in announces.chunks(WINDOW) {
            // An id lives for two minutes, and all of them together may take longer.
            self.reconnect()?;
            let mut pending: HashMap<u32, Vec<u8>> = window
                .iter()
                .map(|announce| {
                    let request = self.request(ANNOUNCE, &announce.body());
                    (self.transaction_id, request)
                })
                .collect();
            for _ in 0..ATTEMPTS {
                for request in pending.values() {
                    self.socket.send(request)?;
                }
                while !pending.is_empty()
                    && let Some(reply) = self.receive()?
                {
                    if pending.remove(&reply.transaction_id).is_some() {
                        reply.body_of(ANNOUNCE)?;
                    }
                }
            }
            ensure!(pending.is_empty(), "{} announces were not answered", pending.len());
        }
        Ok(())
    }

    /// Announces once in every `period` until told to stop, and waits for the last replies. Returns how
    /// many announces there were, and how many of them were not answered.
    ///
    /// # Errors
    /// The tracker answers, but not as it should.
    pub fn announce_steadily(
        &mut self,
        announce: &Announce,
        period: Duration,
        is_over: &AtomicBool,
    ) -> Result<[usize; 2]> {
        let mut pending = HashSet::new();
        let mut sent = 0;
        let mut next = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            // More than this many at once may not find room in the tracker's socket, should it rest.
            if pending.len() < WINDOW {
                let request = self.request(ANNOUNCE, &announce.body());
                // A closed port is reported here; what is not answered is counted below.
                let _ = self.socket.send(&request);
                pending.insert(self.transaction_id);
                sent += 1;
            }
            // Who is late hurries only a little: the socket holds no more replies than it has to.
            next = (next + period).max(Instant::now() - LATE_MAX);
            loop {
                let pause = next.saturating_duration_since(Instant::now());
                self.socket.set_nonblocking(pause.is_zero())?;
                if !pause.is_zero() {
                    self.socket.set_read_timeout(Some(pause))?;
                }
                match self.receive()? {
                    Some(reply) if pending.remove(&reply.transaction_id) => {
                        reply.body_of(ANNOUNCE)?;
                    }
                    Some(_) => {}
                    None if pause.is_zero() => break,
                    None => {}
                }
            }
        }
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(TIMEOUT))?;
        while !pending.is_empty()
            && let Some(reply) = self.receive()?
        {
            pending.remove(&reply.transaction_id);
        }
        Ok([sent, pending.len()])
    }

    /// Scrapes; the answers are in the order of the question.
    ///
    /// # Errors
    /// As [`UdpClient::connect`].
    pub fn scrape(&mut self, info_hashes: &[InfoHash]) -> Result<Vec<ScrapeReply>> {
        let body: Vec<u8> = info_hashes.iter().flat_map(|info_hash| info_hash.0).collect();
        let reply = self.exchange(SCRAPE, &body)?;
        ensure!(reply.len() == 12 * info_hashes.len(), "{} bytes of scrape", reply.len());
        let figures = reply.chunks(12).map(|entry| {
            let ([seeders, completed, leechers], _) = words(entry)?;
            Ok(ScrapeReply { seeders, completed, leechers })
        });
        figures.collect()
    }

    /// Sends a request until it is answered, and returns what follows the reply's two fixed words.
    fn exchange(&mut self, action: u32, body: &[u8]) -> Result<Vec<u8>> {
        let request = self.request(action, body);
        for _ in 0..ATTEMPTS {
            self.socket.send(&request)?;
            while let Some(reply) = self.receive()? {
                // Not one to an earlier request, which was sent twice.
                if reply.transaction_id == self.transaction_id {
                    return reply.body_of(action);
                }
            }
        }
        bail!("no reply to action {action} from {}", self.socket.peer_addr()?)
    }

    /// A request with a transaction id of its own.
    fn request(&mut self, action: u32, body: &[u8]) -> Vec<u8> {
        self.transaction_id += 1;
        let mut request = self.connection_id.to_be_bytes().to_vec();
        request.extend(action.to_be_bytes());
        request.extend(self.transaction_id.to_be_bytes());
        request.extend(body);
        request
    }

    /// The next reply; none when time is up, or when the tracker's port is closed, which passes.
    fn receive(&self) -> Result<Option<Reply>> {
        let mut reply = [0; 2048];
        let Ok(length) = self.socket.recv(&mut reply) else { return Ok(None) };
        let ([action, transaction_id], body) = words(&reply[..length])?;
        Ok(Some(Reply { action, transaction_id, body: body.to_vec() }))
    }
}

/// Any reply: its two fixed words, and what follows them.
struct Reply {
    action: u32,
    transaction_id: u32,
    body: Vec<u8>,
}

impl Reply {
    /// The body of a reply to a request for this action.
    fn body_of(self, asked: u32) -> Result<Vec<u8>> {
        let Self { action, body, .. } = self;
        ensure!(action != ERROR, "tracker error: {}", String::from_utf8_lossy(&body));
        ensure!(action == asked, "action {action} in the reply to action {asked}");
        Ok(body)
    }
}

/// The first `N` big-endian words, and what follows them.
fn words<const N: usize>(bytes: &[u8]) -> Result<([u32; N], &[u8])> {
    let (words, rest) = bytes.split_at_checked(4 * N).context("a reply that is too short")?;
    let mut words = words.as_chunks::<4>().0.iter();
    Ok((std::array::from_fn(|_| words.next().map_or(0, |word| u32::from_be_bytes(*word))), rest))
}

/// An address of `N` bytes and a port.
fn address<const N: usize>(bytes: &[u8]) -> Result<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (ip, port) = bytes.split_first_chunk::<N>().context("half a peer at the end of a reply")?;
    let port = port.try_into().context("half a peer at the end of a reply")?;
    Ok(SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(port)))
}
