//! The compact peer list of a reply, as it goes on the wire (BEP 15, BEP 23 and BEP 7).

/// Room for the peers of one reply: what fits a 1,500-byte frame, 242 over IPv4 or 79 over IPv6.
pub const PEERS_BYTES_MAX: usize = 1452;

/// The most peers one reply can carry over IPv4.
pub const PEERS_V4_MAX: u16 = 242;

/// The most peers one reply can carry over IPv6.
pub const PEERS_V6_MAX: u16 = 79;

/// Compact peers in network byte order: 6 bytes each over IPv4 (address, port), 18 over IPv6.
///
/// Lives in a per-CPU map on the kernel's side and in each worker on the daemon's, so a reply
/// needs no allocation.
#[derive(Clone)]
#[repr(C, align(8))]
pub struct PeerBuf {
    /// Eight spare bytes let a whole word be stored where only its first six bytes count.
    bytes: [u8; PEERS_BYTES_MAX + 12],
    len: u32,
    count: u32,
    /// The sum of the 16-bit words written, in memory order and not yet folded (RFC 1071).
    /// At most 242 terms below 2^48, so it cannot overflow.
    sum: u64,
}

const _: () = assert!(size_of::<PeerBuf>() == 1480);

impl PeerBuf {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; PEERS_BYTES_MAX + 12], len: 0, count: 0, sum: 0 }
    }

    /// Forgets the peers.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
        self.count = 0;
        self.sum = 0;
    }

    /// How many peers there are.
    #[inline(always)]
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
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

#[cfg(not(target_arch = "bpf"))]
impl core::fmt::Debug for PeerBuf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PeerBuf({} peers)", self.count)
    }
}
