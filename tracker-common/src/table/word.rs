//! A peer as one 64-bit word, so that joining, refreshing and leaving are each one compare-and-swap.
//!
//! In memory order (the table is little-endian): four bytes of address, two of port in network
//! byte order, then `seeder:1 | seen:15`. The first six bytes are a compact peer (BEP 23) as it
//! is. Of an IPv6 address the word holds a fingerprint; the address stands beside it.

use crate::{family::Family, hash::TableKey, time::Clock};

#[cfg(not(target_endian = "little"))]
compile_error!("the swarm table is laid out for little-endian hosts");

/// The bits that name a peer within its swarm: address (or fingerprint) and port.
const KEY_MASK: u64 = (1 << 48) - 1;
const PORT_MASK: u64 = 0xffff << 32;
const SEEDER: u64 = 1 << 48;
const SEEN_SHIFT: u32 = 49;

/// The name of a peer within its swarm. Never zero, since port 0 is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerKey(u64);

impl PeerKey {
    #[inline(always)]
    pub(crate) fn new<F: Family>(key: &TableKey, addr: &F::Addr, port: [u8; 2]) -> Self {
        let addr = if F::IS_V6 { key.addr::<F>(addr) & 0xffff_ffff } else { F::words(addr)[0] };
        Self(addr | (u16::from_ne_bytes(port) as u64) << 32)
    }
}

/// What a slot holds: nothing (zero), a claim, or a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerWord(pub u64);

impl PeerWord {
    pub(crate) const VACANT: Self = Self(0);

    #[inline(always)]
    pub(crate) fn new(key: PeerKey, seeder: bool, clock: &Clock) -> Self {
        Self(key.0 | (seeder as u64) << 48 | (clock.tick() as u64) << SEEN_SHIFT)
    }

    /// Holds a slot while the address beside it is being written. Goes stale like a peer, should
    /// the writer die.
    #[inline(always)]
    pub(crate) fn claim(clock: &Clock) -> Self {
        Self(1 | (clock.tick() as u64) << SEEN_SHIFT)
    }

    #[inline(always)]
    pub(crate) fn key(self) -> PeerKey {
        PeerKey(self.0 & KEY_MASK)
    }

    #[inline(always)]
    pub(crate) fn is_peer(self) -> bool {
        self.0 & PORT_MASK != 0
    }

    #[inline(always)]
    pub(crate) fn is_seeder(self) -> bool {
        self.0 & SEEDER != 0
    }

    #[inline(always)]
    pub(crate) fn is_stale(self, clock: &Clock) -> bool {
        clock.is_stale((self.0 >> SEEN_SHIFT) as u32)
    }

    /// A peer that may be handed out.
    #[inline(always)]
    pub(crate) fn is_live(self, clock: &Clock) -> bool {
        self.is_peer() && !self.is_stale(clock)
    }

    /// Whether a newcomer may take the slot.
    #[inline(always)]
    pub(crate) fn is_free(self, clock: &Clock) -> bool {
        self.0 == 0 || self.is_stale(clock)
    }

    /// Port in network byte order.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        (self.0 >> 32) as u16
    }
}
