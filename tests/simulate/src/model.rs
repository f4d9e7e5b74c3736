//! What the table may hold, as those know who announced to it.

use tracker_common::{announce::Event, family::Family, id::InfoHash, table::swarm::Announce};

/// Peers of one torrent that a number can name.
pub const PEERS_MAX: u32 = 1 << 12;

/// A torrent of one address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torrent {
    pub number: u32,
    pub is_v6: bool,
}

impl Torrent {
    pub fn info_hash(self) -> InfoHash {
        let word = (self.number + 1).wrapping_mul(0x9e37_79b1).to_be_bytes();
        InfoHash(std::array::from_fn(|i| word[i % 4] ^ i as u8))
    }
}

/// A peer that announces to one torrent. Every part of its address tells all of this, so that one that
/// is put together of two is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    pub torrent: Torrent,
    pub number: u32,
}

impl Name {
    fn word(self) -> u32 {
        1 << 28 | self.torrent.number << 12 | self.number
    }

    fn port(self) -> [u8; 2] {
        (1024 + (self.word().wrapping_mul(0x85eb_ca6b) >> 17) as u16).to_be_bytes()
    }

    /// The peer as it is in a compact list, if its torrent is of this family.
    pub fn compact<F: Family>(self) -> ([u64; 2], [u8; 2]) {
        let word = u64::from(self.word());
        (if F::IS_V6 { [word | word << 32, !word] } else { [word, 0] }, self.port())
    }

    /// The peer that is meant by an address and a port.
    pub fn of<F: Family>(addr: [u64; 2], port: [u8; 2]) -> Option<Self> {
        let word = addr[0] as u32;
        let torrent = Torrent { number: word >> 12 & 0xffff, is_v6: F::IS_V6 };
        let name = Self { torrent, number: word % PEERS_MAX };
        (name.compact::<F>() == (addr, port)).then_some(name)
    }

    pub fn announce<F: Family>(self, role: Role, event: Event, seed: u32) -> Announce<F> {
        let (addr, port) = self.compact::<F>();
        let seeder = role == Role::Seeder;
        Announce { addr: F::from_words(addr), port, seeder, event, numwant: seed % 60, seed }
    }
}

/// The peers of a compact list; `None` for what is none.
pub fn names<F: Family>(list: &[u8]) -> Vec<Option<Name>> {
    let peers = list.chunks(F::PEER_BYTES);
    peers
        .map(|peer| {
            let (addr, port) = peer.split_at_checked(F::PEER_BYTES - 2)?;
            let mut words = [0; 16];
            words[..addr.len()].copy_from_slice(addr);
            let words = u128::from_ne_bytes(words);
            Name::of::<F>([words as u64, (words >> 64) as u64], [port[0], port[1]])
        })
        .collect()
}

/// What a peer is in its swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    Absent = 1,
    Leecher = 2,
    Seeder = 4,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub name: Name,
    /// The roles that it may have, as a set.
    roles: u8,
    /// Announces on their way.
    under_way: u32,
    /// Announces that the daemon has answered, and may yet have to apply.
    waiting: u32,
    /// Whether two of its announces have met, or a daemon has died over one: it may be there twice
    /// then, or have any of the roles that it announced.
    pub is_blurred: bool,
    /// Whether it ever was to be in its swarm.
    pub has_announced: bool,
    /// When it was last seen, at the earliest and at the latest.
    seen: [u64; 2],
}

impl Peer {
    pub fn new(name: Name) -> Self {
        let roles = Role::Absent as u8;
        Self {
            name,
            roles,
            under_way: 0,
            waiting: 0,
            is_blurred: false,
            has_announced: false,
            seen: [0; 2],
        }
    }

    /// Whether none of its announces is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    pub fn may_be(&self, role: Role) -> bool {
        self.roles & role as u8 != 0
    }

    /// Whether its role is known for certain.
    pub fn is_certain(&self) -> bool {
        !self.is_blurred && self.roles.count_ones() == 1
    }

    /// It sends an announce.
    pub fn begin(&mut self, role: Role) {
        self.is_blurred |= self.under_way + self.waiting > 0;
        self.under_way += 1;
        self.has_announced |= role != Role::Absent;
        self.roles |= role as u8;
    }

    /// The kernel has applied it.
    pub fn end(&mut self, role: Role, seen: [u64; 2]) {
        self.under_way -= 1;
        if !self.is_blurred {
            self.roles = role as u8;
            self.seen = seen;
        }
        self.seen[1] = seen[1];
    }

    /// The daemon has answered it.
    pub fn end_waiting(&mut self, seen: u64) {
        self.under_way -= 1;
        self.waiting += 1;
        self.seen[1] = seen;
    }

    /// The daemon has applied all that waited.
    pub fn applied(&mut self, role: Role, seen: [u64; 2], for_certain: bool) {
        self.waiting -= 1;
        if !self.is_blurred && for_certain {
            self.roles = role as u8;
            self.seen[0] = seen[0];
        }
        self.seen[1] = seen[1];
    }

    /// The daemon has died: over this announce, or while it waited, or before it was received.
    pub fn lost(&mut self, was_waiting: bool, was_received: bool, seen: u64) {
        self.seen[1] = seen;
        if was_waiting {
            self.waiting -= 1;
        } else {
            self.under_way -= 1;
        }
        self.is_blurred |= was_received;
    }

    /// What is wrong with how often it is there in each role, if anything is.
    pub fn complaint(&self, leecher: u32, seeder: u32, now: u64, lifetime: u64) -> Option<String> {
        let is_old = |seen: u64| now > seen + lifetime;
        let [first, last] = self.seen;
        if self.is_blurred {
            let strange = leecher > 0 && !self.may_be(Role::Leecher)
                || seeder > 0 && !self.may_be(Role::Seeder);
            let lost = leecher + seeder == 0 && !self.may_be(Role::Absent) && !is_old(first);
            return match (strange, lost) {
                (true, _) => Some("has a role that it never announced".to_owned()),
                (_, true) => Some("is lost".to_owned()),
                _ => None,
            };
        }
        if leecher + seeder > 1 {
            return Some("is there twice".to_owned());
        }
        let role = match (leecher, seeder) {
            (0, 0) => Role::Absent,
            (_, 0) => Role::Leecher,
            _ => Role::Seeder,
        };
        if role == Role::Absent && is_old(first) || self.may_be(role) && !is_old(last) {
            return None;
        }
        Some(format!("is {role:?} at {now}"))
    }
}
