//! The XDP program: packet -> (connect | announce | scrape) -> reply.
//!
//! * `packet`: finds a UDP datagram for the tracker in a frame;
//! * `connect`, `announce`, `scrape`: answer one kind of request from the swarm table;
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
    maps::{Env, count},
    packet::{Datagram, Frame},
    reply::Way,
};

/// A request is answered with a verdict and a way to send the reply; what cannot be decided here
/// is passed, with the verdict that says why.
type Answer = Result<(Verdict, Way), Verdict>;

/// Looks at every frame that arrives.
#[xdp]
pub fn xdp_tracker(ctx: XdpContext) -> u32 {
    match Frame::parse(&ctx) {
        Some(Frame::V4(datagram)) => dispatch(&datagram),
        Some(Frame::V6(datagram)) => dispatch(&datagram),
        None => XDP_PASS,
    }
}

/// Which message is it? Each is served by a function of its own: all of them, for both families,
/// would not fit one stack of 512 bytes.
#[inline(always)]
fn dispatch<F: packet::Ip>(datagram: &Datagram<F>) -> u32 {
    match check(datagram) {
        Ok(Request::Connect(env, now_ns)) => {
            conclude(datagram, connect::serve(datagram, &env, now_ns))
        }
        Ok(Request::Announce(env, now_ns)) => announce::run(datagram, &env, now_ns),
        Ok(Request::Scrape(env, now_ns)) => scrape::run(datagram, &env, now_ns),
        Err(answer) => conclude(datagram, answer),
    }
}

/// A request to the tracker, as far as its kind; all but connects from a verified source.
enum Request {
    Connect(Env, u64),
    Announce(Env, u64),
    Scrape(Env, u64),
}

#[inline(always)]
fn check<F: packet::Ip>(datagram: &Datagram<F>) -> Result<Request, Answer> {
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
        return Ok(Request::Connect(env, now_ns));
    }
    let source = F::source(datagram.ip);
    if !env.config.connection_ids.is_valid::<F>(request.connection_id, &source, now_ns) {
        return Err(refuse_bad_id(datagram, &env));
    }
    match request.action {
        action::ANNOUNCE => Ok(Request::Announce(env, now_ns)),
        action::SCRAPE => Ok(Request::Scrape(env, now_ns)),
        _ => Err(Err(Verdict::Unusual)),
    }
}

/// The one place where a verdict is counted and becomes an XDP action.
#[inline(always)]
fn conclude<F: packet::Ip>(datagram: &Datagram<F>, answer: Answer) -> u32 {
    let verdict = match answer {
        Ok((verdict, _)) | Err(verdict) => verdict,
    };
    if verdict != Verdict::NotOurs {
        count::<F>(verdict);
        trace!(datagram.ctx, "verdict {}", verdict as u32);
    }
    match answer {
        // The sender can do no harm by trying again, and an error would only invite that.
        Ok((Verdict::BadIdDropped, _)) => XDP_DROP,
        Ok((_, Way::Back)) => XDP_TX,
        Ok((_, Way::Redirected(action))) => action,
        // What was not answered is the daemon's or the host's, as it came.
        Err(_) => XDP_PASS,
    }
}

/// An unverified source is never sent more bytes than it sent.
#[inline(always)]
fn refuse_bad_id<F: packet::Ip>(datagram: &Datagram<F>, env: &Env) -> Answer {
    const REPLY_BYTES: u32 = 8 + Failure::BadConnectionId.text().len() as u32 + 1;
    if env.config.flags & flag::BAD_ID_SILENT != 0 || datagram.payload_len() < REPLY_BYTES {
        return Ok((Verdict::BadIdDropped, Way::Back));
    }
    reply::error::<F, 18>(datagram, env, Failure::BadConnectionId)
        .map(|way| (Verdict::BadIdRefused, way))
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
