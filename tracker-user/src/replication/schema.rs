//! What Redis holds, as Chihaya keeps it, so that both may use it at the same time.
//!
//! | key | type | field | value |
//! |---|---|---|---|
//! | `IPv4_S_<info-hash>`, `IPv4_L_…` | hash | peer: peer id (20), port (2, big-endian), address (4) | when it announced |
//! | `IPv4` | hash | each key of the above | when somebody announced |
//! | `IPv4_S_count`, `IPv4_L_count` | number | | peers |
//! | `IPv4_infohash_count` | number | | swarms of seeders |
//!
//! The same for `IPv6`, with addresses of 16 bytes. Info-hashes are hexadecimal. Times are nanoseconds since
//! 1970, in decimal.

use std::net::SocketAddr;

use tracker_common::{
    id::{InfoHash, PeerId},
    source::socket_can_be_a_peer,
};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Group {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of a peer.
    #[must_use]
    pub const fn of(peer: &SocketAddr) -> Self {
        if peer.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its name, which is the key of the hash that lists its swarms.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The seeders or the leechers of a torrent in one address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Swarm {
    /// The address family.
    pub group: Group,
    /// Seeders, and not leechers.
    pub is_seeders: bool,
    /// The torrent.
    pub info_hash: InfoHash,
}

impl Swarm {
    /// The key of the hash that has its peers.
    #[must_use]
    pub fn key(&self) -> String {
        let role = if self.is_seeders { 'S' } else { 'L' };
        format!("{}_{role}_{}", self.group.key(), self.info_hash)
    }

    /// The swarm with this key.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (group, rest) = key.split_at_checked(4)?;
        let group = Group::ALL.into_iter().find(|known| known.key().as_bytes() == group)?;
        let (role, digits) = rest.split_at_checked(3)?;
        let is_seeders = match role {
            b"_S_" => true,
            b"_L_" => false,
            _ => return None,
        };
        let info_hash = str::from_utf8(digits).ok()?.parse().ok()?;
        let swarm = Self { group, is_seeders, info_hash };
        // Capitals would make another key.
        (swarm.key().as_bytes() == key).then_some(swarm)
    }

    /// The key of the count of peers that these are among.
    #[must_use]
    pub fn count_key(&self) -> String {
        let role = if self.is_seeders { 'S' } else { 'L' };
        format!("{}_{role}_count", self.group.key())
    }
}

/// The key of the count of swarms of seeders, which Chihaya shows as the number of torrents.
#[must_use]
pub fn swarms_count_key(group: Group) -> String {
    format!("{}_infohash_count", group.key())
}

/// The field of a peer.
#[must_use]
pub fn field(peer_id: &PeerId, peer: &SocketAddr) -> Vec<u8> {
    let mut field = Vec::with_capacity(38);
    field.extend(peer_id.0);
    field.extend(peer.port().to_be_bytes());
    match peer {
        SocketAddr::V4(peer) => field.extend(peer.ip().octets()),
        SocketAddr::V6(peer) => field.extend(peer.ip().octets()),
    }
    field
}

/// The peer of a field in a swarm of this family. `None` for what no tracker may name.
#[must_use]
pub fn parse_field(group: Group, field: &[u8]) -> Option<SocketAddr> {
    let (_peer_id, rest) = field.split_first_chunk::<20>()?;
    let (port, address) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let peer: SocketAddr = match group {
        Group::V4 => (<[u8; 4]>::try_from(address).ok()?, port).into(),
        Group::V6 => (<[u8; 16]>::try_from(address).ok()?, port).into(),
    };
    socket_can_be_a_peer(peer).then_some(peer)
}

/// A time in nanoseconds since 1970.
#[must_use]
pub fn parse_time(value: &[u8]) -> Option<u64> {
    str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn keys_and_fields_are_chihayas() {
        let info_hash = HEX.parse().unwrap();
        let swarm = Swarm { group: Group::V6, is_seeders: false, info_hash };
        assert_eq!(swarm.key(), format!("IPv6_L_{HEX}"));
        assert_eq!(swarm.count_key(), "IPv6_L_count");
        assert_eq!(swarms_count_key(Group::V4), "IPv4_infohash_count");
        let field = field(&PeerId(*b"-XX0000-abcdefghijkl"), &"192.0.2.1:6881".parse().unwrap());
        assert_eq!(field, b"-XX0000-abcdefghijkl\x1a\xe1\xc0\x00\x02\x01");
        assert_eq!(parse_time(b"1700000000000000000"), Some(1_700_000_000_000_000_000));
    }

    #[test]
    fn what_is_not_chihayas_is_left_alone() {
        let upper = format!("IPv4_S_{}", HEX.to_uppercase());
        let short = format!("IPv4_S_{}", &HEX[1..]);
        for key in ["", "IPv4", "IPv4_S_count", "IPv4_infohash_count", "IPv5_S_", &upper, &short] {
            assert_eq!(Swarm::parse(key.as_bytes()), None, "{key}");
        }
        let mapped = field(&PeerId([1; 20]), &"[::ffff:192.0.2.1]:1".parse().unwrap());
        let broadcast = field(&PeerId([1; 20]), &"255.255.255.255:1".parse().unwrap());
        let no_port = field(&PeerId([1; 20]), &"192.0.2.1:0".parse().unwrap());
        assert_eq!(parse_field(Group::V6, &mapped), None);
        assert_eq!(parse_field(Group::V4, &broadcast), None);
        assert_eq!(parse_field(Group::V4, &no_port), None);
        assert_eq!(parse_time(b"-1"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            is_seeders: bool, info_hash: [u8; 20], peer_id: [u8; 20], port in 1..=u16::MAX,
            v4: [u8; 4], v6: [u8; 16],
        ) {
            for peer in [SocketAddr::from((v4, port)), SocketAddr::from((v6, port))] {
                let group = Group::of(&peer);
                let swarm = Swarm { group, is_seeders, info_hash: InfoHash(info_hash) };
                prop_assert_eq!(Swarm::parse(swarm.key().as_bytes()), Some(swarm));
                let read = parse_field(group, &field(&PeerId(peer_id), &peer));
                prop_assert_eq!(read, socket_can_be_a_peer(peer).then_some(peer));
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Swarm::parse(&bytes), parse_time(&bytes));
            let _ = Group::ALL.map(|group| parse_field(group, &bytes));
        }
    }
}
