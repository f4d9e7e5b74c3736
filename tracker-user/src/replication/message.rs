//! What trackers tell each other: the changes of one batch, on a channel of Redis. Numbers are big-endian.
//!
//! ```text
//! version: 1 | sender: u64
//! change, any number:  flags | age, ticks of 2^32 ns: u16 | info-hash: 20 | port: u16 | address: 4 or 16
//! flags:               state: 0 leecher, 1 seeder, 2 gone | 4: completed | 8: IPv6
//! ```

use std::net::SocketAddr;

use tracker_common::{id::InfoHash, source::socket_can_be_a_peer, time::ticks_ns};

use super::change::{Change, Key, State};

const VERSION: u8 = 1;
const STATE: u8 = 3;
const COMPLETED: u8 = 4;
const IPV6: u8 = 8;

/// The channel of a database. Redis has one set of channels for all of them.
#[must_use]
pub fn channel(database: u32) -> String {
    format!("xdp-tracker:{database}")
}

/// A change that another tracker has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: SocketAddr,
    /// What it has become.
    pub state: State,
    /// It has completed the download.
    pub completed: bool,
    /// How long ago, in ticks of [`tracker_common::time`].
    pub age: u16,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is of a version that this one does not know.
    #[error("a message of version {0}, and this xdp-tracker reads version {VERSION}")]
    Version(u8),
    /// It ends within a change.
    #[error("a message that ends too early")]
    Short,
    /// It says what cannot be.
    #[error("a message that makes no sense")]
    Senseless,
}

/// So many ticks have passed between the two moments.
pub(super) fn age(at_ns: u64, now_ns: u64) -> u16 {
    u16::try_from(now_ns.saturating_sub(at_ns) / ticks_ns(1)).unwrap_or(u16::MAX)
}

pub(super) fn encode(sender: u64, changes: &[(Key, Change)], now_ns: u64) -> Vec<u8> {
    let mut message = Vec::with_capacity(9 + 41 * changes.len());
    message.push(VERSION);
    message.extend(sender.to_be_bytes());
    for ((info_hash, peer), change) in changes {
        let completed = if change.completed { COMPLETED } else { 0 };
        let family = if peer.is_ipv4() { 0 } else { IPV6 };
        message.push(change.state as u8 | completed | family);
        message.extend(age(change.at_ns, now_ns).to_be_bytes());
        message.extend(info_hash.0);
        message.extend(peer.port().to_be_bytes());
        match peer {
            SocketAddr::V4(peer) => message.extend(peer.ip().octets()),
            SocketAddr::V6(peer) => message.extend(peer.ip().octets()),
        }
    }
    message
}

/// Reads a message: its sender and the changes.
///
/// # Errors
/// See [`MessageError`].
pub fn decode(message: &[u8]) -> Result<(u64, Vec<Heard>), MessageError> {
    let mut rest = message;
    match take::<1>(&mut rest)? {
        [VERSION] => {}
        [version] => return Err(MessageError::Version(version)),
    }
    let sender = u64::from_be_bytes(take(&mut rest)?);
    let mut changes = Vec::with_capacity(rest.len() / 29);
    while !rest.is_empty() {
        let change = change(&mut rest)?;
        // A tracker of another version may let others into its swarms.
        if socket_can_be_a_peer(change.peer) {
            changes.push(change);
        }
    }
    Ok((sender, changes))
}

fn change(rest: &mut &[u8]) -> Result<Heard, MessageError> {
    let [flags] = take(rest)?;
    let state = match flags & STATE {
        0 => State::Leecher,
        1 => State::Seeder,
        2 => State::Gone,
        _ => return Err(MessageError::Senseless),
    };
    let age = u16::from_be_bytes(take(rest)?);
    let info_hash = InfoHash(take(rest)?);
    let port = u16::from_be_bytes(take(rest)?);
    let peer: SocketAddr = if flags & IPV6 == 0 {
        (take::<4>(rest)?, port).into()
    } else {
        (take::<16>(rest)?, port).into()
    };
    let is_mapped = peer.ip().to_canonical() != peer.ip();
    if port == 0 || is_mapped || flags & !(STATE | COMPLETED | IPV6) != 0 {
        return Err(MessageError::Senseless);
    }
    Ok(Heard { info_hash, peer, state, completed: flags & COMPLETED != 0, age })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], MessageError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(MessageError::Short)?;
    *rest = after;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tracker_common::id::PeerId;

    const NOW: u64 = 1_700_000_000_000_000_000;

    fn changes() -> impl Strategy<Value = Vec<(Key, Change)>> {
        let peer = (any::<bool>(), 1..224_u8, any::<[u8; 3]>(), 1..=u16::MAX);
        let peer = peer.prop_map(|(is_v4, a, [b, c, d], port)| {
            let ip = [a, b, c, d];
            let v6 = [0x20; 16];
            if is_v4 { SocketAddr::from((ip, port)) } else { SocketAddr::from((v6, port)) }
        });
        let one = (any::<[u8; 20]>(), peer, 0..3_usize, any::<bool>(), 0..NOW);
        let one = one.prop_map(|(info_hash, peer, state, completed, ago)| {
            let state = [State::Leecher, State::Seeder, State::Gone][state];
            let at_ns = NOW - ago;
            let change = Change { peer_id: PeerId([1; 20]), state, completed, at_ns };
            ((InfoHash(info_hash), peer), change)
        });
        prop::collection::vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_sent_is_heard(changes in changes(), sender: u64) {
            let (from, heard) = decode(&encode(sender, &changes, NOW)).unwrap();
            prop_assert_eq!(from, sender);
            let expected = changes.iter().map(|&((info_hash, peer), change)| {
                let Change { state, completed, at_ns, .. } = change;
                Heard { info_hash, peer, state, completed, age: age(at_ns, NOW) }
            });
            prop_assert_eq!(heard, expected.collect::<Vec<_>>());
        }

        #[test]
        fn a_message_that_is_cut_off_is_noticed(changes in changes(), cut in 1..9_usize) {
            let message = encode(7, &changes, NOW);
            prop_assert!(decode(&message[..message.len() - cut]).is_err());
        }

        #[test]
        fn any_bytes_are_read_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(decode(&[]), Err(MessageError::Short));
        assert_eq!(decode(&[2; 9]), Err(MessageError::Version(2)));
        let key = (InfoHash([1; 20]), "192.0.2.1:0".parse().unwrap());
        let peer_id = PeerId([1; 20]);
        let change = Change { peer_id, state: State::Gone, completed: false, at_ns: NOW };
        assert_eq!(decode(&encode(1, &[(key, change)], NOW)), Err(MessageError::Senseless));
        let mut message = encode(1, &[((key.0, "192.0.2.1:1".parse().unwrap()), change)], NOW);
        assert!(decode(&message).is_ok());
        for flags in [3, 16] {
            message[9] = flags;
            assert_eq!(decode(&message), Err(MessageError::Senseless));
        }
    }

    #[test]
    fn channels_of_databases_differ() {
        assert_ne!(channel(0), channel(1));
    }
}
