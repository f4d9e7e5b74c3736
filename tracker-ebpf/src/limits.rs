//! Limits: what a source may have, what all of them may, and what an interface may send.
//!
//! A source over a limit is throttled where the protocol has the words for it: an announce is answered
//! without peers and with a long interval, after which its client comes back, while one that gets an
//! error or nothing tries again soon.

use aya_ebpf::programs::XdpContext;
use tracker_common::{
    abi::Verdict,
    budget::{Claim, Kind},
    limit::{INTERFACES, Limits, Meter},
    source::is_answered_port,
    verifier::bounded,
    wire::{AnnounceReply, RequestHead, action},
};

use crate::{
    ANNOUNCE_BYTES, Answer, budget,
    maps::Env,
    packet::{Datagram, Ip},
    reply::{self, Head},
};

/// Whether the request may be served now; if not, what is to become of it.
#[inline(always)]
pub fn admit<F: Ip>(ctx: &XdpContext, l3: u32, now_ns: u64) -> Result<(), Verdict> {
    let datagram = &Datagram::<F>::again(ctx, l3).ok_or(Verdict::Unusual)?;
    let env = &Env::get();
    let limits = &env.config.limits;
    let request = datagram.payload;
    let is_connect = request.action == action::CONNECT;
    let is_announce =
        request.action == action::ANNOUNCE && datagram.payload_len() >= ANNOUNCE_BYTES;
    let way_out = reply::way_out(datagram, env);
    let rate = &limits.egress;
    let is_limited = rate.is_limited();
    let ahead_ns =
        egress(env, way_out).filter(|_| is_limited).map_or(0, |egress| egress.ahead_ns(now_ns));
    if !rate.covers_twice(ahead_ns) {
        return Err(Verdict::EgressDropped);
    }
    // Sources without a valid connection id are refused as ever. They cost no source's budget.
    if !is_connect && !env.is_valid_id::<F>(request.connection_id, datagram.ip, now_ns) {
        return if rate.covers(ahead_ns, true) { Ok(()) } else { Err(Verdict::EgressDropped) };
    }
    // A connect proves no source either. Requests that anyone can forge leave half to requests of proven sources.
    if !rate.covers(ahead_ns, is_connect) {
        return Err(if is_announce { Verdict::EgressThrottled } else { Verdict::EgressDropped });
    }
    let kind = if is_connect { Kind::Connects } else { Kind::Requests };
    let admitted = budget::take(&claim::<F, _>(datagram, kind, now_ns));
    match (admitted, is_announce) {
        (true, _) => Ok(()),
        (false, true) => Err(Verdict::SourceThrottled),
        (false, false) => Err(Verdict::SourceDropped),
    }
}

/// Whether a request may pass to the daemon, for the reason of a verdict as a number; if not, what is to
/// become of it.
///
/// A source pays only for what a valid connection id proves to be its own. All others share one budget.
#[inline(always)]
pub fn may_pass<F: Ip>(ctx: &XdpContext, env: &Env, l3: u32, verdict: u32) -> Result<(), Verdict> {
    let now_ns = env.now_ns();
    let limits = &env.config.limits;
    let Some(datagram) = Datagram::<F>::again(ctx, l3) else { return Ok(()) };
    let request = datagram.payload;
    if !env.is_valid_id::<F>(request.connection_id, datagram.ip, now_ns) {
        let is_answered = verdict != Verdict::Unusual as u32;
        return may_pass_unproven(env, now_ns, is_answered);
    }
    let is_miss = verdict == Verdict::UnknownTorrent as u32;
    let kind = if is_miss { Kind::Misses } else { Kind::Passes };
    let may = budget::take(&claim::<F, _>(&datagram, kind, now_ns))
        && (!is_miss
            || env.total().is_none_or(|total| total.misses.take(&limits.all_misses, now_ns)));
    let is_announce =
        request.action == action::ANNOUNCE && datagram.payload_len() >= ANNOUNCE_BYTES;
    match (may, is_announce) {
        (true, _) => Ok(()),
        (false, true) => Err(if is_miss { Verdict::MissThrottled } else { Verdict::PassThrottled }),
        (false, false) => Err(Verdict::PassDropped),
    }
}

/// Whether what is no request, or whose source port is never answered, may pass to the daemon's socket, which drops
/// it. So may what the network stack trims to a request, or puts together from a first fragment. What else is not for
/// that socket passes without being counted.
#[inline(always)]
pub fn may_stray<F: Ip>(ctx: &XdpContext, env: &Env, l3: u32) -> Result<(), Verdict> {
    let Some(datagram) = Datagram::<F, ()>::again(ctx, l3) else { return Ok(()) };
    let is_stray = F::is_udp(datagram.ip)
        && F::is_own_endpoint(env.config, &datagram)
        && datagram.link(env.config).is_some()
        && (!F::is_plain_udp(datagram.ip, u16::from_be(datagram.udp.len))
            || datagram.payload_len() < size_of::<RequestHead>() as u32
            || !is_answered_port(u16::from_be(datagram.udp.source)));
    if is_stray { may_pass_unproven(env, env.now_ns(), false) } else { Ok(()) }
}

#[inline(always)]
fn may_pass_unproven(env: &Env, now_ns: u64, is_answered: bool) -> Result<(), Verdict> {
    let rate = &env.config.limits.unproven_passes;
    // Junk that the daemon leaves unanswered takes nothing from the connects that it answers.
    let may = env.total().is_none_or(|total| {
        if is_answered {
            total.unproven.take(rate, now_ns)
        } else {
            total.strays.take(rate, now_ns)
        }
    });
    if may { Ok(()) } else { Err(Verdict::UnprovenDropped) }
}

/// One more of a kind for a datagram's source.
#[inline(always)]
fn claim<F: Ip, T>(datagram: &Datagram<F, T>, kind: Kind, now_ns: u64) -> Claim {
    let [addr, _] = F::words(&F::source(datagram.ip));
    Claim { kind: kind as u32, addr, is_v6: F::IS_V6, torrent: 0, now_ns }
}

/// Answers an announce without peers, for the reason of a verdict as a number.
#[inline(always)]
pub fn throttle<F: Ip>(ctx: &XdpContext, env: &Env, l3: u32, verdict: u32) -> Answer {
    const MISS: u32 = Verdict::MissThrottled as u32;
    const PASS: u32 = Verdict::PassThrottled as u32;
    const EGRESS: u32 = Verdict::EgressThrottled as u32;
    let verdict = match verdict {
        MISS => Verdict::MissThrottled,
        PASS => Verdict::PassThrottled,
        EGRESS => Verdict::EgressThrottled,
        _ => Verdict::SourceThrottled,
    };
    let datagram = &Datagram::<F>::again(ctx, l3).ok_or(Verdict::Unusual)?;
    // One over its source's limit has not been summed up yet.
    let link = datagram.link(env.config).ok_or(Verdict::NotOurs)?;
    if !datagram.is_intact(link) {
        return Err(Verdict::NotOurs);
    }
    let RequestHead { action, transaction_id, .. } = *datagram.payload;
    let reply = Head(AnnounceReply {
        action,
        transaction_id,
        interval: env.config.limits.throttle_interval_s.to_be_bytes(),
        leechers: [0; 4],
        seeders: [0; 4],
    });
    reply::send(datagram, env, &reply, None).map(|()| verdict)
}

/// Whether one more error may be sent for a bad connection id.
#[inline(always)]
pub fn may_tell_of_bad_id(env: &Env, now_ns: u64) -> bool {
    let Limits { bad_ids, .. } = &env.config.limits;
    env.total().is_none_or(|total| total.bad_ids.take(bad_ids, now_ns))
}

/// Counts a reply that is about to be sent, for the interface that it leaves by.
#[inline(always)]
pub fn charge(ctx: &XdpContext, env: &Env, now_ns: u64) {
    let rate = &env.config.limits.egress;
    if let Some(egress) = egress(env, reply::leaves_by(ctx, env)) {
        let bytes = (ctx.data_end() - ctx.data()) as u32;
        egress.spend(rate, now_ns, bytes);
    }
}

#[inline(always)]
fn egress(env: &Env, ifindex: u32) -> Option<&'static Meter> {
    let index = bounded::<{ INTERFACES as u32 - 1 }>(ifindex);
    // SAFETY: the index is bounded.
    env.total().map(|total| unsafe { total.egress.get_unchecked(index) })
}
