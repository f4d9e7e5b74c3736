//! The kernel and the daemon below UDP: the same raw frames go to a tracker that answers from a socket and to one that
//! answers in the kernel. What the network stack drops on the way to the socket the kernel must not answer.
//!
//! `XDP_TRACKER_CASES` sets how many frames are tried, `XDP_TRACKER_SEED` which.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;
use tracker_tests::{Family, Host, Mode, Scratch, Tracker, Wire, XdpPass, eventually};

const PORT: u16 = 6969;
/// The port that frames come from.
const SOURCE_PORT: u16 = 40_000;

/// After this long what a tracker has not answered it does not answer. Frames from other ports may be another worker's,
/// which a fence does not wait for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The kind of request that is a fence: an announce with more options than the kernel walks over. It passes to the
/// daemon, whose socket is a queue, so its reply says that all before was handled.
const FENCE: u8 = 6;

/// How long a fence may take.
const FENCE_TIME_MAX: Duration = Duration::from_secs(90);

fn number<T: FromStr>(variable: &str, default: T) -> T {
    env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A tracker, a client's host, and the wire out of it.
struct Side<'a> {
    _tracker: Tracker<'a>,
    wire: Wire,
    server: &'a Host,
    client: &'a Host,
    /// A connection id of each family.
    ids: [[u8; 8]; 2],
    replies: BTreeMap<[u8; 4], Vec<u8>>,
}

/// One request, and what is done to its frame.
struct Case {
    family: Family,
    transaction: [u8; 4],
    kind: u8,
    torrent: u8,
    port: u16,
    fault: Fault,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// XORed with a byte of the frame.
    Flip {
        at: usize,
        by: u8,
    },
    /// The UDP checksum is left out.
    NoChecksum,
    /// The frame is this much shorter.
    Cut(usize),
    /// The frame has padding.
    Pad(usize),
    /// Another destination MAC address.
    Mac([u8; 6]),
    Source(&'static str),
    SourcePort(u16),
    /// With right checksums.
    Hops(u8),
    /// The UDP length is off by this much, with right checksums.
    UdpLen(i16),
}

/// None of these gets a reply by whatever way: they are no client's.
const SOURCES_V4: [&str; 8] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "10.77.0.1",
    "10.77.0.255",
];
const SOURCES_V6: [&str; 6] =
    ["::", "::1", "::ffff:10.77.0.2", "::10.77.0.2", "ff02::1", "2001:db8::1"];

impl Fault {
    fn draw(rng: &mut Rng, family: Family) -> Self {
        match rng.u8(..16) {
            0..4 => Self::None,
            4..8 => Self::Flip { at: rng.usize(..), by: 1 << rng.u8(..8) },
            8 => Self::NoChecksum,
            9 => Self::Cut(rng.usize(1..40)),
            10 => Self::Pad(rng.usize(1..40)),
            11 => Self::Mac([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            12 => Self::Mac([[2, 0xaa, 0, 0, 0, 9], [1, 0, 0x5e, 0, 0, 1]][rng.usize(..2)]),
            13 => Self::Hops(rng.u8(..2)),
            14 if rng.bool() => Self::SourcePort([0, 53, 1023, 1024, PORT][rng.usize(..5)]),
            14 => Self::UdpLen([-8, -1, 1, 8][rng.usize(..4)]),
            _ if family == Family::Ipv4 => Self::Source(SOURCES_V4[rng.usize(..SOURCES_V4.len())]),
            _ => Self::Source(SOURCES_V6[rng.usize(..SOURCES_V6.len())]),
        }
    }
}

impl Case {
    fn draw(rng: &mut Rng, number: u32) -> Self {
        let family = [Family::Ipv4, Family::Ipv6][rng.usize(..2)];
        Self {
            family,
            transaction: (0x5100_0000 | number).to_be_bytes(),
            kind: rng.u8(..6),
            torrent: rng.u8(..3),
            port: 7000 + rng.u16(..2),
            fault: Fault::draw(rng, family),
        }
    }

    fn payload(&self, ids: &[[u8; 8]; 2]) -> Vec<u8> {
        let id = ids[usize::from(self.family == Family::Ipv6)];
        let head = |action: u8| [&id[..], &[0, 0, 0, action], &self.transaction].concat();
        match self.kind {
            0 => [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], &self.transaction].concat(),
            1 => [head(2), vec![self.torrent; 20]].concat(),
            2 => [head(2), vec![self.torrent; 60]].concat(),
            kind => {
                let mut announce = head(1);
                announce.extend([[self.torrent; 20], *b"-qB4650-abcdefghijkl"].concat());
                announce.extend([&[0; 8][..], &1_u64.to_be_bytes(), &[0; 20]].concat());
                announce.extend([&[0, 0, 0, 50][..], &self.port.to_be_bytes()].concat());
                if kind == 3 {
                    announce.extend(b"\x02\x09/announce");
                }
                if kind == FENCE {
                    announce.extend([1; 12]);
                }
                announce
            }
        }
    }
}

/// The folded sum of 16-bit words (RFC 1071), with `start` added.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum = words.sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl<'a> Side<'a> {
    fn new(hosts: &'a [Host; 2], mode: Mode, folder: &Scratch) -> Result<Self> {
        let [server, client] = hosts;
        let tracker = Tracker::start(server, mode, folder.path())?;
        let wire = Wire::new(&client.namespace)?;
        let replies = BTreeMap::new();
        let mut side = Self { _tracker: tracker, wire, server, client, ids: [[0; 8]; 2], replies };
        for (index, family) in [Family::Ipv4, Family::Ipv6].into_iter().enumerate() {
            let reply = side.sentinel(family)?;
            side.ids[index] = reply[8..16].try_into()?;
        }
        Ok(side)
    }

    fn frame(&self, case: &Case) -> Result<Vec<u8>> {
        let payload = case.payload(&self.ids);
        let (mut source, to) = (self.client.ip(case.family), self.server.ip(case.family));
        let (mut port, mut hops, mut udp_len) = (SOURCE_PORT, 64, (8 + payload.len()) as u16);
        let mut mac = self.server.mac();
        match case.fault {
            Fault::Source(ip) => source = ip.parse()?,
            Fault::SourcePort(other) => port = other,
            Fault::Hops(left) => hops = left,
            Fault::UdpLen(more) => udp_len = udp_len.wrapping_add_signed(more),
            Fault::Mac(other) => mac = other,
            _ => {}
        }
        let mut udp = [port, PORT, udp_len, 0].map(u16::to_be_bytes).concat();
        udp.extend(payload);
        let octets = |ip| match ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let addresses = [octets(source), octets(to)].concat();
        let summed = &udp[..udp.len().min(udp_len.into())];
        let checksum = match !sum(summed, u32::from(sum(&addresses, 17)) + u32::from(udp_len)) {
            0 => 0xffff,
            checksum => checksum,
        };
        if !matches!(case.fault, Fault::NoChecksum) {
            udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        let mut frame = [mac, self.client.mac()].concat();
        let len = udp.len() as u16;
        if source.is_ipv4() {
            let mut ip =
                [&[0x45, 0][..], &(len + 20).to_be_bytes(), &[0, 1, 0, 0, hops, 17, 0, 0]].concat();
            ip.extend(addresses);
            let checksum = !sum(&ip, 0);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend([&[8, 0][..], &ip].concat());
        } else {
            let ip = [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[17, hops], &addresses].concat();
            frame.extend([&[0x86, 0xdd][..], &ip].concat());
        }
        frame.extend(udp);
        match case.fault {
            // Not of the Ethernet header, and no other version of IP.
            Fault::Flip { at, by } => {
                let at = 15 + at % (frame.len() - 15);
                frame[at] ^= by;
            }
            Fault::Cut(bytes) => frame.truncate(frame.len() - bytes),
            Fault::Pad(bytes) => frame.resize(frame.len() + bytes, 0x5a),
            _ => {}
        }
        Ok(frame)
    }

    /// Sends the case's frame, and waits until the tracker has handled it.
    fn send(&mut self, case: &Case) -> Result<()> {
        self.wire.send(&self.frame(case)?)?;
        let family = case.family;
        self.exchange(&Case {
            family,
            transaction: *b"wait",
            kind: FENCE,
            torrent: 9,
            port: 7009,
            fault: Fault::None,
        })?;
        Ok(())
    }

    /// The reply to a connect.
    fn sentinel(&mut self, family: Family) -> Result<Vec<u8>> {
        let transaction = *b"wait";
        let case = Case { family, transaction, kind: 0, torrent: 0, port: 1, fault: Fault::None };
        self.exchange(&case)
    }

    /// Sends a request without fault, and waits for its reply.
    fn exchange(&mut self, case: &Case) -> Result<Vec<u8>> {
        let frame = self.frame(case)?;
        self.replies.remove(&case.transaction);
        self.wire.send(&frame)?;
        let end = Instant::now() + FENCE_TIME_MAX;
        while Instant::now() < end {
            self.collect(Duration::from_millis(20))?;
            if let Some(reply) = self.replies.get(&case.transaction) {
                return Ok(reply.clone());
            }
        }
        bail!("no reply to a request of kind {}", case.kind)
    }

    /// Takes the replies that have arrived, by transaction, and waits for one at most.
    fn collect(&mut self, patience: Duration) -> Result<()> {
        while let Some(frame) = self.wire.receive(patience)? {
            let udp = match (frame.get(12..14), frame.get(20), frame.get(23)) {
                (Some([8, 0]), _, Some(17)) => 34,
                (Some([0x86, 0xdd]), Some(17), _) => 54,
                _ => continue,
            };
            // Only what comes from the tracker's port.
            if frame.get(udp..udp + 2) != Some(&PORT.to_be_bytes()) {
                continue;
            }
            let len = usize::from(u16::from_be_bytes([frame[udp + 4], frame[udp + 5]]));
            let payload = frame.get(udp + 8..udp + len).context("a reply longer than its frame")?;
            let transaction = payload[4..8].try_into()?;
            self.replies.insert(transaction, payload.to_vec());
            return Ok(());
        }
        Ok(())
    }

    /// What was answered, by kind: the action, and of an error all of it.
    fn answered(&mut self, cases: &[Case]) -> Result<Vec<Option<Vec<u8>>>> {
        thread::sleep(PATIENCE);
        for _ in 0..cases.len() {
            self.collect(Duration::from_millis(1))?;
        }
        let replies = cases.iter().map(|case| self.replies.get(&case.transaction));
        Ok(replies
            .map(|reply| {
                reply.map(|reply| reply[..if reply[3] == 3 { reply.len() } else { 4 }].to_vec())
            })
            .collect())
    }

    /// The ports of a torrent's peers.
    fn ports(&mut self, family: Family, torrent: u8) -> Result<BTreeSet<[u8; 2]>> {
        let transaction = [b'p', torrent, family as u8, 0];
        let case = Case { family, transaction, kind: 4, torrent, port: 7000, fault: Fault::None };
        self.send(&case)?;
        let reply = eventually(|| {
            self.collect(Duration::from_millis(20))?;
            self.replies.get(&transaction).cloned().context("no reply to an announce")
        })?;
        let peer_bytes = if family == Family::Ipv4 { 6 } else { 18 };
        let peers = reply[20..].chunks_exact(peer_bytes);
        Ok(peers.map(|peer| [peer[peer_bytes - 2], peer[peer_bytes - 1]]).collect())
    }
}

fn what_the_stack_drops_is_not_answered(mode: Mode) -> Result<()> {
    let (count, seed) = (number("XDP_TRACKER_CASES", 1000), number("XDP_TRACKER_SEED", 20_261_201));
    let folders = [Scratch::new()?, Scratch::new()?];
    let (hosts, pass): (Vec<_>, Vec<XdpPass>) = [Host::pair()?, Host::pair()?].into_iter().unzip();
    let mut socket = Side::new(&hosts[0], Mode::Off, &folders[0])?;
    let mut kernel = Side::new(&hosts[1], mode, &folders[1])?;
    let mut rng = Rng::with_seed(seed);
    let cases: Vec<_> = (0..count).map(|number| Case::draw(&mut rng, number)).collect();
    for case in &cases {
        socket.send(case)?;
        kernel.send(case)?;
    }
    let replies = [socket.answered(&cases)?, kernel.answered(&cases)?];
    let answered = replies[0].iter().flatten().count();
    println!("{count} frames, {answered} of them answered from the socket");
    for ((case, socket), kernel) in cases.iter().zip(&replies[0]).zip(&replies[1]) {
        ensure!(
            socket == kernel,
            "{:?}, {:?}, kind {}: the socket's reply {socket:02x?}, the kernel's {kernel:02x?}",
            case.fault,
            case.family,
            case.kind
        );
    }
    ensure!(answered * 5 > count as usize, "only {answered} of {count} were answered at all");
    for family in [Family::Ipv4, Family::Ipv6] {
        for torrent in 0..3 {
            let ports = [socket.ports(family, torrent)?, kernel.ports(family, torrent)?];
            ensure!(ports[0] == ports[1], "{family:?}, torrent {torrent}: {ports:?}");
        }
    }
    drop(pass);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn what_the_stack_drops_is_not_answered_in_the_driver() -> Result<()> {
    what_the_stack_drops_is_not_answered(Mode::Native)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn what_the_stack_drops_is_not_answered_in_the_network_stack() -> Result<()> {
    what_the_stack_drops_is_not_answered(Mode::Generic)
}
