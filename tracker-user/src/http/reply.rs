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

/// The answer to an announce (BEP 3, 7, 23 and 24).
///
/// `peers` is there even when empty, and over IPv6: old clients need it.
pub(super) fn write_announce(out: &mut BytesMut, announce: &Announce, response: &AnnounceResponse) {
    dictionary(out, |reply| {
        reply.integer(b"complete", response.swarm.seeders);
        match announce.client {
            Some(IpAddr::V4(address)) => reply.string(b"external ip", &address.octets()),
            Some(IpAddr::V6(address)) => reply.string(b"external ip", &address.octets()),
            None => {}
        }
        reply.integer(b"incomplete", response.swarm.leechers);
        reply.integer(b"interval", response.interval_s);
        reply.integer(b"min interval", response.min_interval_s);
        let peers = response.peers.as_bytes();
        match (announce.compact, announce.request.peer) {
            (true, SocketAddr::V4(_)) => reply.string(b"peers", peers),
            (true, SocketAddr::V6(_)) => {
                reply.string(b"peers", b"");
                reply.string(b"peers6", peers);
            }
            (false, SocketAddr::V4(_)) => {
                let peers = peers.chunks_exact(V4::PEER_BYTES).map(|peer| {
                    let &[a, b, c, d, port @ ..] = peer.as_array::<{ V4::PEER_BYTES }>().unwrap();
                    SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes(port))
                });
                write_peers(reply, announce, peers);
            }
            (false, SocketAddr::V6(_)) => {
                let peers = peers.chunks_exact(V6::PEER_BYTES).map(|peer| {
                    let (address, port) = peer.split_first_chunk::<16>().unwrap();
                    let port = u16::from_be_bytes(port.try_into().unwrap());
                    SocketAddr::new(Ipv6Addr::from(*address).into(), port)
                });
                write_peers(reply, announce, peers);
            }
        }
    });
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
        if peer == announce.request.peer && !announce.no_peer_id {
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
