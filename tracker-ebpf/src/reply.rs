//! Turns a request's frame into the reply's.

use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_fib_lookup as FibLookup, xdp_action::XDP_TX},
    helpers::generated::{bpf_fib_lookup, bpf_redirect, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use tracker_common::{
    abi::{LINKS, LOCAL_MAX, Verdict, flag},
    family::V4,
    peers::{Cursor, List, PeerBuf},
    verifier::{add_now, bounded, bounded_range},
    wire::{AnnounceReply, AnnounceRequest, Failure, ReplyHead, ScrapeEntry, action},
};

use crate::{
    OrPass as _, checksum, copy,
    maps::{Env, Route},
    packet::{Datagram, ETHERNET_BYTES, Ethernet, Ip, L3_MAX, PROTOCOL_UDP, UDP_BYTES, Udp, at},
    pass,
};

/// The headers of a reply in one piece.
#[repr(C, packed)]
struct Reply<I, H> {
    ip: I,
    udp: Udp,
    head: H,
}

/// The fixed part of a reply. The stack must be accessed in aligned words, which LLVM does not
/// know; messages themselves have no alignment.
#[repr(C, align(8))]
pub struct Head<H>(pub H);

/// Ethernet frames are padded to this many bytes, less their checksum.
const FRAME_BYTES_MIN: usize = 60;

/// No reply with a list is shorter than its frame must be.
const _: () = assert!(
    ETHERNET_BYTES
        + Datagram::<V4, ()>::PAYLOAD
        + size_of::<ReplyHead>()
        + size_of::<ScrapeEntry>()
        >= FRAME_BYTES_MIN
);

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Replies with `head` and the bytes of `list`. Until nothing can fail any more, the frame is left
/// as it was.
#[inline(always)]
pub fn send<F: Ip, T, H>(
    datagram: &Datagram<F, T>,
    env: &Env,
    head: &Head<H>,
    list: Option<&PeerBuf>,
) -> Result<(), Verdict> {
    find_next_hop(datagram, env)?;
    let ctx = datagram.ctx;
    let l3 = datagram.l3;
    let udp_len = UDP_BYTES + size_of::<H>() + list.map_or(0, |list| list.len() as usize);
    resize(ctx, l3 + F::HEADER_BYTES + udp_len)?;

    // The frame is as long as the reply, so this is all there.
    let ethernet: *mut Ethernet = at(ctx, 0).or_pass(Verdict::NoReply)?;
    let start: *mut Reply<F::Header, H> = at(ctx, l3).or_pass(Verdict::NoReply)?;
    let list_at = l3
        + const {
            let before = Datagram::<F, T>::PAYLOAD + size_of::<H>();
            assert!(L3_MAX + before <= copy::OFFSET_MAX as usize);
            before
        };
    let list_sum = match list {
        Some(list) if !list.is_empty() => copy::to_end_of_frame(ctx, list_at, list, env.zero),
        _ => 0,
    };
    // SAFETY: `at` checked the bounds, and the two do not overlap.
    unsafe { write::<F, H>(start, head, udp_len as u16, list_sum) };
    // SAFETY: as above.
    address(unsafe { &mut *ethernet }, env, ctx.ingress_ifindex() as u32)
}

/// Replies with no more peers than an entry holds, in the place of the request, which is longer than the
/// reply, to whoever handed us that. `draw` makes the list and the head.
#[inline(always)]
pub fn shrink<F: Ip>(
    datagram: &Datagram<F, AnnounceRequest>,
    list: &mut PeerBuf,
    draw: impl FnOnce(&mut Summed<'_>) -> Result<Head<AnnounceReply>, Verdict>,
) -> Result<(), Verdict> {
    let ctx = datagram.ctx;
    list.clear();
    let mut drawn = Summed { cursor: list.cursor(), sum: 0 };
    let head = draw(&mut drawn)?;
    let (list_len, list_sum) = (drawn.cursor.len() as usize, drawn.sum);
    let udp_len = UDP_BYTES + size_of::<AnnounceReply>() + list_len;
    let ethernet: *mut Ethernet = at(ctx, 0).or_pass(Verdict::NoReply)?;
    const { assert!(size_of::<InlineReply<()>>() <= UDP_BYTES + size_of::<AnnounceRequest>()) };
    let start: *mut InlineReply<F::Header> = datagram.start.cast();
    // SAFETY: `at` checked the bounds, and the two do not overlap. The request is longer than the reply, and
    // is not looked at any more; the buffer is longer than the list.
    unsafe {
        write::<F, AnnounceReply>(
            (&raw mut (*start).reply).cast(),
            &head,
            udp_len as u16,
            list_sum,
        );
        let words = (F::INLINE_PEERS as usize * F::PEER_BYTES).div_ceil(8);
        let (from, to) = (list.as_ptr().cast::<u64>(), (&raw mut (*start).peers).cast::<u64>());
        for word in 0..words {
            to.add(word).write_unaligned(from.add(word).read());
        }
    }
    // SAFETY: as above.
    send_back(unsafe { &mut *ethernet });
    const { assert!(ETHERNET_BYTES + F::HEADER_BYTES + REPLY_BYTES_MIN >= FRAME_BYTES_MIN) };
    // Taking bytes from a frame never fails.
    set_len(ctx, datagram.l3 + F::HEADER_BYTES + udp_len)
}

/// A reply to an announce with not even one peer, and its UDP header.
const REPLY_BYTES_MIN: usize = UDP_BYTES + size_of::<AnnounceReply>();

/// A reply with room for as many peers as an entry of either family holds, in words.
#[repr(C, packed)]
struct InlineReply<I> {
    reply: Reply<I, AnnounceReply>,
    peers: [u64; 9],
}

/// A list of no more peers than an entry holds, summed up for the checksum.
pub struct Summed<'a> {
    cursor: Cursor<'a>,
    sum: u64,
}

impl List for Summed<'_> {
    const IS_WHOLE: bool = true;

    #[inline(always)]
    fn is_full(&self) -> bool {
        false
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    #[inline(always)]
    fn make_room(&mut self) {
        self.cursor.make_room();
    }

    #[inline(always)]
    fn push_v4(&mut self, word: u64, accept: u64) {
        self.cursor.push_v4(word, accept);
        add_now(&mut self.sum, (word & 0xffff_ffff_ffff) * accept);
    }

    #[inline(always)]
    fn push_v6(&mut self, addr: [u64; 2], port: u16, accept: u64) {
        self.cursor.push_v6(addr, port, accept);
        add_now(&mut self.sum, (checksum::sum_words(addr) + port as u64) * accept);
    }
}

/// Gives the frame the length of the reply.
#[inline(always)]
fn resize(ctx: &XdpContext, reply_len: usize) -> Result<(), Verdict> {
    let len = ctx.data_end() - ctx.data();
    let reply_len = if reply_len < FRAME_BYTES_MIN && len >= FRAME_BYTES_MIN {
        FRAME_BYTES_MIN
    } else {
        reply_len
    };
    if reply_len == len { Ok(()) } else { set_len(ctx, reply_len) }
}

/// Gives the frame another length.
#[inline(always)]
fn set_len(ctx: &XdpContext, len: usize) -> Result<(), Verdict> {
    // LLVM would subtract the lower halves of the pointers, which the verifier does not let pass.
    let now = bounded::<{ u16::MAX as u32 }>((ctx.data_end() - ctx.data()) as u32);
    let delta = len as i32 - now as i32;
    // SAFETY: the context is this program's.
    let failed = unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), delta) };
    if failed != 0 { pass(Verdict::NoReply) } else { Ok(()) }
}

/// Writes the headers and the head of the reply over those of the request. `list_sum` is that of what
/// comes after the head.
///
/// # Safety
/// `start` is where the request's IP header begins, and there is room for all.
#[inline(always)]
unsafe fn write<F: Ip, H>(
    start: *mut Reply<F::Header, H>,
    head: &Head<H>,
    udp_len: u16,
    list_sum: u64,
) {
    // SAFETY: as the caller says; frames are aligned to 2.
    let ip = unsafe { &mut *(&raw mut (*start).ip) };
    let addresses =
        checksum::sum_addr::<F>(&F::source(ip)) + checksum::sum_addr::<F>(&F::destination(ip));
    F::turn_around(ip, udp_len, addresses);
    // SAFETY: as above.
    let udp = unsafe { &mut *(&raw mut (*start).udp) };
    let ports = [udp.source, udp.destination];
    let len = udp_len.to_be();
    let pseudo_header = addresses + (PROTOCOL_UDP as u16).to_be() as u64 + len as u64;
    let sum =
        pseudo_header + checksum::sum(&ports) + len as u64 + checksum::sum(&head.0) + list_sum;
    let [source, destination] = ports;
    udp.source = destination;
    udp.destination = source;
    udp.len = len;
    udp.checksum = checksum::of_datagram(sum);
    // SAFETY: as above; the frame is not aligned for `H`.
    unsafe { (&raw mut (*start).head).write_unaligned(core::ptr::read(&head.0)) };
}

/// Replies with a failure; `N` is the length of its text with the NUL.
#[inline(always)]
pub fn error<F: Ip, const N: usize>(
    datagram: &Datagram<F>,
    env: &Env,
    failure: Failure,
) -> Result<(), Verdict> {
    #[repr(C)]
    struct Error<const N: usize> {
        head: ReplyHead,
        text: [u8; N],
    }
    let transaction_id = datagram.payload.transaction_id;
    let mut reply =
        Head(Error { head: ReplyHead { action: action::ERROR, transaction_id }, text: [0; N] });
    let text = failure.text().as_bytes();
    for index in 0..N - 1 {
        reply.0.text[index] = text[index];
    }
    send(datagram, env, &reply, None)
}

/// Whether this source may have sent the datagram: it is none of this machine's addresses, which the network stack
/// takes from no interface, and, where that is to be checked, a reply would leave by the interface and to the neighbour
/// that the request came from.
///
/// Only sources that have not shown that they receive our replies are asked about: without a connection id there is
/// nothing to be had.
#[inline(always)]
pub fn may_have_sent<F: Ip>(ctx: &XdpContext, l3: u32) -> bool {
    let env = &Env::get();
    let Some(datagram) = Datagram::<F>::again(ctx, l3) else { return false };
    let source = F::words(&F::source(datagram.ip));
    let is_local = bounded_range::<{ LOCAL_MAX as u32 }>(env.config.local_len).any(|index| {
        // SAFETY: within the array.
        let local = unsafe { env.config.local.get_unchecked(index as usize) };
        (local[0] ^ source[0]) | (local[1] ^ source[1]) == 0
    });
    if is_local {
        return false;
    }
    if env.config.flags & flag::REVERSE_PATH == 0 {
        return true;
    }
    if look_up(&datagram).is_err() {
        return false;
    }
    let Some(route) = Route::get() else { return false };
    let Some(ethernet) = at::<Ethernet>(ctx, 0) else { return false };
    // SAFETY: `at` checked the bounds.
    let sender = unsafe { (*ethernet).source };
    // SAFETY: nothing changes the answer meanwhile.
    let hop = unsafe { &*route.next_hop.as_ptr() };
    let slot = bounded::<{ LINKS as u32 - 1 }>(ctx.ingress_ifindex() as u32);
    // SAFETY: within the array. The frame came by the interface of this slot, or would not be answered.
    let link = unsafe { env.config.links.get_unchecked(slot) };
    hop.ifindex == link.routed_as && hop.dmac == sender
}

/// Where replies are routed rather than returned to their sender, asks the routing table.
#[inline(always)]
fn find_next_hop<F: Ip, T>(datagram: &Datagram<F, T>, env: &Env) -> Result<(), Verdict> {
    if env.config.flags & flag::REPLY_FIB == 0 {
        return Ok(());
    }
    look_up(datagram)
}

/// The interface that a reply to the datagram would leave by. Only where an egress limit asks for it, since it may cost
/// one more look at the routing table.
#[inline(always)]
pub fn way_out<F: Ip>(datagram: &Datagram<F>, env: &Env) -> u32 {
    let ingress = datagram.ctx.ingress_ifindex() as u32;
    let is_asked_for = env.config.limits.egress.is_limited();
    if !is_asked_for || find_next_hop(datagram, env).is_err() {
        return ingress;
    }
    leaves_by(datagram.ctx, env)
}

/// The interface that the reply leaves by whose way has been found.
#[inline(always)]
pub fn leaves_by(ctx: &XdpContext, env: &Env) -> u32 {
    let ingress = ctx.ingress_ifindex() as u32;
    if env.config.flags & flag::REPLY_FIB == 0 {
        return ingress;
    }
    let Some(route) = Route::get() else { return ingress };
    // SAFETY: nothing changes the answer meanwhile.
    unsafe { (*route.next_hop.as_ptr()).ifindex }
}

/// Asks the routing table for the way to the source. The answer stays in the scratch space: its MAC addresses are not
/// aligned as the stack must be.
#[inline(always)]
fn look_up<F: Ip, T>(datagram: &Datagram<F, T>) -> Result<(), Verdict> {
    // The table knows the VLAN's own interface, not the one below it that the frame came by.
    if datagram.l3 != ETHERNET_BYTES {
        return pass(Verdict::NoReply);
    }
    let route = Route::get().or_pass(Verdict::NoReply)?;
    // SAFETY: nothing else is at the cell before the helper has returned.
    let hop = unsafe { &mut *route.next_hop.as_ptr() };
    hop.family = if F::IS_V6 { AF_INET6 } else { AF_INET };
    hop.l4_protocol = PROTOCOL_UDP;
    hop.sport = datagram.udp.destination;
    hop.dport = datagram.udp.source;
    hop.ifindex = datagram.ctx.ingress_ifindex() as u32;
    hop.__bindgen_anon_1.tot_len = 0;
    hop.__bindgen_anon_2.flowinfo = 0;
    // SAFETY: an address fits into the 16 bytes of its union; the structure is as long as is said.
    let failed = unsafe {
        let ours = (&raw mut hop.__bindgen_anon_3).cast::<F::Addr>();
        ours.write_unaligned(F::destination(datagram.ip));
        let theirs = (&raw mut hop.__bindgen_anon_4).cast::<F::Addr>();
        theirs.write_unaligned(F::source(datagram.ip));
        bpf_fib_lookup(datagram.ctx.as_ptr(), &raw mut *hop, size_of::<FibLookup>() as i32, 0)
    };
    if failed != 0 { pass(Verdict::NoReply) } else { Ok(()) }
}

/// Addresses the frame to whoever handed us the request.
#[inline(always)]
fn send_back(ethernet: &mut Ethernet) {
    core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
}

/// Addresses the frame to the next hop: whoever handed us the request, or who was looked up.
#[inline(always)]
fn address(ethernet: &mut Ethernet, env: &Env, ingress: u32) -> Result<(), Verdict> {
    if env.config.flags & flag::REPLY_FIB == 0 {
        send_back(ethernet);
        return Ok(());
    }
    let route = Route::get().or_pass(Verdict::NoReply)?;
    // SAFETY: nothing changes the answer meanwhile.
    let hop = unsafe { &*route.next_hop.as_ptr() };
    ethernet.source = hop.smac;
    ethernet.destination = hop.dmac;
    route.action.set(if hop.ifindex == ingress {
        XDP_TX
    } else {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_redirect(hop.ifindex, 0) as u32 }
    });
    Ok(())
}

/// The XDP action that sends the reply which was just made.
#[inline(always)]
pub fn action(env: &Env) -> u32 {
    if env.config.flags & flag::REPLY_FIB == 0 {
        return XDP_TX;
    }
    Route::get().map_or(XDP_TX, |route| route.action.get())
}
