//! Requests of a small world's clients, drawn at random.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;

use super::{Both, wire, world::REFUSED};

/// A client of a small world, in which swarms meet, grow and shrink.
pub fn client(rng: &mut Rng) -> SocketAddr {
    let n = rng.u8(1..);
    let ip: IpAddr = if rng.bool() {
        Ipv4Addr::new(198, 51, 100, n).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n.into()).into()
    };
    SocketAddr::new(ip, rng.u16(1024..))
}

/// Torrents whose last byte is high are announced by few, so that they stay in one line.
fn info_hash(rng: &mut Rng, source: SocketAddr) -> [u8; 20] {
    let kind = rng.u8(..);
    let last = match source.ip() {
        IpAddr::V4(addr) => addr.octets()[3],
        IpAddr::V6(addr) => addr.octets()[15],
    };
    match kind {
        0..8 => REFUSED.0,
        8..16 => [1 + kind % 4; 20],
        16..90 => [5; 20],
        _ => [100 + last / 2; 20],
    }
}

/// One of the requests that clients send, sometimes a damaged one.
pub fn request(rng: &mut Rng, both: &Both, source: SocketAddr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    let transaction = rng.u32(..).to_be_bytes();
    match rng.u8(..20) {
        0 => {
            let id = if rng.u8(..8) == 0 { rng.u64(..).to_be_bytes() } else { wire::PROTOCOL_ID };
            packet.extend([&id[..], &wire::action::CONNECT, &transaction].concat());
        }
        1 | 2 => {
            packet.extend([&both.id(source)[..], &wire::action::SCRAPE, &transaction].concat());
            let count_max = if rng.bool() { 80 } else { 3 };
            for _ in 0..rng.u8(..count_max) {
                packet.extend(info_hash(rng, source));
            }
        }
        3 => {
            let action = rng.u32(..6).to_be_bytes();
            packet.extend([&both.id(source)[..], &action, &transaction].concat());
            packet.extend((0..rng.usize(..120)).map(|_| rng.u8(..)));
        }
        _ => announce(rng, both, source, transaction, &mut packet),
    }
    match rng.u8(..40) {
        0 => packet.truncate(rng.usize(..=packet.len())),
        1 if !packet.is_empty() => {
            let at = rng.usize(..packet.len());
            packet[at] ^= 1 << rng.u8(..8);
        }
        2 => packet.extend((0..rng.usize(..8)).map(|_| rng.u8(..4))),
        _ => {}
    }
    packet
}

/// One of the five events (BEP 15, BEP 21), or a number without a meaning.
fn event(rng: &mut Rng) -> u32 {
    match rng.u8(..16) {
        0 => [5, 77, 0x101, 0x203, 0xffff_ff03, u32::MAX][rng.usize(..6)],
        _ => rng.u32(..5),
    }
}

fn announce(
    rng: &mut Rng,
    both: &Both,
    source: SocketAddr,
    transaction: [u8; 4],
    packet: &mut Vec<u8>,
) {
    let id = if rng.u8(..30) == 0 { rng.u64(..).to_be_bytes() } else { both.id(source) };
    packet.extend([&id[..], &wire::action::ANNOUNCE, &transaction].concat());
    packet.extend(info_hash(rng, source));
    packet.extend([rng.u8(..4); 20]);
    packet.extend([0; 8]);
    packet.extend(u64::from(rng.bool()).to_be_bytes());
    packet.extend(rng.u64(..1000).to_be_bytes());
    packet.extend(event(rng).to_be_bytes());
    packet.extend([0; 8]);
    let numwant = [-1, 0, 1, 3, 50, 100, 1000, i32::MIN][rng.usize(..8)];
    packet.extend(numwant.to_be_bytes());
    let port = if rng.u8(..30) == 0 { 0 } else { 6881 + rng.u16(..4) };
    packet.extend(port.to_be_bytes());
    match rng.u8(..8) {
        0 => packet.extend(b"\x02\x09/announce"),
        1 => packet.extend(b"\x01\x01\x02\x04/a?x\x00"),
        // Known and unknown, whole and cut short.
        2 => packet.extend([rng.u8(..5), rng.u8(..20), rng.u8(..)]),
        3 => packet.extend(b"\x07\x03abc\xff\x00\x02\x09/announce"),
        _ => {}
    }
}
