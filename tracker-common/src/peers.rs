//! The compact peer list of a reply, as it goes on the wire (BEP 15, BEP 23 and BEP 7).

use core::marker::PhantomData;

use crate::{family::Family, verifier::bounded, wire::ScrapeEntry};

/// Room for the peers of one reply: what fits a 1,500-byte frame, 242 over IPv4 or 79 over IPv6.
pub const PEERS_BYTES_MAX: usize = 1452;

/// The most peers one reply can carry over IPv4.
pub const PEERS_V4_MAX: u16 = 242;

/// The most peers one reply can carry over IPv6.
pub const PEERS_V6_MAX: u16 = 79;

/// Wide enough for every offset into the list.
pub const OFFSET_MASK: u32 = PEERS_BYTES_MAX.next_power_of_two() as u32 - 1;

/// Compact peers in network byte order: 6 bytes each over IPv4 (address, port), 18 over IPv6.
///
/// Lives in a per-CPU map on the kernel's side and in each worker on the daemon's, so a reply
/// needs no allocation.
#[derive(Clone)]
#[repr(C, align(8))]
pub struct PeerBuf {
    /// As long as the largest offset and a run of peers, which is what the verifier sees.
    bytes: [u8; BUF_BYTES],
    /// Bytes written.
    len: u32,
    /// Where the list is full.
    end: u32,
}

/// Peers that may be appended without asking for room.
pub(crate) const RUN_MAX: usize = 8;

const BUF_BYTES: usize = OFFSET_MASK as usize + 1 + RUN_MAX * size_of::<PeerV6>();

const _: () = assert!(PEERS_BYTES_MAX + RUN_MAX * size_of::<PeerV6>() < OFFSET_MASK as usize);

impl PeerBuf {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; BUF_BYTES], len: 0, end: 0 }
    }

    /// Forgets the peers.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Begins a list of at most `want` peers of one family, and no more than a reply can carry.
    #[inline(always)]
    pub(crate) fn begin<F: Family>(&mut self, want: u32) {
        let max = if F::IS_V6 { PEERS_V6_MAX } else { PEERS_V4_MAX } as u32;
        let want = if want > max { max } else { want };
        self.clear();
        self.end = want * F::PEER_BYTES as u32;
    }

    /// Whether there are as many peers as asked for.
    #[inline(always)]
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= self.end
    }

    /// Goes on with the list.
    #[inline(always)]
    pub fn cursor(&mut self) -> Cursor<'_> {
        let offset = bounded::<OFFSET_MASK>(self.len);
        let mut cursor = Cursor { buf: self, next: core::ptr::null_mut(), list: PhantomData };
        // SAFETY: the buffer is longer than any offset.
        cursor.next = unsafe { cursor.start().add(offset) };
        cursor
    }

    /// Appends one entry of a scrape, which is not a peer but is put together in the same way.
    #[inline(always)]
    pub fn push_entry(&mut self, entry: &ScrapeEntry) {
        let offset = bounded::<OFFSET_MASK>(self.len);
        if offset > PEERS_BYTES_MAX - size_of::<ScrapeEntry>() {
            return;
        }
        // SAFETY: within the buffer, as was just checked.
        unsafe {
            self.bytes.as_mut_ptr().add(offset).cast::<ScrapeEntry>().write_unaligned(*entry);
        }
        self.len = (offset + size_of::<ScrapeEntry>()) as u32;
    }

    /// Appends one peer, for stores other than the table; `false` when there is no room. All peers
    /// of a list are of one family.
    #[cfg(not(target_arch = "bpf"))]
    pub fn push(&mut self, peer: core::net::SocketAddr) -> bool {
        let port = peer.port().to_be_bytes();
        match peer.ip() {
            core::net::IpAddr::V4(addr) => self.append(&addr.octets(), port, PEERS_V4_MAX),
            core::net::IpAddr::V6(addr) => self.append(&addr.octets(), port, PEERS_V6_MAX),
        }
    }

    #[cfg(not(target_arch = "bpf"))]
    fn append(&mut self, addr: &[u8], port: [u8; 2], max: u16) -> bool {
        if self.len as usize >= usize::from(max) * (addr.len() + port.len()) {
            return false;
        }
        for part in [addr, &port] {
            let start = self.len as usize;
            self.bytes[start..start + part.len()].copy_from_slice(part);
            self.len += part.len() as u32;
        }
        true
    }

    /// Bytes of the list.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no peer.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte. What follows may be read as far as the greatest offset and a run of peers.
    #[inline(always)]
    #[must_use]
    pub const fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// The list in wire format.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Default for PeerBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// Where peers of one family are appended.
pub trait List {
    /// Whether it takes all peers that an entry can have, however few are asked for.
    const IS_WHOLE: bool;

    /// Whether there are as many as asked for.
    fn is_full(&self) -> bool;

    /// Whether there is none.
    fn is_empty(&self) -> bool;

    /// Makes sure of room for [`RUN_MAX`] more peers. A list that is not full has it; this shows it to the
    /// verifier.
    fn make_room(&mut self);

    /// Takes the peer that is the first six bytes of `word` in memory order if `accept` is 1, and
    /// none if it is 0.
    fn push_v4(&mut self, word: u64, accept: u64);

    /// The same of an address as two words and a port, all in memory order.
    fn push_v6(&mut self, addr: [u64; 2], port: u16, accept: u64);

    /// Takes one peer, for which the list, which is empty, has room.
    #[inline(always)]
    fn name<F: Family>(&mut self, addr: [u64; 2], port: [u8; 2]) {
        self.make_room();
        let port = u16::from_ne_bytes(port);
        if F::IS_V6 {
            self.push_v6(addr, port, 1);
        } else {
            self.push_v4(addr[0] | (port as u64) << 32, 1);
        }
    }
}

/// A compact peer over IPv6: address and port.
#[repr(C, packed)]
struct PeerV6([u64; 2], u16);

/// Appends to a [`PeerBuf`], with what changes kept in registers.
pub struct Cursor<'a> {
    /// All goes through this one pointer: a reference would forbid writing through `next`.
    buf: *mut PeerBuf,
    /// Where the next peer goes. What is written there and not taken is overwritten.
    next: *mut u8,
    list: PhantomData<&'a mut PeerBuf>,
}

impl Cursor<'_> {
    /// Bytes of the list.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "`List` has it")]
    pub fn len(&self) -> u32 {
        self.offset() as u32
    }

    #[inline(always)]
    fn start(&self) -> *mut u8 {
        // SAFETY: the list outlives the cursor.
        unsafe { (&raw mut (*self.buf).bytes).cast() }
    }

    #[inline(always)]
    fn offset(&self) -> u64 {
        self.next.addr().wrapping_sub(self.start().addr()) as u64
    }

    /// Where the list is full.
    #[inline(always)]
    fn end(&self) -> u32 {
        // SAFETY: the list outlives the cursor.
        unsafe { (*self.buf).end }
    }

    /// Whether that many bytes are still wanted.
    #[inline(always)]
    pub(crate) fn takes(&self, bytes: u32) -> bool {
        self.len() + bytes <= self.end()
    }

    /// Ends the list, and leaves out what is more than was asked for.
    #[inline(always)]
    pub(crate) fn cut(self) {
        let (len, end) = (self.len(), self.end());
        self.set_len(if len > end { end } else { len });
    }

    /// Ends the list as it is.
    #[inline(always)]
    pub(crate) fn save(self) {
        self.set_len(self.len());
    }

    #[inline(always)]
    fn set_len(&self, len: u32) {
        // SAFETY: the list outlives the cursor.
        unsafe { (*self.buf).len = len };
    }
}

impl List for Cursor<'_> {
    const IS_WHOLE: bool = false;

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.len() >= self.end()
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline(always)]
    fn make_room(&mut self) {
        let offset = bounded::<OFFSET_MASK>(self.offset());
        // SAFETY: the buffer is longer than any offset and a run of peers.
        self.next = unsafe { self.start().add(offset) };
    }

    #[inline(always)]
    fn push_v4(&mut self, word: u64, accept: u64) {
        // SAFETY: there is room for a peer, and more.
        unsafe {
            self.next.cast::<u64>().write_unaligned(word);
            self.next = self.next.add(accept as usize * 6);
        }
    }

    #[inline(always)]
    fn push_v6(&mut self, addr: [u64; 2], port: u16, accept: u64) {
        // SAFETY: there is room for a peer.
        unsafe {
            self.next.cast::<PeerV6>().write_unaligned(PeerV6(addr, port));
            self.next = self.next.add(accept as usize * 18);
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
impl core::fmt::Debug for PeerBuf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PeerBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushed_peers_are_in_wire_format() {
        let mut peers = PeerBuf::new();
        assert!(peers.push("192.0.2.1:258".parse().unwrap()));
        assert!(peers.push("192.0.2.2:6881".parse().unwrap()));
        assert_eq!(peers.as_bytes(), [192, 0, 2, 1, 1, 2, 192, 0, 2, 2, 26, 225]);
        assert_eq!(peers.len(), 12);
        peers.clear();
        assert!(peers.push("[2001:db8::1]:258".parse().unwrap()));
        assert_eq!(peers.as_bytes()[..4], [0x20, 1, 0xd, 0xb8]);
        assert_eq!(peers.as_bytes()[15..], [1, 1, 2]);
    }

    #[test]
    fn a_full_list_takes_no_more_peers() {
        let fill = |peer: &str| {
            let mut peers = PeerBuf::new();
            while peers.push(peer.parse().unwrap()) {}
            peers.len()
        };
        assert_eq!(fill("192.0.2.1:1"), u32::from(PEERS_V4_MAX) * 6);
        assert_eq!(fill("[2001:db8::1]:1"), u32::from(PEERS_V6_MAX) * 18);
    }
}
