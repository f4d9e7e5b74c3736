//! Whether replies are what was asked for.

use anyhow::{Context as _, Result, ensure};
use loadgen::{Request, Ticket, client_of_v4, client_of_v6, client_v4, client_v6, flag, kind};

use super::{
    cable::{FAR_V4, FAR_V6, PORT},
    profile::{self, Load},
};

/// What the load's announces ask for.
const NUMWANT: usize = 50;

const ERROR: u32 = 3;

/// What was found in replies that are right.
#[derive(Default, Debug)]
pub struct Findings {
    /// Replies that were looked at.
    pub replies: usize,
    announces: usize,
    peers: usize,
}

impl Findings {
    /// Looks at all of these frames.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn of(frames: &[Vec<u8>], load: &Load, checksums: bool) -> Result<Self> {
        let mut findings = Self::default();
        for frame in frames {
            findings.look_at(frame, load, checksums).with_context(|| format!("{frame:02x?}"))?;
        }
        ensure!(findings.replies > 0, "no reply was sampled");
        Ok(findings)
    }

    /// Peers in the mean reply to an announce.
    pub fn peers_per_announce(&self) -> f64 {
        self.peers as f64 / self.announces as f64
    }

    fn look_at(&mut self, frame: &[u8], load: &Load, checksums: bool) -> Result<()> {
        let datagram = Datagram::parse(frame, checksums)?;
        let request = self.look_at_message(datagram.payload, load)?;
        datagram.check_receiver(request)
    }

    /// Looks at what a reply says. Returns the request that it is for.
    ///
    /// # Errors
    /// It is wrong.
    pub fn look_at_message<'a>(&mut self, message: &[u8], load: &'a Load) -> Result<&'a Request> {
        let ([action, transaction_id], rest) = words(message)?;
        let ticket = Ticket(transaction_id);
        let request = load.list.get(ticket.index() as usize).context("no such transaction id")?;
        ensure!(!ticket.is_faulty(), "a reply to a request with a fault");
        ensure!(action != ERROR, "an error: {}", String::from_utf8_lossy(rest));
        ensure!(action == u32::from(request.kind), "another action");
        self.replies += 1;
        match request.kind {
            kind::CONNECT => ensure!(rest.len() == 8, "a connection id of {} bytes", rest.len()),
            kind::SCRAPE => {
                let ([seeders, _, leechers], rest) = words(rest)?;
                ensure!(rest.is_empty(), "more than was asked for");
                ensure!(seeders + leechers <= load.peers(request.torrent), "too many peers");
            }
            _ => self.look_at_announce(rest, request, load)?,
        }
        Ok(request)
    }

    fn look_at_announce(&mut self, rest: &[u8], request: &Request, load: &Load) -> Result<()> {
        let ([interval, leechers, seeders], peers) = words(rest)?;
        ensure!(interval > 0, "no interval");
        // Some count the announcer twice while it changes from leecher to seeder.
        ensure!(seeders + leechers <= load.peers(request.torrent) + 1, "too many peers");
        let is_v6 = request.flags & flag::V6 != 0;
        let bytes = if is_v6 { 18 } else { 6 };
        ensure!(peers.len() % bytes == 0, "half a peer");
        ensure!(peers.len() / bytes <= NUMWANT, "more peers than were asked for");
        for peer in peers.chunks(bytes) {
            let (addr, port) = peer.split_at(bytes - 2);
            let client =
                if is_v6 { client_of_v6(addr.try_into()?) } else { client_of_v4(addr.try_into()?) };
            ensure!(load.is_peer(client, request.torrent), "{addr:?} is no peer");
            ensure!(port == profile::port(client).to_be_bytes(), "another port");
        }
        self.announces += 1;
        self.peers += peers.len() / bytes;
        Ok(())
    }
}

/// A UDP datagram whose headers are right.
struct Datagram<'a> {
    source: &'a [u8],
    destination: &'a [u8],
    ports: [u16; 2],
    payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    fn parse(frame: &'a [u8], checksums: bool) -> Result<Self> {
        let ip = frame.get(14..).context("no IP header")?;
        let is_v4 = ip.first().is_some_and(|first| *first == 0x45);
        let (header, addresses) = if is_v4 { (20, 12..20) } else { (40, 8..40) };
        let field = |at: usize| -> Result<u16> {
            let bytes = ip.get(at..at + 2).context("a short frame")?;
            Ok(u16::from_be_bytes(bytes.try_into()?))
        };
        let len = if is_v4 { usize::from(field(2)?) } else { 40 + usize::from(field(4)?) };
        let addresses = ip.get(addresses).context("a short frame")?;
        let udp = ip.get(header..len).context("a short datagram")?;
        ensure!(ip[if is_v4 { 9 } else { 6 }] == 17, "not UDP");
        ensure!(usize::from(field(header + 4)?) == udp.len(), "another UDP length");
        if checksums {
            ensure!(!is_v4 || sum(&ip[..20]) == 0xffff, "a wrong IPv4 checksum");
            ensure!(field(header + 6)? != 0, "no UDP checksum");
            let pseudo = [addresses, &[0, 17], &(udp.len() as u16).to_be_bytes(), udp].concat();
            ensure!(sum(&pseudo) == 0xffff, "a wrong UDP checksum");
        }
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        let ports = [field(header)?, field(header + 2)?];
        Ok(Self { source, destination, ports, payload: &udp[8..] })
    }

    fn check_receiver(&self, request: &Request) -> Result<()> {
        let (source, destination) = if request.flags & flag::V6 != 0 {
            (FAR_V6.octets().to_vec(), client_v6(request.client).to_vec())
        } else {
            (FAR_V4.octets().to_vec(), client_v4(request.client).to_vec())
        };
        ensure!(self.source == source, "from another address: {:?}", self.source);
        ensure!(self.destination == destination, "for another client: {:?}", self.destination);
        ensure!(self.ports == [PORT, request.port], "other ports: {:?}", self.ports);
        Ok(())
    }
}

/// The folded sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum = words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// The first `N` big-endian words, and what follows them.
fn words<const N: usize>(bytes: &[u8]) -> Result<([u32; N], &[u8])> {
    let (words, rest) = bytes.split_at_checked(4 * N).context("a short reply")?;
    let mut words = words.as_chunks::<4>().0.iter();
    Ok((std::array::from_fn(|_| words.next().map_or(0, |word| u32::from_be_bytes(*word))), rest))
}
