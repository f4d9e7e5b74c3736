//! What the load generator's programs share with those who drive them: the maps, and how clients
//! and torrents are numbered.
//!
//! The programs know nothing of profiles. They play a list of requests from its first to its last
//! and again; whoever makes the list decides what a load looks like.
#![no_std]

use tracker_common::id::{InfoHash, PeerId};

/// Names of the programs and maps.
pub mod name {
    /// Plays the list: run with `BPF_PROG_TEST_RUN` in live-frames mode.
    pub const GENERATE: &str = "generate";
    /// Counts and drops replies: attached where they arrive.
    pub const COUNT: &str = "count";
    /// Sends every UDP datagram back as it came: the least that a reply can cost.
    pub const ECHO: &str = "echo";
    /// Array of one [`Target`](super::Target).
    pub const TARGET: &str = "TARGET";
    /// Array of [`Request`](super::Request)s.
    pub const REQUESTS: &str = "REQUESTS";
    /// Array of the connection ids that came in replies to connects, by client.
    pub const CONNECTION_IDS: &str = "CONNECTION_IDS";
    /// Array of [`Player`](super::Player)s, by processor.
    pub const PLAYERS: &str = "PLAYERS";
    /// Array of [`Tally`](super::Tally)s, by processor.
    pub const TALLIES: &str = "TALLIES";
    /// Array of [`Histogram`](super::Histogram)s, by processor.
    pub const HISTOGRAMS: &str = "HISTOGRAMS";
    /// Ring buffer of [`Sample`](super::Sample)s.
    pub const SAMPLES: &str = "SAMPLES";
}

/// Processors that generators can run on.
pub const PROCESSORS_MAX: usize = 64;

/// Requests that a list can hold: what a transaction id has room to number.
pub const REQUESTS_MAX: u32 = 1 << Ticket::INDEX_BITS;

/// Whom to ask, and how closely to look at the replies.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Target {
    /// The tracker's MAC address.
    pub mac: [u8; 6],
    /// That of the interface where requests leave.
    pub source_mac: [u8; 6],
    /// The tracker's IPv4 address.
    pub v4: [u8; 4],
    /// The tracker's IPv6 address.
    pub v6: [u8; 16],
    /// Its UDP port, in network byte order.
    pub port: [u8; 2],
    /// Processors that replies may arrive at.
    pub processors: u16,
    /// A reply whose number has none of these bits goes to the samples; `u32::MAX` for next to none.
    pub sample_mask: u32,
    /// Whether transaction ids are the time that requests leave, not [`Ticket`]s; 0 or 1. Then times to
    /// the reply go to the histograms.
    pub timed: u32,
}

/// A request of the list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Request {
    /// As it came in the reply to the client's connect.
    pub connection_id: [u8; 8],
    /// Who asks: a number that stands for an address.
    pub client: u32,
    /// What for: a number that stands for an info-hash.
    pub torrent: u32,
    /// Where the client listens, and what it sends from.
    pub port: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// As in the announce: 0 none, 1 completed, 2 started, 3 stopped.
    pub event: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// What [`Request::kind`] says: the action of the protocol.
pub mod kind {
    /// Asks for a connection id.
    pub const CONNECT: u8 = 0;
    /// Announces a peer.
    pub const ANNOUNCE: u8 = 1;
    /// Scrapes one torrent.
    pub const SCRAPE: u8 = 2;
}

/// What [`Request::flags`] says.
pub mod flag {
    /// The client has an IPv6 address.
    pub const V6: u8 = 1;
    /// The client has nothing left to fetch.
    pub const SEEDER: u8 = 2;
    /// The client has an IPv6 address of the site that attacks come from, not one of its own.
    pub const SITE: u8 = 4;
}

/// What can be wrong with a request on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The connection id was never issued.
    ConnectionId,
    /// The info-hash is another one each time.
    InfoHash,
    /// The message ends before its info-hash does.
    Truncated,
    /// The packet is the first fragment of a larger one.
    Fragment,
    /// The peer's port is another one each time.
    Port,
    /// The announce has more options (BEP 41) than the kernel tells hooks of.
    Options,
    /// The action is none.
    Action,
}

/// What [`Player::attack`] says.
pub mod attack {
    /// The first four of [`Fault`](super::Fault) in turn, in requests of the list.
    pub const MIXED: u32 = 0;
    /// The attackers' requests, with [`Fault::Port`](super::Fault::Port).
    pub const PORTS: u32 = 1;
    /// The same with [`Fault::InfoHash`](super::Fault::InfoHash).
    pub const INFO_HASHES: u32 = 2;
    /// The same with [`Fault::Options`](super::Fault::Options).
    pub const OPTIONS: u32 = 3;
    /// The same with [`Fault::Action`](super::Fault::Action).
    pub const ACTIONS: u32 = 4;
}

/// The part of the list that one processor plays, how, and how far it is.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
pub struct Player {
    /// The first request.
    pub first: u32,
    /// The one after the last.
    pub end: u32,
    /// The next.
    pub next: u32,
    /// How often the last has been played.
    pub lap: u32,
    /// Requests with a fault that follow each one without.
    pub faults: u32,
    /// How many of them are still to come before the next without.
    pub faults_left: u32,
    /// Requests to be sent yet, with faults and without.
    pub remaining: u64,
    /// Requests sent, likewise.
    pub sent: u64,
    /// Nothing is sent before this time of the monotonic clock, in ns; 0 for no such time.
    pub due_ns: u64,
    /// Time between two requests in ns; 0 for no pause. What is much overdue is left out.
    pub interval_ns: u64,
    /// How many requests may wait for their replies; 0 for any number. For one player only.
    pub window: u64,
    /// Replies of all processors before the first request.
    pub replied_before: u64,
    /// Replies since then, when they were last looked at.
    pub replied: u64,
    /// When there had last been more of them.
    pub progress_ns: u64,
    /// Requests that are no longer waited for.
    pub lost: u64,
    /// What requests with a fault are: one of [`attack`].
    pub attack: u32,
    /// The first of the attackers' requests, which are no part of what is played.
    pub attackers_first: u32,
    /// How many they are.
    pub attackers: u32,
    /// Zero.
    pub _pad: u32,
}

impl Player {
    /// Requests without a reply for this long are lost, in ns.
    pub const PATIENCE_NS: u64 = 100_000_000;

    /// Requests that wait for their replies.
    #[inline(always)]
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.sent.saturating_sub(self.replied + self.lost)
    }
}

/// What one processor has counted.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
pub struct Tally {
    /// Replies to requests without fault, by action: connect, announce, scrape, error.
    pub replies: [u64; 4],
    /// Replies to requests with a fault.
    pub faulty: [u64; 4],
    /// Bytes of all these, with their Ethernet headers.
    pub bytes: u64,
}

impl Tally {
    /// All replies.
    #[inline(always)]
    #[must_use]
    pub const fn all(&self) -> u64 {
        let [a, b, c, d] = self.replies;
        let [e, f, g, h] = self.faulty;
        a + b + c + d + e + f + g + h
    }
}

/// Room for a reply; frames are shorter. A power of two.
pub const SAMPLE_BYTES: usize = 2048;

/// A reply, from its Ethernet header on.
#[repr(C)]
pub struct Sample {
    /// How much of `frame` is filled.
    pub len: u32,
    /// The frame.
    pub frame: [u8; SAMPLE_BYTES],
}

/// Times to the reply, in buckets.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Histogram {
    /// How many fell into each.
    pub counts: [u64; Self::BUCKETS],
}

impl Histogram {
    /// Buckets that times of less than 2^31 ns fall into, rounded up to a power of two.
    pub const BUCKETS: usize = 1024;

    /// Each octave has 2^5 buckets.
    const FINENESS: u32 = 5;

    /// The bucket of a time of less than 2^31 ns.
    #[inline(always)]
    #[must_use]
    pub const fn bucket(ns: u32) -> u32 {
        if ns < 1 << Self::FINENESS {
            return ns;
        }
        let octave = 31 - ns.leading_zeros() - Self::FINENESS;
        (octave << Self::FINENESS) + (ns >> octave)
    }

    /// The least time that falls into a bucket, in ns.
    #[must_use]
    pub const fn ns(bucket: u32) -> u32 {
        if bucket < 2 << Self::FINENESS {
            return bucket;
        }
        let octave = (bucket >> Self::FINENESS) - 1;
        (bucket - (octave << Self::FINENESS)) << octave
    }
}

/// The transaction id of a request: which one of the list it was, and in which lap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(pub u32);

impl Ticket {
    const INDEX_BITS: u32 = 24;
    const FAULTY: u32 = 1 << 31;

    /// The ticket of the request at `index` of the list.
    #[inline(always)]
    #[must_use]
    pub const fn new(index: u32, lap: u32, faulty: bool) -> Self {
        let lap = lap << Self::INDEX_BITS & !Self::FAULTY;
        Self(if faulty { Self::FAULTY } else { 0 } | lap | index)
    }

    /// Where in the list the request is.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 & (REQUESTS_MAX - 1)
    }

    /// A time in place of a ticket: that of a request without fault.
    #[inline(always)]
    #[must_use]
    pub const fn timed(now_ns: u64) -> Self {
        Self(now_ns as u32 & !Self::FAULTY)
    }

    /// The time since such a ticket was made, in ns; less than 2^31.
    #[inline(always)]
    #[must_use]
    pub const fn age_ns(self, now_ns: u64) -> u32 {
        (now_ns as u32).wrapping_sub(self.0) & !Self::FAULTY
    }

    /// Whether something was wrong with the request on purpose.
    #[inline(always)]
    #[must_use]
    pub const fn is_faulty(self) -> bool {
        self.0 & Self::FAULTY != 0
    }
}

/// An odd factor and its inverse modulo 2^32: neighbouring numbers get addresses far apart.
const SPREAD: u32 = 0x9e37_79b1;
const GATHER: u32 = inverse(SPREAD);

/// IPv4 clients live in 32.0.0.0/4.
const V4_PREFIX: u32 = 0x2000_0000;
const V4_MASK: u32 = 0x0fff_ffff;

/// IPv6 clients live in a /64 each, below this /32.
const V6_PREFIX: u32 = 0x2001_0db8;

const fn inverse(odd: u32) -> u32 {
    // Newton's method: each step doubles the number of right bits, of which an odd number has three.
    let mut inverse = odd;
    let mut step = 0;
    while step < 4 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

/// The IPv4 address of a client, of which there are 2^28.
#[inline(always)]
#[must_use]
pub const fn client_v4(client: u32) -> [u8; 4] {
    (V4_PREFIX | client.wrapping_mul(SPREAD) & V4_MASK).to_be_bytes()
}

/// The client of an IPv4 address.
#[inline(always)]
#[must_use]
pub const fn client_of_v4(addr: [u8; 4]) -> u32 {
    u32::from_be_bytes(addr).wrapping_mul(GATHER) & V4_MASK
}

/// The IPv6 address of a client.
#[inline(always)]
#[must_use]
pub const fn client_v6(client: u32) -> [u8; 16] {
    let site = client.wrapping_mul(SPREAD);
    let prefix = (V6_PREFIX as u64) << 32 | site as u64;
    let [a, b, c, d, e, f, g, h] = prefix.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = scramble(client as u64).to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The last /48 of the clients' /32, where attacks come from, and what begins an interface's address there.
const SITE: [u8; 2] = [0xff, 0xff];
const SITE_HOST: [u8; 4] = [0xff, 0xff, 0xff, 0xff];

/// The IPv6 address of a client with [`flag::SITE`]: a /64 each, of one /48.
#[inline(always)]
#[must_use]
pub const fn client_of_site(client: u32) -> [u8; 16] {
    let [a, b, c, d] = V6_PREFIX.to_be_bytes();
    let [e, f] = SITE;
    let [i, j, k, l] = SITE_HOST;
    let [m, n, o, p] = client.to_be_bytes();
    [a, b, c, d, e, f, o, p, i, j, k, l, m, n, o, p]
}

/// The client of an IPv6 address.
#[inline(always)]
#[must_use]
pub const fn client_of_v6(addr: &[u8; 16]) -> u32 {
    let [_, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l] = *addr;
    if u32::from_be_bytes([e, f, g, h]) == u32::from_be_bytes(SITE_HOST) {
        return u32::from_be_bytes([i, j, k, l]);
    }
    u32::from_be_bytes([a, b, c, d]).wrapping_mul(GATHER)
}

/// The info-hash of a torrent.
#[inline(always)]
#[must_use]
pub const fn info_hash(torrent: u32) -> InfoHash {
    let first = scramble(torrent as u64 + 1);
    let second = first.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let [a, b, c, d, e, f, g, h] = first.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = second.to_be_bytes();
    let [q, r, s, t] = torrent.to_be_bytes();
    InfoHash([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t])
}

/// What a client calls itself.
#[inline(always)]
#[must_use]
pub const fn peer_id(client: u32, port: u16) -> PeerId {
    let [a, b, c, d] = client.to_be_bytes();
    let [e, f] = port.to_be_bytes();
    let [i, j, k, l, m, n] = *b"-LG001";
    PeerId([i, j, k, l, m, n, b'-', a, b, c, d, e, f, a, b, c, d, e, f, 0])
}

/// A bijection that looks random.
#[inline(always)]
const fn scramble(number: u64) -> u64 {
    let mut h = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^= h >> 32;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ h >> 29
}

const _: () = {
    assert!(size_of::<Target>() == 44);
    assert!(size_of::<Request>() == 24);
    assert!(size_of::<Player>() == 128);
    assert!(size_of::<Tally>() == 128);
    assert!(SPREAD.wrapping_mul(GATHER) == 1);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_by_its_address() {
        for client in [0, 1, 77_777, V4_MASK] {
            assert_eq!(client_of_v4(client_v4(client)), client);
            assert_eq!(client_of_v6(&client_v6(client)), client);
            assert_eq!(client_of_v6(&client_of_site(client)), client);
        }
    }

    #[test]
    fn times_fall_into_buckets_that_begin_no_later_and_end_soon_after() {
        for ns in [0, 1, 31, 32, 33, 63, 64, 100, 12_345, 1 << 30, (1 << 31) - 1] {
            let bucket = Histogram::bucket(ns);
            assert!((bucket as usize) < Histogram::BUCKETS);
            assert!(Histogram::ns(bucket) <= ns && ns < Histogram::ns(bucket + 1), "{ns}");
        }
        assert_eq!(Histogram::ns(Histogram::bucket(1000)), 992);
    }

    #[test]
    fn a_ticket_tells_its_request() {
        let ticket = Ticket::new(REQUESTS_MAX - 1, 300, true);
        assert_eq!((ticket.index(), ticket.is_faulty()), (REQUESTS_MAX - 1, true));
        assert!(!Ticket::new(5, 127, false).is_faulty());
    }
}
