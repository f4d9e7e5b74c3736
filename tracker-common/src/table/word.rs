//! A peer as one 64-bit word, so that joining, refreshing and leaving are each one compare-and-swap.
//!
//! In memory order (the table is little-endian): four bytes of address, two of port in network
//! byte order, then `seeder:1 | seen:15`. The first six bytes are a compact peer (BEP 23) as it
//! is. Of an IPv6 address the word holds a fingerprint; the address stands beside it.

use crate::{family::Family, hash::TableKey, time::Clock, verifier::BranchlessBool};

#[cfg(not(target_endian = "little"))]
compile_error!("the swarm table is laid out for little-endian hosts");

/// Bits above those that name a peer within its swarm: address (or fingerprint) and port.
const ABOVE_KEY: u32 = 16;
const KEY_MASK: u64 = u64::MAX >> ABOVE_KEY;
const PORT_SHIFT: u32 = 32;

/// The name of a peer within its swarm. Never zero, since port 0 is refused.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(crate) struct PeerKey(u64);

impl PeerKey {
    #[inline(always)]
    pub(crate) fn new<F: Family>(key: &TableKey, addr: &F::Addr, port: [u8; 2]) -> Self {
        let addr = if F::IS_V6 { key.addr::<F>(addr) & 0xffff_ffff } else { F::words(addr)[0] };
        Self(addr | (u16::from_ne_bytes(port) as u64) << PORT_SHIFT)
    }

    /// Whether `word` is this peer's.
    #[inline(always)]
    pub(crate) const fn names(self, word: PeerWord) -> BranchlessBool {
        word.is_same_as(PeerWord(self.0))
    }

    /// The same, for where a branch does no harm.
    #[inline(always)]
    pub(crate) const fn is_of(self, word: PeerWord) -> bool {
        (self.0 ^ word.0) << ABOVE_KEY == 0
    }
}

/// What a slot holds: nothing (zero), a claim, or a peer.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(crate) struct PeerWord(pub u64);

impl PeerWord {
    pub(crate) const VACANT: Self = Self(0);
    /// Where the bit of a seeder is.
    pub(super) const SEEDER_SHIFT: u32 = 48;

    #[inline(always)]
    pub(crate) const fn new(key: PeerKey, seeder: bool, clock: &Clock) -> Self {
        Self(key.0 | (seeder as u64) << Self::SEEDER_SHIFT | clock.seen())
    }

    /// The same peer, as it announced at another time.
    #[cfg(not(target_arch = "bpf"))]
    pub(super) const fn seen_at(self, clock: &Clock) -> Self {
        Self(self.0 & (u64::MAX >> (63 - Self::SEEDER_SHIFT)) | clock.seen())
    }

    /// Holds a slot while the address beside it is being written. Goes stale like a peer, should
    /// the writer die.
    #[inline(always)]
    pub(crate) const fn claim(clock: &Clock) -> Self {
        Self(1 | clock.seen())
    }

    /// Whether this is a peer, and not a claim or nothing.
    #[inline(always)]
    pub(crate) const fn is_peer(self) -> bool {
        self.port() != 0
    }

    #[inline(always)]
    pub(crate) const fn is_seeder(self) -> bool {
        self.0 >> Self::SEEDER_SHIFT & 1 != 0
    }

    /// Whether this is a peer that may be handed out.
    #[inline(always)]
    pub(crate) const fn is_live(self, clock: &Clock) -> BranchlessBool {
        // Not a claim or nothing.
        let is_peer = BranchlessBool::less(0, self.port() as u64);
        is_peer.and(clock.is_fresh(self.0))
    }

    /// Whether both have the same key.
    #[inline(always)]
    pub(crate) const fn is_same_as(self, other: Self) -> BranchlessBool {
        BranchlessBool::less((self.0 ^ other.0) & KEY_MASK, 1)
    }

    /// Whether this is a peer, where there are no claims: over IPv4.
    #[inline(always)]
    pub(crate) const fn has_key(self) -> BranchlessBool {
        BranchlessBool::less(0, self.0 & KEY_MASK)
    }

    /// Whether a newcomer may take the slot.
    #[inline(always)]
    pub(crate) const fn is_free(self, clock: &Clock) -> BranchlessBool {
        BranchlessBool::is_zero(self.0).or(clock.is_fresh(self.0).not())
    }

    #[inline(always)]
    pub(crate) const fn is_seeder_sign(self) -> BranchlessBool {
        BranchlessBool::new(self.0 << (63 - Self::SEEDER_SHIFT))
    }

    /// Port in network byte order.
    #[inline(always)]
    pub(crate) const fn port(self) -> u16 {
        (self.0 >> PORT_SHIFT) as u16
    }
}
