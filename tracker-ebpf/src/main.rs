//! The XDP program: packet -> (connect | announce | scrape) -> reply.
//!
//! * `packet`: finds a UDP datagram for the tracker in a frame;
//! * `connect`, `announce`, `scrape`: answer one kind of request from the swarm table;
//! * `approval`: what the lists of the approval hooks say;
//! * `limits`, `budget`: what floods and sources are held to;
//! * `functions`, `leaves`: the parts that the verifier looks at one by one;
//! * `reply`, `copy`, `checksum`: turn the frame around;
//! * `maps`: the maps, and the table in them;
//! * `clock`: tells the daemon by which clock the program goes.
//!
//! The program answers exactly as the daemon would, or passes the packet on unchanged. What it
//! knows of BitTorrent is in `tracker-common`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute of an XDP program drops those of its function")]

mod announce;
mod approval;
mod budget;
mod checksum;
mod clock;
mod connect;
mod copy;
mod functions;
mod leaves;
mod limits;
mod maps;
mod packet;
mod reply;
mod scrape;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::trace;
use tracker_common::{
    abi::{Verdict, flag},
    family::{V4, V6},
    verifier::seldom,
    wire::{AnnounceRequest, Failure, PROTOCOL_ID, action, is_told_of_bad_id},
};

use crate::{
    functions::{
        ADMITTED, ANSWERED, APPLIED, BAD_ID, BEGUN, OUTGROWN, UNAPPROVED_CLIENT, UNAPPROVED_IP,
        UNAPPROVED_TORRENT,
    },
    maps::{Env, Scratch, count},
    packet::{Datagram, Ip, Packet},
};

/// What became of a request: answered, the frame holding the reply, or passed on as it came. The
/// verdict says how or why.
type Answer = Result<Verdict, Verdict>;

/// Passes an announce on, which is [seldom].
#[inline(always)]
fn pass<T>(verdict: Verdict) -> Result<T, Verdict> {
    Err(seldom(verdict))
}

/// What an announce needs, or else it is passed on.
trait OrPass<T> {
    fn or_pass(self, verdict: Verdict) -> Result<T, Verdict>;
}

impl<T> OrPass<T> for Option<T> {
    #[inline(always)]
    fn or_pass(self, verdict: Verdict) -> Result<T, Verdict> {
        match self {
            Some(value) => Ok(value),
            None => pass(verdict),
        }
    }
}

const ANNOUNCE_BYTES: u32 = size_of::<AnnounceRequest>() as u32;

/// Looks at every frame that arrives.
#[xdp]
pub fn xdp_tracker(ctx: XdpContext) -> u32 {
    match Packet::find(&ctx) {
        Some(Packet::V4 { l3 }) => serve::<V4>(&ctx, l3),
        Some(Packet::V6 { l3 }) => serve::<V6>(&ctx, l3),
        None => XDP_PASS,
    }
}

/// Most requests are announces. Where nothing is to be asked before they are looked into, they go the
/// shortest way.
#[inline(always)]
fn serve<F: Ip>(ctx: &XdpContext, l3: usize) -> u32 {
    const SIFTS: u32 = flag::LIMITS | approval::LISTS;
    let Some(datagram) = Datagram::<F>::find(ctx, l3) else { return F::stray(ctx, l3) };
    let is_announce =
        datagram.payload.action == action::ANNOUNCE && datagram.payload_len() >= ANNOUNCE_BYTES;
    let is_sifted = !is_announce || Env::get().config.flags & SIFTS != 0;
    let sifted = if is_sifted { sift(&datagram, is_announce) } else { Ok(0) };
    let action = match sifted {
        Ok(objections) => announce(&datagram, objections),
        Err(action) => action,
    };
    if is_sifted { charged(ctx, action) } else { action }
}

/// Whether it is an announce to be served, and what the lists have against it; if not, the action.
#[inline(always)]
fn sift<F: Ip>(datagram: &Datagram<F>, is_announce: bool) -> Result<u32, u32> {
    let env = &Env::get();
    let now_ns = env.now_ns();
    let Some(link) = env.answers(datagram, now_ns) else {
        return Err(F::stray(datagram.ctx, datagram.l3));
    };
    // An announce is summed up where it is served.
    if !is_announce && !datagram.is_intact(link) {
        return Err(XDP_PASS);
    }
    if env.config.flags & flag::LIMITS != 0 {
        match F::admit(datagram, now_ns) {
            ADMITTED => {}
            verdict => return Err(limit(datagram, verdict)),
        }
    }
    if !is_announce {
        return Err(answer(datagram, env, now_ns));
    }
    if env.config.flags & approval::LISTS == 0 {
        return Ok(0);
    }
    Ok(F::objections(datagram, now_ns.wrapping_add(env.wall_offset_ns)))
}

/// Counts what is sent, where there is a limit.
#[inline(always)]
fn charged(ctx: &XdpContext, action: u32) -> u32 {
    let env = &Env::get();
    if env.config.flags & flag::LIMITS != 0 && action != XDP_PASS && action != XDP_DROP {
        limits::charge(ctx, env, env.now_ns());
    }
    action
}

/// Which message is it, if it is no announce? All but connects are from a source that has shown that it
/// receives our replies.
#[inline(always)]
fn answer<F: Ip>(datagram: &Datagram<F>, env: &Env, now_ns: u64) -> u32 {
    let request = datagram.payload;
    let action = request.action;
    if action == action::CONNECT {
        let answer = if request.connection_id != PROTOCOL_ID {
            Err(Verdict::Unusual)
        } else if !F::may_have_sent(datagram) {
            Err(Verdict::NoReply)
        } else {
            connect::serve(datagram, env, now_ns)
        };
        return act(datagram, conclude::<F>(datagram.ctx, env, answer));
    }
    if !env.is_valid_id::<F>(request.connection_id, datagram.ip, now_ns) {
        return act(datagram, F::refuse(datagram, Failure::BadConnectionId));
    }
    if action == action::SCRAPE {
        let is_refused =
            env.config.flags & flag::NETWORKS != 0 && F::objections_to_scrape(datagram) != 0;
        let outcome = if is_refused {
            F::refuse(datagram, Failure::UnapprovedIp)
        } else {
            F::scrape(datagram, now_ns)
        };
        return act(datagram, outcome);
    }
    F::pass(datagram, Verdict::Unusual as u32)
}

/// The XDP action of what [`conclude`] returned.
#[inline(always)]
fn act<F: Ip>(datagram: &Datagram<F>, outcome: u32) -> u32 {
    const { assert!(Verdict::NotOurs as u32 > XDP_REDIRECT) };
    if outcome <= XDP_REDIRECT { outcome } else { F::pass(datagram, outcome) }
}

/// What becomes of a request that is over a limit.
#[inline(always)]
fn limit<F: Ip>(datagram: &Datagram<F>, verdict: u32) -> u32 {
    const SOURCE_CALMED: u32 = Verdict::SourceCalmed as u32;
    const EGRESS_CALMED: u32 = Verdict::EgressCalmed as u32;
    match verdict {
        SOURCE_CALMED => F::calm(datagram, Verdict::SourceCalmed),
        EGRESS_CALMED => F::calm(datagram, Verdict::EgressCalmed),
        dropped => {
            count::<F>(dropped);
            XDP_DROP
        }
    }
}

/// An announce, in as many steps as it takes.
#[inline(always)]
fn announce<F: Ip>(datagram: &Datagram<F>, objections: u32) -> u32 {
    const NOT_OURS: u32 = Verdict::NotOurs as u32;
    // SAFETY: a run asks once: here or, for a scrape, in `scrape_v4` or `scrape_v6`.
    let Some(scratch) = (unsafe { Scratch::of_this_run() }) else { return XDP_PASS };
    let outcome = match F::announce(datagram, scratch, objections) {
        ANSWERED => return XDP_TX,
        NOT_OURS => return F::stray(datagram.ctx, datagram.l3),
        OUTGROWN => F::outgrown(scratch),
        BEGUN => F::inline(scratch),
        BAD_ID => F::refuse(datagram, Failure::BadConnectionId),
        UNAPPROVED_TORRENT => F::refuse(datagram, Failure::UnapprovedTorrent),
        UNAPPROVED_CLIENT => F::refuse(datagram, Failure::UnapprovedClient),
        UNAPPROVED_IP => F::refuse(datagram, Failure::UnapprovedIp),
        verdict => verdict,
    };
    act(datagram, if outcome == APPLIED { F::reply(datagram, scratch) } else { outcome })
}

/// Refuses a request, for a failure as a number. An unverified source is never sent more bytes than
/// it sent.
#[inline(always)]
fn refuse<F: Ip>(ctx: &XdpContext, env: &Env, l3: u32, failure: u32) -> Answer {
    const BAD_ID: u32 = Failure::BadConnectionId as u32;
    const CLIENT: u32 = Failure::UnapprovedClient as u32;
    const IP: u32 = Failure::UnapprovedIp as u32;
    const BAD_ID_LEN: usize = Failure::BadConnectionId.text_len();
    const CLIENT_LEN: usize = Failure::UnapprovedClient.text_len();
    const IP_LEN: usize = Failure::UnapprovedIp.text_len();
    const TORRENT_LEN: usize = Failure::UnapprovedTorrent.text_len();
    let datagram = &Datagram::<F>::again(ctx, l3).ok_or(Verdict::Unusual)?;
    match failure {
        BAD_ID => {
            let is_told = is_told_of_bad_id(datagram.payload, datagram.payload_len() as usize);
            if !is_told || env.config.flags & flag::BAD_ID_SILENT != 0 {
                return Ok(Verdict::BadIdDropped);
            }
            if !F::may_have_sent(datagram) {
                return Err(Verdict::NoReply);
            }
            if !limits::may_tell_of_bad_id(env, env.now_ns()) {
                return Ok(Verdict::BadIdLimited);
            }
            reply::error::<F, BAD_ID_LEN>(datagram, env, Failure::BadConnectionId)
                .map(|()| Verdict::BadIdRefused)
        }
        CLIENT => reply::error::<F, CLIENT_LEN>(datagram, env, Failure::UnapprovedClient)
            .map(|()| Verdict::ClientRefused),
        IP => reply::error::<F, IP_LEN>(datagram, env, Failure::UnapprovedIp)
            .map(|()| Verdict::SourceRefused),
        _ => reply::error::<F, TORRENT_LEN>(datagram, env, Failure::UnapprovedTorrent)
            .map(|()| Verdict::TorrentRefused),
    }
}

/// Where the verdict of what is answered is counted and becomes an XDP action, unless it is that of an announce.
/// Of what is not answered, returns the verdict, which is no action, for [`act`].
#[inline(always)]
fn conclude<F: Ip>(ctx: &XdpContext, env: &Env, answer: Answer) -> u32 {
    match answer {
        // The sender can do no harm by trying again, and an error would only invite that.
        Ok(verdict @ (Verdict::BadIdDropped | Verdict::BadIdLimited)) => drop::<F>(ctx, verdict),
        Ok(verdict) => {
            record::<F>(ctx, verdict as u32);
            reply::action(env)
        }
        Err(verdict) => verdict as u32,
    }
}

/// Counts a verdict of what is dropped. Returns the XDP action.
#[inline(always)]
fn drop<F: Ip>(ctx: &XdpContext, verdict: Verdict) -> u32 {
    record::<F>(ctx, verdict as u32);
    XDP_DROP
}

/// Counts a verdict, and shows it to who asked for a trace.
#[inline(always)]
fn record<F: Ip>(ctx: &XdpContext, verdict: u32) {
    count::<F>(verdict);
    trace!(ctx, "verdict {}", verdict);
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
