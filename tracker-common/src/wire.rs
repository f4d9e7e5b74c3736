//! The UDP tracker protocol (BEP 15), as layouts that are read and written in place.
//!
//! All fields are byte arrays in network byte order, so that no layout needs alignment.

use crate::{
    announce::Event,
    id::{InfoHash, PeerId},
    policy::Rule,
    verifier::BranchlessBool,
};

/// What a connect request carries instead of a connection id.
pub const PROTOCOL_ID: [u8; 8] = 0x0417_2710_1980_u64.to_be_bytes();

/// Shorter packets are no request at all and are dropped without a reply.
pub const REQUEST_BYTES_MIN: usize = 16;

/// What a message is.
pub mod action {
    /// Asks for a connection id.
    pub const CONNECT: [u8; 4] = 0_u32.to_be_bytes();
    /// Joins, refreshes or leaves a swarm.
    pub const ANNOUNCE: [u8; 4] = 1_u32.to_be_bytes();
    /// Asks for the figures of swarms.
    pub const SCRAPE: [u8; 4] = 2_u32.to_be_bytes();
    /// Only in replies: a text for the user.
    pub const ERROR: [u8; 4] = 3_u32.to_be_bytes();
    /// opentracker's early IPv6 announce, with 16 bytes for the address.
    pub const ANNOUNCE_V6: [u8; 4] = 4_u32.to_be_bytes();
}

/// The first 16 bytes of every request.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RequestHead {
    /// From the reply to a connect, or [`PROTOCOL_ID`].
    pub connection_id: [u8; 8],
    /// One of [`action`].
    pub action: [u8; 4],
    /// Copied into the reply.
    pub transaction_id: [u8; 4],
}

/// An announce up to its address field, which is 4 bytes long, or 16 under action 4.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AnnounceHead {
    /// Common to all requests.
    pub head: RequestHead,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The client.
    pub peer_id: PeerId,
    /// Bytes fetched.
    pub downloaded: [u8; 8],
    /// Bytes still to fetch.
    pub left: [u8; 8],
    /// Bytes sent.
    pub uploaded: [u8; 8],
    /// See [`Event::from_wire`].
    pub event: [u8; 4],
}

/// What follows the address field of an announce.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AnnounceTail {
    /// Meant to recognise a client whose address has changed; unused.
    pub key: [u8; 4],
    /// How many peers the client wants; negative for the default.
    pub numwant: [u8; 4],
    /// Where the client listens.
    pub port: [u8; 2],
}

/// An announce, without the options that may follow (BEP 41).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AnnounceRequest {
    /// All before the address.
    pub fixed: AnnounceHead,
    /// The address that the client claims; zero for its source address.
    pub ip: [u8; 4],
    /// All after the address.
    pub tail: AnnounceTail,
}

/// The reply to a connect.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ConnectReply {
    /// [`action::CONNECT`].
    pub action: [u8; 4],
    /// The request's.
    pub transaction_id: [u8; 4],
    /// To be sent with the next requests.
    pub connection_id: [u8; 8],
}

/// The reply to an announce; compact peers follow.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AnnounceReply {
    /// The request's action.
    pub action: [u8; 4],
    /// The request's.
    pub transaction_id: [u8; 4],
    /// Seconds.
    pub interval: [u8; 4],
    /// Peers that fetch.
    pub leechers: [u8; 4],
    /// Peers that only give.
    pub seeders: [u8; 4],
}

/// The first bytes of the reply to a scrape (one [`ScrapeEntry`] for each info-hash follows) and
/// of an error (a NUL-terminated text follows).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ReplyHead {
    /// One of [`action`].
    pub action: [u8; 4],
    /// The request's.
    pub transaction_id: [u8; 4],
}

/// The figures of one swarm.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ScrapeEntry {
    /// Peers that only give.
    pub seeders: [u8; 4],
    /// Downloads completed.
    pub completed: [u8; 4],
    /// Peers that fetch.
    pub leechers: [u8; 4],
}

/// Info-hashes that fit a scrape whose reply fits one frame; more is not answered by the kernel.
pub const SCRAPE_MAX: u32 = 74;

const _: () = {
    assert!(size_of::<RequestHead>() == 16 && align_of::<RequestHead>() == 1);
    assert!(size_of::<AnnounceHead>() == 84 && align_of::<AnnounceHead>() == 1);
    assert!(size_of::<AnnounceRequest>() == 98 && align_of::<AnnounceRequest>() == 1);
    assert!(size_of::<ConnectReply>() == 16 && align_of::<ConnectReply>() == 1);
    assert!(size_of::<AnnounceReply>() == 20 && align_of::<AnnounceReply>() == 1);
    assert!(size_of::<ScrapeEntry>() == 12 && align_of::<ScrapeEntry>() == 1);
};

impl AnnounceHead {
    /// Why the client announces.
    #[inline(always)]
    #[must_use]
    pub fn event(&self) -> Event {
        Event::from_wire(u32::from_be_bytes(self.event))
    }

    /// Whether the peer has nothing left to fetch.
    #[inline(always)]
    #[must_use]
    pub fn is_seeder(&self) -> bool {
        // One in two is, in no order: a processor would guess wrong at a branch.
        let nothing_left = BranchlessBool::is_zero(u64::from_ne_bytes(self.left));
        let event = u32::from_ne_bytes(self.event);
        let completed = BranchlessBool::less((event ^ (Event::Completed as u32).to_be()) as u64, 1);
        nothing_left.or(completed).holds()
    }

    /// A number that differs from one announce to the next, to choose among peers by.
    #[inline(always)]
    #[must_use]
    pub const fn seed(&self) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.uploaded;
        let traffic = u64::from_be_bytes([a, b, c, d, e, f, g, h]) as u32;
        (u32::from_be_bytes(self.head.transaction_id) ^ traffic).wrapping_mul(0x9e37_79b1)
    }
}

/// How many peers to return: the client's wish within the limits, the default for a negative one.
#[inline(always)]
#[must_use]
pub const fn numwant(wish: [u8; 4], default: u32, max: u32) -> u32 {
    let wish = i32::from_be_bytes(wish);
    let wish = if wish < 0 { default } else { wish as u32 };
    if wish > max { max } else { wish }
}

/// Whether a request with a bad connection id is told so; anything else with one gets silence.
///
/// Told are whole requests only, by their action and by the length of the payload in bytes. No reply of a
/// tracker's is one: an error and a reply to a connect are too short, and in the place of a connection id
/// the others begin with an action. So two trackers never answer each other's replies, whatever the
/// source of the first datagram was.
#[inline(always)]
#[must_use]
pub const fn is_told_of_bad_id(head: &RequestHead, payload_len: usize) -> bool {
    const HASH_BYTES: usize = size_of::<InfoHash>();
    let [a, b, c, d, ..] = head.connection_id;
    if matches!(
        [a, b, c, d],
        action::ANNOUNCE | action::SCRAPE | action::ERROR | action::ANNOUNCE_V6
    ) {
        return false;
    }
    match head.action {
        action::ANNOUNCE => payload_len >= size_of::<AnnounceRequest>(),
        action::ANNOUNCE_V6 => payload_len >= size_of::<AnnounceRequest>() + 12,
        action::SCRAPE => {
            let hashes_len = payload_len.wrapping_sub(size_of::<RequestHead>());
            payload_len > size_of::<RequestHead>() && hashes_len.is_multiple_of(HASH_BYTES)
        }
        _ => false,
    }
}

/// Why a UDP request is refused; the texts are those of Chihaya.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Too short.
    MalformedPacket,
    /// Neither connect, announce nor scrape.
    UnknownAction,
    /// Expired, forged or another client's.
    BadConnectionId,
    /// Port 0.
    InvalidPort,
    /// A claimed address that no peer can have.
    InvalidIp,
    /// An approval hook refuses.
    Unapproved(Rule),
}

impl Failure {
    /// Bytes of the text and of the NUL behind it.
    #[inline(always)]
    #[must_use]
    pub const fn text_len(self) -> usize {
        self.text().len() + 1
    }

    /// What the client is told.
    #[inline(always)]
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::MalformedPacket => "malformed packet",
            Self::UnknownAction => "unknown action ID",
            Self::BadConnectionId => "bad connection ID",
            Self::InvalidPort => "invalid port",
            Self::InvalidIp => "invalid IP",
            Self::Unapproved(rule) => rule.text(),
        }
    }
}

/// BEP 41 options. Any other than these two without a length has a length byte and so many bytes.
pub mod option {
    /// Nothing follows.
    pub const END: u8 = 0;
    /// A byte of padding.
    pub const NOP: u8 = 1;
    /// A part of the tracker URL's path and query.
    pub const URL_DATA: u8 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numwant_is_clamped_and_negative_asks_for_the_default() {
        assert_eq!(numwant((-1_i32).to_be_bytes(), 50, 100), 50);
        assert_eq!(numwant(i32::MIN.to_be_bytes(), 50, 100), 50);
        assert_eq!(numwant(0_i32.to_be_bytes(), 50, 100), 0);
        assert_eq!(numwant(101_i32.to_be_bytes(), 50, 100), 100);
    }
}
