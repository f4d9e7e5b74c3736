//! Keyed hashes. Strangers choose info-hashes, addresses and connection ids, so every hash has a
//! secret: SipHash where a forgery would help an attacker, a universal hash where only a pile-up
//! in one bucket would.
//!
//! SipHash is the variant with one round a word and three at the end, as hash tables and Linux's
//! `hsiphash` use it: a connection id is worth a few minutes of one address, and each further
//! round costs every packet.

use crate::{family::Family, id::InfoHash};

/// The secret of the connection ids.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct SipKey {
    /// The first eight bytes of the key, read in little-endian order.
    pub k0: u64,
    /// The other eight.
    pub k1: u64,
}

/// The state of SipHash in the midst of a round: that part of the round is over which does not depend on the
/// word that comes next.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Sip {
    /// The state at the beginning, which is worked out once for all.
    pub(crate) const fn new(key: &SipKey) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
        .begun()
    }

    /// The part of a round to which the next word is nothing.
    #[inline(always)]
    const fn begun(self) -> Self {
        let v0 = self.v0.wrapping_add(self.v1);
        Self { v0: v0.rotate_left(32), v1: self.v1.rotate_left(13) ^ v0, ..self }
    }

    /// The rest of it.
    #[inline(always)]
    const fn ended(self) -> Self {
        let Self { v0, v1, v2, v3 } = self;
        let v2 = v2.wrapping_add(v3);
        let v3 = v3.rotate_left(16) ^ v2;
        let v0 = v0.wrapping_add(v3);
        let v2 = v2.wrapping_add(v1);
        let v3 = v3.rotate_left(21) ^ v0;
        Self { v0, v1: v1.rotate_left(17) ^ v2, v2: v2.rotate_left(32), v3 }
    }

    /// Takes a word in, and returns the state between two rounds.
    #[inline(always)]
    const fn absorb(mut self, word: u64) -> Self {
        self.v3 ^= word;
        self = self.ended();
        self.v0 ^= word;
        self
    }

    /// SipHash-1-3 of `N` whole little-endian words, followed by fewer than eight bytes in `tail`.
    #[inline(always)]
    pub(crate) fn hash<const N: usize>(self, words: [u64; N], tail: u64, tail_len: u64) -> u64 {
        let mut sip = self;
        for word in words {
            sip = sip.absorb(word).begun();
        }
        sip = sip.absorb((N as u64 * 8 + tail_len) << 56 | tail);
        sip.v2 ^= 0xff;
        for _ in 0..3 {
            sip = sip.begun().ended();
        }
        sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3
    }
}

/// The secret of the table's hashes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TableKey(pub [u64; 4]);

impl TableKey {
    /// Where a torrent lives.
    #[inline(always)]
    pub(crate) fn info_hash(&self, hash: &InfoHash) -> u64 {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = hash.0;
        let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let second = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
        self.hash_words([first, second, u32::from_ne_bytes([q, r, s, t]) as u64])
    }

    /// The same of its words.
    #[inline(always)]
    pub(crate) fn hash_words(&self, [first, second, third]: [u64; 3]) -> u64 {
        let [x, y, z, _] = self.0;
        mix(product(first, x).wrapping_add(product(second, y)).wrapping_add(product(third, z)))
    }

    /// What stands for an address where it does not fit.
    #[inline(always)]
    pub(crate) fn addr<F: Family>(&self, addr: &F::Addr) -> u64 {
        self.words(F::words(addr), 0)
    }

    /// Where a peer belongs in its swarm.
    #[inline(always)]
    pub(crate) fn peer(&self, addr: [u64; 2], port: [u8; 2]) -> u64 {
        self.words(addr, u16::from_ne_bytes(port) as u64)
    }

    /// Where a source's meters are, of a kind and in a torrent.
    #[inline(always)]
    pub(crate) fn claim(&self, kind: u32, source: u64, torrent: u64) -> u64 {
        self.words([source, torrent], kind as u64 + 1)
    }

    #[inline(always)]
    fn words(&self, [first, second]: [u64; 2], third: u64) -> u64 {
        let [x, y, z, w] = self.0;
        mix(product(first, w)
            .wrapping_add(product(second, x ^ y))
            .wrapping_add(product(third, y ^ z)))
    }
}

/// One term of the NH hash (RFC 4418): the product of two keyed 32-bit halves.
#[inline(always)]
fn product(word: u64, key: u64) -> u64 {
    let low = (word as u32).wrapping_add(key as u32);
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32);
    (low as u64).wrapping_mul(high as u64)
}

/// Spreads the entropy over all bits: the finaliser of MurmurHash3.
#[inline(always)]
fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's hasher is the same function with a key of zeros.
    #[test]
    fn siphash_is_the_function_that_hash_tables_use() {
        use std::hash::{DefaultHasher, Hasher as _};

        let key = SipKey::default();
        let std = |bytes: &[u8]| {
            let mut hasher = DefaultHasher::new();
            hasher.write(bytes);
            hasher.finish()
        };
        let bytes: [u8; 22] = std::array::from_fn(|i| i as u8 * 7 + 1);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        assert_eq!(Sip::new(&key).hash([], word(0) & 0xffff_ffff_ffff, 6), std(&bytes[..6]));
        assert_eq!(Sip::new(&key).hash([word(0), word(8)], word(14) >> 16, 6), std(&bytes));
    }

    #[test]
    fn a_key_changes_every_hash() {
        let keyed = |k0, k1| Sip::new(&SipKey { k0, k1 }).hash([1], 2, 3);
        assert_ne!(keyed(0, 0), keyed(1, 0));
        assert_ne!(keyed(0, 0), keyed(0, 1));
    }
}
