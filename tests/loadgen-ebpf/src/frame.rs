//! Ethernet, IP and UDP, as layouts that are read and written in place. All fields are in network
//! byte order.

use aya_ebpf::programs::XdpContext;
use tracker_common::family::{Family, V4, V6};

const PROTOCOL_UDP: u8 = 17;
const HOPS: u8 = 64;

/// Ethernet frames are padded to this many bytes, less their checksum.
pub const FRAME_BYTES_MIN: usize = 60;

/// "More fragments": another one follows.
const MORE_FRAGMENTS: [u8; 2] = [0x20, 0];

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ethernet {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ethertype: [u8; 2],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ipv4 {
    pub version_ihl_tos: [u8; 2],
    pub total_len: [u8; 2],
    pub id: [u8; 2],
    pub fragment: [u8; 2],
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: [u8; 2],
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ipv6 {
    pub version_class_label: [u8; 4],
    pub payload_len: [u8; 2],
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Udp {
    pub source: [u8; 2],
    pub destination: [u8; 2],
    pub len: [u8; 2],
    pub checksum: [u8; 2],
}

/// A frame with a UDP datagram whose payload is `M`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame<F: Ip, M> {
    pub ethernet: Ethernet,
    pub ip: F::Header,
    pub udp: Udp,
    pub message: M,
}

/// What IPv4 and IPv6 write differently.
pub trait Ip: Family {
    type Header: Copy;
    const ETHERTYPE: [u8; 2];

    /// A header with its checksum. `None` for a fragment over IPv6, which takes another header.
    fn header(
        source: Self::Addr,
        destination: Self::Addr,
        udp_len: usize,
        fragment: bool,
    ) -> Self::Header;

    fn is_udp(header: &Self::Header) -> bool;
    fn addresses(header: &mut Self::Header) -> (&mut Self::Addr, &mut Self::Addr);
}

impl Ip for V4 {
    type Header = Ipv4;
    const ETHERTYPE: [u8; 2] = [0x08, 0x00];

    #[inline(always)]
    fn header(source: [u8; 4], destination: [u8; 4], udp_len: usize, fragment: bool) -> Ipv4 {
        let mut header = Ipv4 {
            version_ihl_tos: [0x45, 0],
            total_len: ((size_of::<Ipv4>() + udp_len) as u16).to_be_bytes(),
            id: [0, 1],
            fragment: if fragment { MORE_FRAGMENTS } else { [0, 0] },
            ttl: HOPS,
            protocol: PROTOCOL_UDP,
            checksum: [0, 0],
            source,
            destination,
        };
        header.checksum = complement(sum(&header));
        header
    }

    #[inline(always)]
    fn is_udp(header: &Ipv4) -> bool {
        header.protocol == PROTOCOL_UDP
    }

    #[inline(always)]
    fn addresses(header: &mut Ipv4) -> (&mut [u8; 4], &mut [u8; 4]) {
        (&mut header.source, &mut header.destination)
    }
}

impl Ip for V6 {
    type Header = Ipv6;
    const ETHERTYPE: [u8; 2] = [0x86, 0xdd];

    #[inline(always)]
    fn header(source: [u8; 16], destination: [u8; 16], udp_len: usize, _fragment: bool) -> Ipv6 {
        Ipv6 {
            version_class_label: [0x60, 0, 0, 0],
            payload_len: (udp_len as u16).to_be_bytes(),
            next_header: PROTOCOL_UDP,
            hop_limit: HOPS,
            source,
            destination,
        }
    }

    #[inline(always)]
    fn is_udp(header: &Ipv6) -> bool {
        header.next_header == PROTOCOL_UDP
    }

    #[inline(always)]
    fn addresses(header: &mut Ipv6) -> (&mut [u8; 16], &mut [u8; 16]) {
        (&mut header.source, &mut header.destination)
    }
}

impl<F: Ip, M> Frame<F, M> {
    const UDP_LEN: usize = size_of::<Udp>() + size_of::<M>();

    /// How long the frame is, padding included.
    pub const BYTES: usize =
        if size_of::<Self>() < FRAME_BYTES_MIN { FRAME_BYTES_MIN } else { size_of::<Self>() };

    /// The frame that `ctx` holds, if it is one that can hold an `M`.
    #[inline(always)]
    pub fn parse(ctx: &XdpContext) -> Option<&mut Self> {
        let frame = Self::at(ctx)?;
        let is_ours = frame.ethernet.ethertype == F::ETHERTYPE && F::is_udp(&frame.ip);
        is_ours.then_some(frame)
    }

    /// The room for such a frame at the start of what `ctx` holds.
    #[inline(always)]
    pub fn at(ctx: &XdpContext) -> Option<&mut Self> {
        const { assert!(align_of::<Self>() == 1) };
        let start = ctx.data();
        if start + size_of::<Self>() > ctx.data_end() {
            return None;
        }
        // SAFETY: the bounds were checked; layouts of bytes have no alignment and no invalid values.
        Some(unsafe { &mut *(start as *mut Self) })
    }

    /// Fills in all headers for the message, which is there already.
    #[inline(always)]
    pub fn address(
        &mut self,
        macs: ([u8; 6], [u8; 6]),
        (source, source_port): (F::Addr, [u8; 2]),
        (destination, destination_port): (F::Addr, [u8; 2]),
        fragment: bool,
    ) {
        self.ethernet = Ethernet { source: macs.0, destination: macs.1, ethertype: F::ETHERTYPE };
        self.ip = F::header(source, destination, Self::UDP_LEN, fragment);
        let mut udp = Udp {
            source: source_port,
            destination: destination_port,
            len: (Self::UDP_LEN as u16).to_be_bytes(),
            checksum: [0, 0],
        };
        let pseudo_header = sum(&source)
            + sum(&destination)
            + sum(&udp.len)
            + u16::from(PROTOCOL_UDP).to_be() as u64;
        let checksum = complement(pseudo_header + sum(&udp) + sum(&self.message));
        // Zero would mean that there is none.
        udp.checksum = if checksum == [0, 0] { [0xff, 0xff] } else { checksum };
        self.udp = udp;
    }
}

/// The sum of the 16-bit words of `T` (RFC 1071), in wider words; an odd last byte is padded.
#[inline(always)]
fn sum<T>(value: &T) -> u64 {
    let bytes = (value as *const T).cast::<u8>();
    let len = size_of::<T>();
    let mut sum = 0;
    for word in 0..len / 4 {
        // SAFETY: within `value`, here and below.
        sum += unsafe { bytes.add(4 * word).cast::<u32>().read_unaligned() } as u64;
    }
    if len % 4 >= 2 {
        sum += unsafe { bytes.add(len / 4 * 4).cast::<u16>().read_unaligned() } as u64;
    }
    if len % 2 == 1 {
        sum += unsafe { *bytes.add(len - 1) } as u64;
    }
    sum
}

#[inline(always)]
fn complement(mut sum: u64) -> [u8; 2] {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_ne_bytes()
}
