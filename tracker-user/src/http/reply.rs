//! Writes the replies: the keys of each are sorted, in bytes.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use bytes::BytesMut;
use tracker_common::{
    family::{Family, V4, V6},
    id::InfoHash,
};

use super::{
    announce::Announce,
    bencode::{Dictionary, dictionary},
};
use crate::pipeline::{AnnounceResponse, Refusal, SwarmStats};

/// Minutes until a client shall retry after a fault of ours (BEP 31), so that a storage that comes
/// back is not met by every client at once.
const RETRY_IN_MIN: u32 = 5;

/// The answer to an announce (BEP 3, 7, 23 and 24). `other` is that of the swarm of the other address family, where
/// the client is to have peers of both; the figures are the sums then.
///
/// `peers` is there even when empty, and over IPv6: old clients need it.
pub(super) fn write_announce(
    out: &mut BytesMut,
    announce: &Announce,
    response: &AnnounceResponse,
    other: Option<&AnnounceResponse>,
) {
    let mut swarm = response.swarm;
    if let Some(other) = other {
        swarm += other.swarm;
    }
    let is_v4 = announce.request.peer.is_ipv4();
    let (own, other) = (Some(response), other);
    let [v4, v6] = if is_v4 { [own, other] } else { [other, own] }
        .map(|response| response.map(|response| response.peers.as_bytes()));
    dictionary(out, |reply| {
        reply.integer(b"complete", swarm.seeders);
        reply.integer(b"downloaded", swarm.completed);
        match announce.client {
            Some(IpAddr::V4(address)) => reply.string(b"external ip", &address.octets()),
            Some(IpAddr::V6(address)) => reply.string(b"external ip", &address.octets()),
            None => {}
        }
        reply.integer(b"incomplete", swarm.leechers);
        reply.integer(b"interval", response.interval_s);
        reply.integer(b"min interval", response.min_interval_s);
        if announce.compact {
            reply.string(b"peers", v4.unwrap_or_default());
            if let Some(v6) = v6 {
                reply.string(b"peers6", v6);
            }
        } else {
            let v4 = v4.unwrap_or_default().as_chunks::<{ V4::PEER_BYTES }>().0;
            let v6 = v6.unwrap_or_default().as_chunks::<{ V6::PEER_BYTES }>().0;
            let peers = v4.iter().map(peer_v4).chain(v6.iter().map(peer_v6));
            write_peers(reply, announce, peers);
        }
    });
}

/// Clears a list that names but the announcer itself, where the other swarm has other peers. `own` are the
/// announcer's places in both; `is_in_both` where it has joined the second, too.
pub(super) fn name_itself_beside_none(
    own: [Option<SocketAddr>; 2],
    is_in_both: bool,
    [response, other]: [&mut AnnounceResponse; 2],
) {
    let peers = |response: &AnnounceResponse| {
        response.swarm.seeders.saturating_add(response.swarm.leechers)
    };
    let has_others = [peers(response) > 1, peers(other) > u32::from(is_in_both)];
    if has_others[1] && names_only(own[0], response) {
        response.peers.clear();
    }
    if has_others[0] && is_in_both && names_only(own[1], other) {
        other.peers.clear();
    }
}

fn names_only(own: Option<SocketAddr>, response: &AnnounceResponse) -> bool {
    let Some(own) = own else { return false };
    match response.peers.as_bytes() {
        [address @ .., high, low] => {
            let port = u16::from_be_bytes([*high, *low]);
            let is_there = match own.ip() {
                IpAddr::V4(ip) => *address == ip.octets(),
                IpAddr::V6(ip) => *address == ip.octets(),
            };
            is_there && port == own.port()
        }
        [] | [_] => false,
    }
}

fn peer_v4(&[a, b, c, d, high, low]: &[u8; V4::PEER_BYTES]) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
}

fn peer_v6(&[address @ .., high, low]: &[u8; V6::PEER_BYTES]) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(address).into(), u16::from_be_bytes([high, low]))
}

/// Peers as dictionaries. Swarms do not keep peer ids, so only the announcer's own is known.
fn write_peers(
    reply: &mut Dictionary,
    announce: &Announce,
    peers: impl Iterator<Item = SocketAddr>,
) {
    reply.list(b"peers", peers, |entry, peer| {
        let mut text = [0; 45];
        let mut rest = &mut text[..];
        write!(rest, "{}", peer.ip()).expect("the longest address has 45 characters");
        let length = 45 - rest.len();
        entry.string(b"ip", &text[..length]);
        let is_own = peer == announce.request.peer || Some(peer) == announce.also_at;
        if is_own && !announce.no_peer_id {
            entry.string(b"peer id", &announce.request.peer_id.0);
        }
        entry.integer(b"port", peer.port());
    });
}

/// The answer to a scrape (BEP 48). The info-hashes are sorted, each has its figures in `swarms`.
pub(super) fn write_scrape(out: &mut BytesMut, info_hashes: &[InfoHash], swarms: &[SwarmStats]) {
    dictionary(out, |reply| {
        reply.dictionary(b"files", |files| {
            for (info_hash, swarm) in info_hashes.iter().zip(swarms) {
                files.dictionary(&info_hash.0, |file| {
                    file.integer(b"complete", swarm.seeders);
                    file.integer(b"downloaded", swarm.completed);
                    file.integer(b"incomplete", swarm.leechers);
                });
            }
        });
    });
}

/// The answer to what is refused.
pub(super) fn write_refusal(out: &mut BytesMut, refusal: &Refusal) {
    dictionary(out, |reply| match refusal {
        Refusal::Client(reason) => reply.string(b"failure reason", reason.as_bytes()),
        Refusal::Internal(_) | Refusal::Pending(_) => {
            reply.string(b"failure reason", b"internal server error");
            reply.integer(b"retry in", RETRY_IN_MIN);
        }
    });
}
