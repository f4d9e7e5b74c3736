//! The XDP program: packet -> (connect | announce | scrape) -> reply.
//!
//! * `packet`: finds a UDP datagram for the tracker in a frame;
//! * `connect`, `announce`, `scrape`: answer one kind of request from the swarm table;
//! * `functions`: the parts that the verifier looks at one by one;
//! * `reply`, `checksum`: turn the frame around;
//! * `maps`: the maps, and the table in them.
//!
//! The program answers exactly as the daemon would, or passes the packet on unchanged. What it
//! knows of BitTorrent is in `tracker-common`.
#![no_std]
#![no_main]

mod announce;
mod checksum;
mod connect;
mod functions;
mod maps;
mod packet;
mod reply;
mod scrape;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::trace;
use tracker_common::{
    abi::{Verdict, flag},
    wire::{Failure, PROTOCOL_ID, RequestHead, action},
};

use crate::{
    functions::{APPLIED, OUTGROWN},
    maps::{Env, count},
    packet::{Datagram, Frame},
};

/// What became of a request: answered, the frame holding the reply, or passed on as it came. The
/// verdict says how or why.
type Answer = Result<Verdict, Verdict>;

/// Looks at every frame that arrives.
#[xdp]
pub fn xdp_tracker(ctx: XdpContext) -> u32 {
    match Frame::parse(&ctx) {
        Some(Frame::V4(datagram)) => dispatch(&datagram),
        Some(Frame::V6(datagram)) => dispatch(&datagram),
        None => XDP_PASS,
    }
}

/// Which message is it?
#[inline(always)]
fn dispatch<F: packet::Ip>(datagram: &Datagram<F>) -> u32 {
    let answer = match check(datagram) {
        Ok((Message::Announce, now_ns)) => return announce(datagram, now_ns),
        Ok((Message::Scrape, now_ns)) => return F::scrape(datagram, now_ns),
        Ok((Message::Connect, now_ns)) => connect::serve(datagram, now_ns),
        Err(answer) => answer,
    };
    conclude::<F>(datagram.ctx, answer)
}

/// An announce, in as many steps as it takes.
#[inline(always)]
fn announce<F: packet::Ip>(datagram: &Datagram<F>, now_ns: u64) -> u32 {
    let action = F::announce(datagram, now_ns);
    if action != OUTGROWN {
        return action;
    }
    let outcome = F::outgrown();
    if outcome == APPLIED {
        return F::reply(datagram);
    }
    pass::<F>(outcome)
}

/// What the tracker is asked for.
enum Message {
    Connect,
    Announce,
    Scrape,
}

/// A request to the tracker, as far as its kind, and when it came. All but connects are from a
/// source that has shown that it receives our replies.
#[inline(always)]
fn check<F: packet::Ip>(datagram: &Datagram<F>) -> Result<(Message, u64), Answer> {
    let env = Env::get().ok_or(Err(Verdict::NotOurs))?;
    if !F::is_own_endpoint(env.config, datagram) {
        return Err(Err(Verdict::NotOurs));
    }
    let request: &RequestHead = datagram.payload_at(0).ok_or(Err(Verdict::Unusual))?;
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_coarse_ns() };

    if request.action == action::CONNECT {
        if request.connection_id != PROTOCOL_ID {
            return Err(Err(Verdict::Unusual));
        }
        return Ok((Message::Connect, now_ns));
    }
    let source = F::source(datagram.ip);
    if !env.config.connection_ids.is_valid::<F>(
        request.connection_id,
        &source,
        now_ns.wrapping_add(env.wall_offset_ns),
    ) {
        return Err(refuse_bad_id(datagram, &env));
    }
    match request.action {
        action::ANNOUNCE => Ok((Message::Announce, now_ns)),
        action::SCRAPE => Ok((Message::Scrape, now_ns)),
        _ => Err(Err(Verdict::Unusual)),
    }
}

/// The one place where a verdict is counted and becomes an XDP action.
#[inline(always)]
fn conclude<F: packet::Ip>(ctx: &XdpContext, answer: Answer) -> u32 {
    let (Ok(verdict) | Err(verdict)) = answer;
    if verdict != Verdict::NotOurs {
        count::<F>(verdict as u32);
        trace!(ctx, "verdict {}", verdict as u32);
    }
    match answer {
        // The sender can do no harm by trying again, and an error would only invite that.
        Ok(Verdict::BadIdDropped) => XDP_DROP,
        Ok(_) => Env::get().map_or(XDP_TX, |env| reply::action(&env)),
        // What was not answered is the daemon's or the host's.
        Err(_) => XDP_PASS,
    }
}

/// The same for a verdict that came as a number from another function, and means that the packet is
/// passed on.
#[inline(always)]
fn pass<F: packet::Ip>(verdict: u32) -> u32 {
    count::<F>(verdict);
    XDP_PASS
}

/// An unverified source is never sent more bytes than it sent.
#[inline(always)]
fn refuse_bad_id<F: packet::Ip>(datagram: &Datagram<F>, env: &Env) -> Answer {
    const REPLY_BYTES: u32 = 8 + Failure::BadConnectionId.text().len() as u32 + 1;
    if env.config.flags & flag::BAD_ID_SILENT != 0 || datagram.payload_len() < REPLY_BYTES {
        return Ok(Verdict::BadIdDropped);
    }
    reply::error::<F, 18>(datagram, env, Failure::BadConnectionId).map(|()| Verdict::BadIdRefused)
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no code path panics; the verifier would find one that does.
    unsafe { core::hint::unreachable_unchecked() }
}

/// `bpf_fib_lookup` may only be called by GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
