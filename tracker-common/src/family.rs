//! IPv4 and IPv6, as types: every operation on a swarm is written once, over [`Family`].
//!
//! Swarms of the two families are separate (BEP 7); a peer appears in the one it announced from.

/// An address family.
pub trait Family: Copy + Default + 'static {
    /// An address in network byte order.
    type Addr: Copy + PartialEq + AsRef<[u8]> + 'static;

    /// Bytes of one peer in a compact list (BEP 23, BEP 7).
    const PEER_BYTES: usize;
    /// Peers that a torrent's entry holds.
    const INLINE_PEERS: u32;
    /// Units of 64 bytes that eight peers outside of an entry take.
    const GROUP_UNITS: u32;
    /// `true` for IPv6.
    const IS_V6: bool;

    /// The address as two words, for hashing; the same on every host of one byte order.
    fn words(addr: &Self::Addr) -> [u64; 2];

    /// The address that [`Family::words`] made these words of.
    fn from_words(words: [u64; 2]) -> Self::Addr;

    /// The address as one of IPv6: those of IPv4 are mapped (`::ffff:a.b.c.d`).
    fn mapped(addr: &Self::Addr) -> [u8; 16];

    /// Whether the network stack takes packets with this source from an interface: like
    /// [`Family::can_be_a_peer`], but for loopback addresses. All of `::/64` count as such.
    fn can_arrive(addr: &Self::Addr) -> bool;

    /// Whether a peer may have the address: see [`source::can_be_a_peer`](crate::source::can_be_a_peer).
    fn can_be_a_peer(addr: &Self::Addr) -> bool;
}

/// IPv4: a peer is one word, address and all.
#[derive(Clone, Copy, Default, Debug)]
pub struct V4;

/// IPv6: a peer is a word with a fingerprint of the address, and the address beside it.
#[derive(Clone, Copy, Default, Debug)]
pub struct V6;

impl Family for V4 {
    type Addr = [u8; 4];
    const PEER_BYTES: usize = 6;
    const INLINE_PEERS: u32 = 5;
    const GROUP_UNITS: u32 = 1;
    const IS_V6: bool = false;

    #[inline(always)]
    fn words(addr: &[u8; 4]) -> [u64; 2] {
        [u32::from_ne_bytes(*addr) as u64, 0]
    }

    #[inline(always)]
    fn from_words(words: [u64; 2]) -> [u8; 4] {
        (words[0] as u32).to_ne_bytes()
    }

    #[inline(always)]
    fn mapped(addr: &[u8; 4]) -> [u8; 16] {
        let [a, b, c, d] = *addr;
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }

    #[inline(always)]
    fn can_arrive(addr: &[u8; 4]) -> bool {
        Self::can_be_a_peer(addr) && addr[0] != 127
    }

    #[inline(always)]
    fn can_be_a_peer(addr: &[u8; 4]) -> bool {
        // From 1 to 223: neither "this network" nor multicast nor what is reserved behind it.
        addr[0].wrapping_sub(1) < 223
    }
}

impl Family for V6 {
    type Addr = [u8; 16];
    const PEER_BYTES: usize = 18;
    const INLINE_PEERS: u32 = 4;
    const GROUP_UNITS: u32 = 3;
    const IS_V6: bool = true;

    #[inline(always)]
    fn words(addr: &[u8; 16]) -> [u64; 2] {
        // Taken apart into bytes, LLVM would fetch bytes.
        // SAFETY: sixteen bytes either way, and any are valid.
        unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(*addr) }
    }

    #[inline(always)]
    fn from_words(words: [u64; 2]) -> [u8; 16] {
        // SAFETY: as above.
        unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(words) }
    }

    #[inline(always)]
    fn mapped(addr: &[u8; 16]) -> [u8; 16] {
        *addr
    }

    #[inline(always)]
    fn can_arrive(addr: &[u8; 16]) -> bool {
        Self::words(addr)[0] != 0 && addr[0] != 0xff
    }

    #[inline(always)]
    fn can_be_a_peer(addr: &[u8; 16]) -> bool {
        const LOOPBACK: u64 = 1_u64.to_be();
        // In memory order: two bytes of ones, or none, before the four of an IPv4 address.
        const MAPPED: u64 = 0xffff_0000_0000_u64.to_be();
        const PREFIX: u64 = 0xffff_ffff_0000_0000_u64.to_be();
        let [first, second] = Self::words(addr);
        if first == 0 {
            let prefix = second & PREFIX;
            return second == LOOPBACK || prefix != 0 && prefix != MAPPED;
        }
        addr[0] != 0xff
    }
}
