//! The XDP program: packet -> (connect | announce | scrape) -> reply.
//!
//! * `packet`: finds a UDP datagram for the tracker in a frame;
//! * `connect`, `announce`, `scrape`: answer one kind of request from the swarm table;
//! * `policy`: where the policy looks things up;
//! * `limits`, `budget`: what floods and sources are held to;
//! * `functions`, `leaves`: the parts that the verifier looks at one by one; `outcome`: what they come to;
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
mod budget;
mod checksum;
mod clock;
mod connect;
mod copy;
mod functions;
mod leaves;
mod limits;
mod maps;
mod outcome;
mod packet;
mod policy;
mod reply;
mod scrape;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::trace;
use tracker_common::{
    abi::{Verdict, flag},
    family::{V4, V6},
    match_rule,
    policy::Objections,
    verifier::cold_path,
    wire::{AnnounceRequest, Failure, PROTOCOL_ID, action, is_told_of_bad_id},
};

use crate::{
    maps::{Env, Scratch, count},
    outcome::{Outcome, Step},
    packet::{Datagram, Ip, Packet},
};

/// What became of a request: answered, the frame holding the reply, or passed on as it came. The
/// verdict says how or why.
type Answer = Result<Verdict, Verdict>;

/// Passes an announce on, which is [cold_path].
#[inline(always)]
fn pass<T>(verdict: Verdict) -> Result<T, Verdict> {
    Err(cold_path(verdict))
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
    const SIFTS: u32 = flag::LIMITS | flag::JUDGES;
    let Some(datagram) = Datagram::<F>::find(ctx, l3) else { return F::stray(ctx, l3) };
    let is_announce =
        datagram.payload.action == action::ANNOUNCE && datagram.payload_len() >= ANNOUNCE_BYTES;
    let is_sifted = !is_announce || Env::get().config.flags & SIFTS != 0;
    let sifted = if is_sifted { sift(&datagram, is_announce) } else { Ok(Objections::default()) };
    let outcome = match sifted {
        Ok(objections) => announce(&datagram, objections),
        Err(outcome) => outcome,
    };
    let action = finish(&datagram, outcome);
    if is_sifted { charged(ctx, action) } else { action }
}

/// Whether it is an announce to be served, and what the hooks have against it; if not, what becomes of it.
#[inline(always)]
fn sift<F: Ip>(datagram: &Datagram<F>, is_announce: bool) -> Result<Objections, Outcome> {
    let env = &Env::get();
    let now_ns = env.now_ns();
    let Some(link) = env.answers(datagram, now_ns) else {
        return Err(Outcome::Pass(Verdict::NotOurs));
    };
    // An announce is summed up where it is served.
    if !is_announce && !datagram.is_intact(link) {
        return Err(Outcome::Act(XDP_PASS));
    }
    if env.config.flags & flag::LIMITS != 0 {
        match F::admit(datagram, now_ns) {
            Outcome::Step(Step::Admitted) => {}
            limited => return Err(limited),
        }
    }
    if !is_announce {
        return Err(answer(datagram, env, now_ns));
    }
    if env.config.flags & flag::JUDGES == 0 {
        return Ok(Objections::default());
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
fn answer<F: Ip>(datagram: &Datagram<F>, env: &Env, now_ns: u64) -> Outcome {
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
        return conclude::<F>(datagram.ctx, env, answer);
    }
    if !env.is_valid_id::<F>(request.connection_id, datagram.ip, now_ns) {
        return Outcome::BadId;
    }
    if action != action::SCRAPE {
        return Outcome::Pass(Verdict::Unusual);
    }
    match F::judge_scrape(datagram) {
        Outcome::Step(Step::Approved) => F::scrape(datagram, now_ns),
        judged => judged,
    }
}

/// An announce, in as many steps as it takes.
#[inline(always)]
fn announce<F: Ip>(datagram: &Datagram<F>, objections: Objections) -> Outcome {
    // SAFETY: a run asks once: here or, for a scrape, in `scrape_v4` or `scrape_v6`.
    let Some(scratch) = (unsafe { Scratch::of_this_run() }) else { return Outcome::Act(XDP_PASS) };
    let outcome = match F::announce(datagram, scratch, objections) {
        Outcome::Step(Step::Spilled) => F::spilled(scratch),
        Outcome::Step(Step::Begun) => F::inline(scratch),
        outcome => outcome,
    };
    match outcome {
        Outcome::Step(Step::Applied) => F::reply(datagram, scratch),
        outcome => outcome,
    }
}

/// Where an outcome becomes an XDP action.
#[inline(always)]
fn finish<F: Ip>(datagram: &Datagram<F>, outcome: Outcome) -> u32 {
    let outcome = match outcome {
        why @ (Outcome::BadId | Outcome::Refuse(_)) => F::refuse(datagram, why),
        outcome => outcome,
    };
    match outcome {
        Outcome::Act(action) => action,
        Outcome::Pass(Verdict::NotOurs) => F::stray(datagram.ctx, datagram.l3),
        Outcome::Pass(verdict) => F::pass(datagram, verdict),
        Outcome::Limit(throttled @ (Verdict::SourceThrottled | Verdict::EgressThrottled)) => {
            F::throttle(datagram, throttled)
        }
        Outcome::Limit(dropped) => {
            count::<F>(dropped as u32);
            XDP_DROP
        }
        // No function ends with these.
        Outcome::BadId | Outcome::Refuse(_) | Outcome::Step(_) => XDP_PASS,
    }
}

/// Refuses a request. An unverified source is never sent more bytes than it sent.
#[inline(always)]
fn refuse<F: Ip>(ctx: &XdpContext, env: &Env, l3: u32, why: Outcome) -> Answer {
    let datagram = &Datagram::<F>::again(ctx, l3).ok_or(Verdict::Unusual)?;
    let Outcome::Refuse(rule) = why else { return refuse_bad_id(datagram, env) };
    match_rule!(rule, RULE => {
        const FAILURE: Failure = Failure::Unapproved(RULE);
        const LEN: usize = FAILURE.text_len();
        reply::error::<F, LEN>(datagram, env, FAILURE).map(|()| RULE.verdict())
    })
}

#[inline(always)]
fn refuse_bad_id<F: Ip>(datagram: &Datagram<F>, env: &Env) -> Answer {
    const LEN: usize = Failure::BadConnectionId.text_len();
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
    reply::error::<F, LEN>(datagram, env, Failure::BadConnectionId).map(|()| Verdict::BadIdRefused)
}

/// Where the verdict of what is answered is counted, unless it is that of an announce.
#[inline(always)]
fn conclude<F: Ip>(ctx: &XdpContext, env: &Env, answer: Answer) -> Outcome {
    match answer {
        // The sender can do no harm by trying again, and an error would only invite that.
        Ok(verdict @ (Verdict::BadIdDropped | Verdict::BadIdLimited)) => {
            Outcome::Act(drop::<F>(ctx, verdict))
        }
        Ok(verdict) => {
            record::<F>(ctx, verdict as u32);
            Outcome::Act(reply::action(env))
        }
        Err(verdict) => Outcome::Pass(verdict),
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
