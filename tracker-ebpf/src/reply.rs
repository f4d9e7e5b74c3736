//! Turns a request's frame into the reply's.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_fib_lookup as FibLookup,
    helpers::generated::{bpf_fib_lookup, bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
};
use tracker_common::{
    abi::{Verdict, flag},
    peers::{PEERS_BYTES_MAX, PeerBuf},
    wire::{Failure, ReplyHead, RequestHead, action},
};

use crate::{
    checksum,
    maps::Env,
    packet::{Datagram, ETHERNET_BYTES, Ethernet, Ip, PROTOCOL_UDP, UDP_BYTES, Udp, at},
};

/// How the reply leaves.
#[derive(Clone, Copy)]
pub enum Way {
    /// Through the interface that the request came by.
    Back,
    /// Through another, as `bpf_redirect` was told.
    Redirected(u32),
}

/// Ethernet frames are padded to this many bytes, less their checksum.
const FRAME_BYTES_MIN: usize = 60;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Replies with `head` and the bytes of `list`. Until nothing can fail any more, the frame is left
/// as it was.
#[inline(always)]
pub fn send<F: Ip, H>(
    datagram: &Datagram<F>,
    env: &Env,
    head: &H,
    list: Option<&PeerBuf>,
) -> Result<Way, Verdict> {
    let hop = NextHop::find(datagram, env)?;
    let ctx = datagram.ctx;
    let l3 = datagram.l3;
    let (list_len, list_sum) = match list {
        Some(list) => (list.len() as usize, list.sum()),
        None => (0, 0),
    };
    let payload = l3 + Datagram::<F>::PAYLOAD;
    let udp_len = UDP_BYTES + size_of::<H>() + list_len;

    let len = ctx.data_end() - ctx.data();
    let mut reply_len = l3 + F::HEADER_BYTES + udp_len;
    if reply_len < FRAME_BYTES_MIN && len >= FRAME_BYTES_MIN {
        reply_len = FRAME_BYTES_MIN;
    }
    if reply_len != len {
        // SAFETY: the context is this program's.
        let failed =
            unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), reply_len as i32 - len as i32) };
        if failed != 0 {
            return Err(Verdict::NoReply);
        }
    }

    // The frame is as long as the reply, so these are all there.
    let ethernet: *mut Ethernet = at(ctx, 0).ok_or(Verdict::NoReply)?;
    let ip: *mut F::Header = at(ctx, l3).ok_or(Verdict::NoReply)?;
    let udp: *mut Udp = at(ctx, l3 + F::HEADER_BYTES).ok_or(Verdict::NoReply)?;
    let start: *mut H = at(ctx, payload).ok_or(Verdict::NoReply)?;
    // SAFETY: `at` checked the bounds; the four do not overlap.
    let (ethernet, ip, udp) = unsafe { (&mut *ethernet, &mut *ip, &mut *udp) };
    F::turn_around(ip, udp_len as u16);
    let mut header = Udp {
        source: udp.destination,
        destination: udp.source,
        len: (udp_len as u16).to_be(),
        checksum: 0,
    };
    let sum = checksum::sum_addr::<F>(&F::source(ip))
        + checksum::sum_addr::<F>(&F::destination(ip))
        + (PROTOCOL_UDP as u16).to_be() as u64
        + header.len as u64
        + checksum::sum(&header)
        + checksum::sum(head)
        + list_sum;
    // Zero would mean that there is none.
    header.checksum = match checksum::complement(sum) {
        0 => 0xffff,
        checksum => checksum,
    };
    *udp = header;
    // SAFETY: `at` checked the bounds; the frame is not aligned for `H`.
    unsafe { start.write_unaligned(core::ptr::read(head)) };
    if let Some(list) = list {
        store(datagram, payload + size_of::<H>(), list)?;
    }
    Ok(hop.apply(ethernet))
}

/// Copies the list into the frame, in one call (kernel 5.18).
#[inline(always)]
fn store<F: Ip>(datagram: &Datagram<F>, offset: usize, list: &PeerBuf) -> Result<(), Verdict> {
    let len = list.len();
    if len == 0 || len as usize > PEERS_BYTES_MAX {
        return Err(Verdict::NoReply);
    }
    // SAFETY: the list is initialised to PEERS_BYTES_MAX bytes, and the kernel checks the frame.
    let failed = unsafe {
        bpf_xdp_store_bytes(
            datagram.ctx.as_ptr().cast(),
            offset as u32,
            list.as_ptr().cast_mut().cast(),
            len,
        )
    };
    if failed != 0 { Err(Verdict::NoReply) } else { Ok(()) }
}

/// Replies with a failure; `N` is the length of its text with the NUL.
#[inline(always)]
pub fn error<F: Ip, const N: usize>(
    datagram: &Datagram<F>,
    env: &Env,
    failure: Failure,
) -> Result<Way, Verdict> {
    #[repr(C)]
    struct Error<const N: usize> {
        head: ReplyHead,
        text: [u8; N],
    }
    let request: &RequestHead = datagram.payload_at(0).ok_or(Verdict::Unusual)?;
    let mut reply = Error {
        head: ReplyHead { action: action::ERROR, transaction_id: request.transaction_id },
        text: [0; N],
    };
    let text = failure.text().as_bytes();
    for index in 0..N - 1 {
        reply.text[index] = text[index];
    }
    send(datagram, env, &reply, None)
}

/// The neighbour that the reply is handed to.
enum NextHop {
    /// Whoever handed us the request.
    Sender,
    /// Who the routing table says.
    Routed { smac: [u8; 6], dmac: [u8; 6], ifindex: Option<u32> },
}

impl NextHop {
    #[inline(always)]
    fn find<F: Ip>(datagram: &Datagram<F>, env: &Env) -> Result<Self, Verdict> {
        if env.config.flags & flag::REPLY_FIB == 0 {
            return Ok(Self::Sender);
        }
        // The table knows the VLAN's own interface, not the one below it that the frame came by.
        if datagram.l3 != ETHERNET_BYTES {
            return Err(Verdict::NoReply);
        }
        let ingress = datagram.ctx.ingress_ifindex() as u32;
        // SAFETY: a plain structure, for which zero is a valid value of every field.
        let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
        lookup.family = if F::IS_V6 { AF_INET6 } else { AF_INET };
        lookup.l4_protocol = PROTOCOL_UDP;
        lookup.sport = datagram.udp.destination;
        lookup.dport = datagram.udp.source;
        lookup.ifindex = ingress;
        let ours = F::destination(datagram.ip);
        let theirs = F::source(datagram.ip);
        // SAFETY: an address fits into the 16 bytes of its union.
        unsafe {
            (&raw mut lookup.__bindgen_anon_3).cast::<F::Addr>().write_unaligned(ours);
            (&raw mut lookup.__bindgen_anon_4).cast::<F::Addr>().write_unaligned(theirs);
        }
        // SAFETY: the context is this program's, the structure as long as is said.
        let found = unsafe {
            bpf_fib_lookup(datagram.ctx.as_ptr(), &raw mut lookup, size_of::<FibLookup>() as i32, 0)
        };
        if found != 0 {
            return Err(Verdict::NoReply);
        }
        let ifindex = (lookup.ifindex != ingress).then_some(lookup.ifindex);
        Ok(Self::Routed { smac: lookup.smac, dmac: lookup.dmac, ifindex })
    }

    #[inline(always)]
    fn apply(self, ethernet: &mut Ethernet) -> Way {
        match self {
            Self::Sender => {
                core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
                Way::Back
            }
            Self::Routed { smac, dmac, ifindex } => {
                ethernet.source = smac;
                ethernet.destination = dmac;
                match ifindex {
                    None => Way::Back,
                    // SAFETY: the helper has no preconditions.
                    Some(ifindex) => Way::Redirected(unsafe { bpf_redirect(ifindex, 0) } as u32),
                }
            }
        }
    }
}
