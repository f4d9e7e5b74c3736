//! Finds a UDP datagram in a frame.
//!
//! Only the plain shapes are understood: Ethernet with at most two VLAN tags, IPv4 without options
//! or IPv6 without extension headers, no fragments, UDP that fills its IP packet. The rest is
//! passed to the host.

use core::cell::Cell;

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_xdp_load_bytes, programs::XdpContext};
use tracker_common::{
    abi::{Config, ENDPOINTS_MAX, LINKS, Link, link},
    family::{Family, V4, V6},
    source::is_answered_port,
    verifier::{bounded, bounded_range},
    wire::RequestHead,
};

use crate::{
    checksum,
    functions::Functions,
    leaves::LeafFunctions,
    maps::{self, REST_BYTES},
    policy::Listed,
};

pub const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
/// Where the IP header begins at the latest: after two VLAN tags.
pub const L3_MAX: usize = ETHERNET_BYTES + 2 * VLAN_BYTES;
const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
pub const PROTOCOL_UDP: u8 = 17;
/// What Linux gives packets of its own.
const HOPS: u8 = 64;

#[repr(C)]
pub struct Ethernet {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ethertype: u16,
}

/// All fields in network byte order; aligned to 2, as the frame is.
#[repr(C, packed(2))]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_len: u16,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

/// All fields in network byte order.
#[repr(C, packed(2))]
pub struct Ipv6 {
    pub version_class_label: [u8; 4],
    pub payload_len: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

/// All fields in network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Udp {
    pub source: u16,
    pub destination: u16,
    pub len: u16,
    pub checksum: u16,
}

pub const UDP_BYTES: usize = size_of::<Udp>();

/// What differs between IPv4 and IPv6 in a frame.
pub trait Ip: Family + Functions + LeafFunctions + Listed {
    /// The header that all accepted packets have: no options.
    type Header;
    const HEADER_BYTES: usize = size_of::<Self::Header>();

    /// Whether the network stack would not drop a packet with this header, for its source, its checksum or
    /// because it may go no further.
    fn is_sound(header: &Self::Header) -> bool;
    /// Whether the UDP header follows this one: no options, no extension headers, and no fragment but the first.
    fn is_udp(header: &Self::Header) -> bool;
    /// Whether this is a UDP packet of a plain shape whose datagram has `udp_len` bytes.
    fn is_plain_udp(header: &Self::Header, udp_len: u16) -> bool;
    fn source(header: &Self::Header) -> Self::Addr;
    fn destination(header: &Self::Header) -> Self::Addr;
    /// Makes the header that of a reply with a datagram of `udp_len` bytes. `addresses` is the sum
    /// of the two addresses, which change places.
    fn turn_around(header: &mut Self::Header, udp_len: u16, addresses: u64);
    fn is_own_endpoint<T>(config: &Config, datagram: &Datagram<Self, T>) -> bool;
}

impl Ip for V4 {
    type Header = Ipv4;

    #[inline(always)]
    fn is_sound(header: &Ipv4) -> bool {
        Self::can_arrive(&header.source)
            && header.ttl != 0
            && checksum::is_right(checksum::sum(header))
    }

    #[inline(always)]
    fn is_udp(header: &Ipv4) -> bool {
        const OFFSET: u16 = 0x1fff_u16.to_be();
        header.version_ihl == 0x45
            && header.protocol == PROTOCOL_UDP
            && header.fragment & OFFSET == 0
    }

    #[inline(always)]
    fn is_plain_udp(header: &Ipv4, udp_len: u16) -> bool {
        const MORE_FRAGMENTS: u16 = 0x2000_u16.to_be();
        Self::is_udp(header)
            && header.fragment & MORE_FRAGMENTS == 0
            && u16::from_be(header.total_len) as u32 == udp_len as u32 + Self::HEADER_BYTES as u32
    }

    #[inline(always)]
    fn source(header: &Ipv4) -> [u8; 4] {
        header.source
    }

    #[inline(always)]
    fn destination(header: &Ipv4) -> [u8; 4] {
        header.destination
    }

    #[inline(always)]
    fn turn_around(header: &mut Ipv4, udp_len: u16, addresses: u64) {
        const DONT_FRAGMENT: u16 = 0x4000_u16.to_be();
        const TTL_AND_PROTOCOL: u16 = u16::from_ne_bytes([HOPS, PROTOCOL_UDP]);
        const CONSTANT: u64 =
            u16::from_ne_bytes([0x45, 0]) as u64 + DONT_FRAGMENT as u64 + TTL_AND_PROTOCOL as u64;
        let total_len = (udp_len + Self::HEADER_BYTES as u16).to_be();
        let (source, destination) = (header.source, header.destination);
        *header = Ipv4 {
            version_ihl: 0x45,
            tos: 0,
            total_len,
            id: 0,
            fragment: DONT_FRAGMENT,
            ttl: HOPS,
            protocol: PROTOCOL_UDP,
            checksum: checksum::of_header(CONSTANT + total_len as u64 + addresses),
            source: destination,
            destination: source,
        };
    }

    #[inline(always)]
    fn is_own_endpoint<T>(config: &Config, datagram: &Datagram<Self, T>) -> bool {
        let [addr, _] = V4::words(&datagram.ip.destination);
        let ours = addr | (datagram.udp.destination as u64) << 32;
        listed(config.endpoints_v4_len).any(|index| {
            // SAFETY: within the array.
            unsafe { config.endpoints_v4.get_unchecked(index) }.word() == ours
        })
    }
}

/// Writes an address word by word. As a whole LLVM would copy it in pieces of two bytes, as it is aligned.
#[inline(always)]
fn put(place: &mut [u8; 16], [first, second]: [u64; 2]) {
    let place = place.as_mut_ptr().cast::<u64>();
    // SAFETY: sixteen bytes.
    unsafe {
        place.write_unaligned(first);
        place.add(1).write_unaligned(second);
    }
}

impl Ip for V6 {
    type Header = Ipv6;

    #[inline(always)]
    fn is_sound(header: &Ipv6) -> bool {
        Self::can_arrive(&header.source) && header.hop_limit != 0
    }

    #[inline(always)]
    fn is_udp(header: &Ipv6) -> bool {
        header.version_class_label[0] >> 4 == 6 && header.next_header == PROTOCOL_UDP
    }

    #[inline(always)]
    fn is_plain_udp(header: &Ipv6, udp_len: u16) -> bool {
        Self::is_udp(header) && u16::from_be(header.payload_len) == udp_len
    }

    #[inline(always)]
    fn source(header: &Ipv6) -> [u8; 16] {
        header.source
    }

    #[inline(always)]
    fn destination(header: &Ipv6) -> [u8; 16] {
        header.destination
    }

    #[inline(always)]
    fn turn_around(header: &mut Ipv6, udp_len: u16, _addresses: u64) {
        let (source, destination) = (V6::words(&header.source), V6::words(&header.destination));
        header.version_class_label = [0x60, 0, 0, 0];
        header.payload_len = udp_len.to_be();
        header.next_header = PROTOCOL_UDP;
        header.hop_limit = HOPS;
        put(&mut header.source, destination);
        put(&mut header.destination, source);
    }

    #[inline(always)]
    fn is_own_endpoint<T>(config: &Config, datagram: &Datagram<Self, T>) -> bool {
        let [first, second] = V6::words(&datagram.ip.destination);
        let port = datagram.udp.destination as u64;
        listed(config.endpoints_v6_len).any(|index| {
            // SAFETY: within the array.
            let words = unsafe { config.endpoints_v6.get_unchecked(index) }.words();
            (words[0] ^ first) | (words[1] ^ second) | (words[2] ^ port) == 0
        })
    }
}

/// The indices of the endpoints of a list.
#[inline(always)]
fn listed(len: u32) -> impl Iterator<Item = usize> {
    bounded_range::<{ ENDPOINTS_MAX as u32 }>(len).map(|index| index as usize)
}

/// A frame that holds an IP packet, and where its header begins: 14, 18 or 22.
pub enum Packet {
    V4 { l3: usize },
    V6 { l3: usize },
}

impl Packet {
    #[inline(always)]
    pub fn find(ctx: &XdpContext) -> Option<Self> {
        let ethernet: *const Ethernet = at(ctx, 0)?;
        // SAFETY: `at` checked the bounds, here and below.
        let mut ethertype = unsafe { (*ethernet).ethertype };
        let mut l3 = ETHERNET_BYTES;
        for _ in 0..2 {
            if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_SERVICE_VLAN {
                break;
            }
            let tag: *const [u16; 2] = at(ctx, l3)?;
            // SAFETY: as above.
            ethertype = unsafe { (*tag)[1] };
            l3 += VLAN_BYTES;
        }
        match ethertype {
            ETHERTYPE_IPV4 => Some(Self::V4 { l3 }),
            ETHERTYPE_IPV6 => Some(Self::V6 { l3 }),
            _ => None,
        }
    }
}

/// `T` at this offset of the frame, if the frame reaches that far.
#[inline(always)]
pub fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    Some(start as *mut T)
}

/// The headers of a request in one piece, so that one check of the bounds does for all.
#[repr(C, packed)]
struct Headers<H, T> {
    ip: H,
    udp: Udp,
    payload: T,
}

/// A UDP datagram whose payload begins with a `T`. Its references are void once the frame's tail has
/// been moved.
pub struct Datagram<'a, F: Ip, T = RequestHead> {
    pub ctx: &'a XdpContext,
    /// Where the IP header begins: 14, 18 or 22.
    pub l3: usize,
    /// The same place in memory. From here to the end of the `T` the frame may be written to.
    pub start: *mut u8,
    pub ip: &'a F::Header,
    pub udp: &'a Udp,
    pub payload: &'a T,
}

/// In the place of a sum: the frame ends before its datagram does, or that is too long.
pub const NO_SUM: u32 = u32::MAX;

/// The sum of the words of the payload from this offset on, which is even.
#[inline(always)]
pub fn sum_of_rest<F: Ip>(ctx: &XdpContext, l3: u32, from: u32) -> u32 {
    let Some(datagram) = Datagram::<F>::again(ctx, l3) else { return NO_SUM };
    let Some(rest) = maps::rest() else { return NO_SUM };
    let len = datagram.payload_len().wrapping_sub(from);
    if len.wrapping_sub(1) >= REST_BYTES as u32 {
        return NO_SUM;
    }
    // Kernels before 6.8 do not conclude from `!=` that it is more than that.
    let len = 1 + bounded::<{ REST_BYTES as u32 - 1 }>(len - 1);
    let last = (len - 1) / 8;
    let words: &[Cell<u64>] = (rest as &Cell<[u64]>).as_slice_of_cells();
    // SAFETY: within the array, and there is room for so many bytes.
    let is_copied = unsafe {
        words.get_unchecked(bounded::<{ REST_BYTES as u32 / 8 - 1 }>(last as u32)).set(0);
        datagram.copy(from, rest.as_ptr().cast::<[u8; REST_BYTES]>(), len as u32)
    };
    if !is_copied {
        return NO_SUM;
    }
    let mut sum = 0;
    for word in bounded_range::<{ REST_BYTES as u32 / 8 }>(last as u32 + 1) {
        // SAFETY: within the array.
        let word = unsafe { words.get_unchecked(word as usize) }.get();
        sum += (word & 0xffff_ffff) + (word >> 32);
    }
    checksum::shortened(sum)
}

impl<'a, F: Ip, T> Datagram<'a, F, T> {
    /// Where the payload begins, from the IP header.
    pub const PAYLOAD: usize = F::HEADER_BYTES + UDP_BYTES;

    /// A datagram that was found before, in another function, if its payload is long enough. Refers to it by
    /// what the verifier lets through: the context and a number.
    #[inline(always)]
    pub fn again(ctx: &'a XdpContext, l3: u32) -> Option<Self> {
        let datagram = Self::find(ctx, bounded::<31>(l3))?;
        (datagram.payload_len() as usize >= size_of::<T>()).then_some(datagram)
    }

    /// What would be a datagram if the packet were a plain one of UDP: see [`Datagram::is_plain`].
    #[inline(always)]
    pub fn find(ctx: &'a XdpContext, l3: usize) -> Option<Self> {
        const { assert!(align_of::<T>() == 1) };
        let headers: *mut Headers<F::Header, T> = at(ctx, l3)?;
        // SAFETY: `at` checked the bounds; frames are aligned to 2, and the payload needs no more.
        let (ip, udp, payload) = unsafe {
            (
                &*(&raw const (*headers).ip),
                &*(&raw const (*headers).udp),
                &*(&raw const (*headers).payload),
            )
        };
        Some(Self { ctx, l3, start: headers.cast(), ip, udp, payload })
    }

    /// Whether it is a datagram, from a port that can be answered, of a plain packet.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        let udp_len = u16::from_be(self.udp.len);
        udp_len as usize >= UDP_BYTES + size_of::<T>()
            && F::is_plain_udp(self.ip, udp_len)
            && is_answered_port(u16::from_be(self.udp.source))
    }

    /// The interface that the frame came by, if the frame is addressed to it and the packet is one that the network
    /// stack would take.
    #[inline(always)]
    pub fn link<'c>(&self, config: &'c Config) -> Option<&'c Link> {
        let index = self.ctx.ingress_ifindex() as u32;
        let slot = bounded::<{ LINKS as u32 - 1 }>(index);
        // SAFETY: within the array.
        let link = unsafe { config.links.get_unchecked(slot) };
        let start: *const u64 = at(self.ctx, 0)?;
        // SAFETY: `at` checked the bounds.
        let key = Link::key(unsafe { start.read_unaligned() }, index);
        (key == link.key && F::is_sound(self.ip)).then_some(link)
    }

    /// Whether all of the datagram is in the frame and, as far as that is to be verified, as it was sent.
    #[inline(always)]
    pub fn is_intact(&self, link: &Link) -> bool {
        let udp = self.udp;
        // Over IPv6 there must be a checksum.
        if F::IS_V6 && udp.checksum == 0 {
            return false;
        }
        let is_longer = self.payload_len() != size_of::<T>() as u32;
        if link.flags & link::VERIFY == 0 || udp.checksum == 0 {
            return !is_longer || self.fits();
        }
        let addresses = checksum::sum_addr::<F>(&F::source(self.ip))
            + checksum::sum_addr::<F>(&F::destination(self.ip));
        let pseudo_header = addresses + (PROTOCOL_UDP as u16).to_be() as u64 + udp.len as u64;
        if link.flags & link::PARTIAL != 0 && checksum::partial(pseudo_header) == udp.checksum {
            return !is_longer || self.fits();
        }
        let mut sum = pseudo_header + checksum::sum(udp) + checksum::sum(self.payload);
        if is_longer {
            let rest = F::sum_of_rest(self, size_of::<T>() as u32);
            if rest == NO_SUM {
                return false;
            }
            sum += rest as u64;
        }
        checksum::is_right(sum)
    }

    /// Whether the frame reaches as far as the datagram does.
    #[inline(always)]
    fn fits(&self) -> bool {
        let len = bounded::<{ u16::MAX as u32 }>(u16::from_be(self.udp.len) as u32);
        let start = self.ctx.data() + self.l3 + F::HEADER_BYTES;
        start + len <= self.ctx.data_end()
    }

    #[inline(always)]
    pub fn payload_len(&self) -> u32 {
        (u16::from_be(self.udp.len) as u32).wrapping_sub(UDP_BYTES as u32)
    }

    /// How many bytes of the payload follow the `T`, for which it is long enough.
    #[inline(always)]
    pub fn rest_len(&self) -> u32 {
        self.payload_len() - size_of::<T>() as u32
    }

    /// Copies so many bytes of the payload. Returns whether the frame has as many.
    ///
    /// # Safety
    /// There is room for them, and they are at least one, as the verifier can see.
    #[inline(always)]
    pub unsafe fn copy<const ROOM: usize>(
        &self,
        offset: u32,
        to: *mut [u8; ROOM],
        len: u32,
    ) -> bool {
        let offset = (self.l3 + Self::PAYLOAD) as u32 + offset;
        // SAFETY: as the caller says; the kernel checks the frame.
        unsafe { bpf_xdp_load_bytes(self.ctx.as_ptr().cast(), offset, to.cast(), len) == 0 }
    }
}
