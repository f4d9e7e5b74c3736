//! Announces over UDP (BEP 15), as a client does.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
};

use anyhow::{Context as _, bail, ensure};
use tracker_common::wire::{PROTOCOL_ID, action};

use super::{Announce, LEFT, NUMWANT, PATIENCE, read_compact};

/// How often a request is sent when no answer comes.
const TRIES: u32 = 3;

/// Longer than any reply.
const REPLY_BYTES_MAX: usize = 4096;

/// Before the peers in the reply to an announce.
const HEAD_BYTES: usize = 20;

/// Announces to the tracker at `url`, and returns the peers that it is given.
pub(super) fn announce(url: &str, announce: &Announce) -> anyhow::Result<Vec<SocketAddr>> {
    let server = resolve(url)?;
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE / TRIES))?;

    let connected = ask(&socket, &PROTOCOL_ID, action::CONNECT, &[]).context("connect")?;
    let id = connected.first_chunk::<8>().context("connect: the reply has no connection id")?;
    let reply = ask(&socket, id, action::ANNOUNCE, &body(announce))?;
    let peers = reply.get(HEAD_BYTES - 8..).context("the reply is too short")?;
    read_compact(peers, server.is_ipv6())
}

fn resolve(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("udp://").context("is not written udp://host:port")?;
    let host_and_port = rest.split('/').next().unwrap_or_default();
    let mut addresses =
        host_and_port.to_socket_addrs().context("is not written udp://host:port")?;
    addresses.next().context("this host has no address")
}

/// What follows action and transaction id in the reply.
fn ask(socket: &UdpSocket, id: &[u8; 8], action: [u8; 4], body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let transaction = fastrand::u32(..).to_be_bytes();
    let request = [&id[..], &action, &transaction, body].concat();
    let mut reply = [0; REPLY_BYTES_MAX];
    for _ in 0..TRIES {
        socket.send(&request)?;
        let Some(len) = receive(socket, &mut reply, transaction)? else { continue };
        let (head, rest) = reply[..len].split_at(8);
        if head[..4] == action::ERROR {
            bail!("the tracker says: {}", String::from_utf8_lossy(rest).trim_end_matches('\0'));
        }
        ensure!(head[..4] == action, "the reply is to something else");
        return Ok(rest.to_vec());
    }
    bail!("no answer within {} seconds", PATIENCE.as_secs());
}

/// The length of the reply to this transaction; `None` when none comes in time.
fn receive(
    socket: &UdpSocket,
    reply: &mut [u8],
    transaction: [u8; 4],
) -> io::Result<Option<usize>> {
    loop {
        match socket.recv(reply) {
            Ok(len) if len >= 8 && reply[4..8] == transaction => return Ok(Some(len)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn body(announce: &Announce) -> Vec<u8> {
    [
        &announce.info_hash.0[..],
        &announce.peer_id.0,
        &0_u64.to_be_bytes(),
        &LEFT.to_be_bytes(),
        &0_u64.to_be_bytes(),
        &(announce.event as u32).to_be_bytes(),
        &[0; 4],
        &[0; 4],
        &NUMWANT.to_be_bytes(),
        &announce.port.to_be_bytes(),
    ]
    .concat()
}
