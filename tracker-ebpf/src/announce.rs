//! Announce: join, refresh or leave a swarm, and learn of its peers.
//!
//! In up to three steps, which are functions of their own for want of stack: [`run`] finds the torrent, and
//! sees to the rest if its peers are in its entry, all of them are wanted and no hook waits to hear of it;
//! [`run_begun`], or [`run_spilled`] for a bigger swarm, changes the swarm and draws peers from it;
//! [`run_reply`] tells the hooks and replies.

use core::slice;

use aya_ebpf::{bindings::xdp_action::XDP_TX, programs::XdpContext};
use tracker_common::{
    abi::{AnnounceEvent, Config, EVENT_OPTIONS_MAX, Verdict, flag},
    peers::PeerBuf,
    policy::{Decision, Objections},
    table::{
        Miss,
        index::Search,
        inline,
        layout::{Entry, Gate},
        spilled,
        swarm::{self, Announce, Counts, PreparedAnnounce, Side},
    },
    time::Clock,
    verifier::bounded,
    wire::{AnnounceReply, AnnounceRequest, RequestHead, numwant},
};

use crate::{
    Answer, OrPass as _,
    leaves::LeavesInMaps,
    maps::{EVENTS, Env, Maps, Scratch, Told, count_lost_event},
    outcome::{Outcome, Step},
    packet::{Datagram, Ip},
    pass, record,
    reply::{self, Head},
};

type Request<'a, F> = Datagram<'a, F, AnnounceRequest>;

/// Flags by which some announces pass.
const PASSES: u32 = flag::IP_SPOOFING | flag::TELL_OPTIONS;

/// Wake the daemon at its own pace, not once per event: `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: u64 = 1;

/// Serves the request to its end, if it can. `objections` are those of all hooks but the ones that list torrents.
#[inline(always)]
pub fn run<F: Ip>(
    ctx: &XdpContext,
    l3: u32,
    scratch: Option<&mut Scratch>,
    objections: Objections,
) -> Result<Outcome, Verdict> {
    let scratch = scratch.or_pass(Verdict::NoReply)?;
    let datagram = &Request::<F>::find(ctx, bounded::<31>(l3)).or_pass(Verdict::NotOurs)?;
    let env = &Env::get();
    let now_ns = env.now_ns();
    let link = env.answers(datagram, now_ns).or_pass(Verdict::NotOurs)?;
    let config = env.config;
    let request = datagram.payload;
    let fixed = &request.fixed;
    // The table is far away; what can be done meanwhile comes before the search is looked at.
    let search = Search::<F>::begin(&Maps, &config.shape, &fixed.info_hash)
        .or_pass(Verdict::UnknownTorrent)?;
    if !datagram.is_intact(link) {
        return pass(Verdict::NotOurs);
    }
    if !env.is_valid_id::<F>(fixed.head.connection_id, datagram.ip, now_ns) {
        return Ok(Outcome::BadId);
    }
    if request.tail.port == [0; 2] {
        return pass(Verdict::Unusual);
    }
    // Options (BEP 41) have no meaning but for hooks, so none is looked at here, not even a malformed one.
    if config.flags & PASSES != 0 {
        check_flags(request, config.flags, datagram.rest_len())?;
    }

    let found = search.end(&Maps, &config.shape, &fixed.info_hash);
    let Some((number, entry)) = found else { return unlisted(config, objections) };
    let gate = entry.gate();
    if gate as u32 != 0 || !objections.are_none() {
        match config.policy.decide(objections, gate) {
            Decision::Serve => {}
            Decision::Refuse(rule) => return Ok(Outcome::Refuse(rule)),
            Decision::Pass => return pass(Verdict::Gated),
        }
    }
    let announce = announce_of(datagram, config);
    let clock = Clock::new(now_ns, config.lifetime);
    begin(datagram, config, scratch, &announce, clock, number, entry)
}

/// What becomes of an announce of a torrent that is not in the table. If no hook objects to it, it is the daemon's.
#[inline(always)]
fn unlisted(config: &Config, objections: Objections) -> Result<Outcome, Verdict> {
    let gate = Gate::from_number(config.policy.unlisted_gate);
    match config.policy.decide(objections, gate) {
        Decision::Refuse(rule) => Ok(Outcome::Refuse(rule)),
        Decision::Pass if !objections.are_none() => pass(Verdict::Gated),
        Decision::Serve | Decision::Pass => pass(Verdict::UnknownTorrent),
    }
}

/// Serves the announce, or leaves it for the next step.
#[inline(always)]
fn begin<F: Ip>(
    datagram: &Request<F>,
    config: &Config,
    scratch: &mut Scratch,
    announce: &Announce<F>,
    clock: Clock,
    number: u32,
    entry: Entry<'_, F>,
) -> Result<Outcome, Verdict> {
    let wants_all = announce.wanted() >= F::INLINE_PEERS;
    let is_routed = config.flags & flag::REPLY_FIB != 0;
    if !entry.is_spilled() && wants_all && !is_routed && config.events == 0 {
        // Over IPv6 it would take more stack than there is.
        let Scratch { prepared: in_map, list, .. } = scratch;
        let mut on_stack = PreparedAnnounce::default();
        let prepared = if F::IS_V6 { in_map } else { &mut on_stack };
        prepared.begin(Side::Kernel, &config.shape, clock, announce);
        return serve_inline(datagram, config, entry, prepared, list)
            .map(|()| Outcome::Act(XDP_TX));
    }
    scratch.prepared.begin(Side::Kernel, &config.shape, clock, announce);
    scratch.entry = number;
    if !entry.is_spilled() {
        return Ok(Outcome::Step(Step::Begun));
    }
    scratch.prepared.place::<F>(&config.shape);
    Ok(Outcome::Step(Step::Spilled))
}

/// Applies an announce to a torrent that keeps its peers in its entry, and replies.
#[inline(always)]
fn serve_inline<F: Ip>(
    datagram: &Request<F>,
    config: &Config,
    entry: Entry<'_, F>,
    prepared: &PreparedAnnounce,
    list: &mut PeerBuf,
) -> Result<(), Verdict> {
    let interval_s = interval_s(datagram, config);
    reply::shrink(datagram, list, |list| {
        let (counts, _) = inline::announce(entry, prepared, list).map_err(verdict)?;
        Ok(head(datagram, interval_s, &counts))
    })?;
    record::<F>(datagram.ctx, Verdict::Announced as u32);
    Ok(())
}

#[inline(always)]
fn announce_of<F: Ip>(datagram: &Request<F>, config: &Config) -> Announce<F> {
    let request = datagram.payload;
    Announce {
        addr: F::source(datagram.ip),
        port: request.tail.port,
        seeder: request.fixed.is_seeder(),
        event: request.fixed.event(),
        numwant: numwant(request.tail.numwant, config.numwant_default, config.numwant_max),
        seed: request.fixed.seed(),
    }
}

/// Applies the announce in the scratch space to its torrent, which keeps its peers in its entry.
/// Leaves the list of peers there.
#[inline(always)]
pub fn run_begun<F: Ip>(scratch: Option<&mut Scratch>) -> Result<(), Verdict> {
    let scratch = scratch.or_pass(Verdict::NoReply)?;
    let entry = Entry::<F>::at(&Maps, scratch.entry).or_pass(Verdict::UnknownTorrent)?;
    let (counts, change) =
        inline::announce_and_list(entry, &scratch.prepared, &mut scratch.list).map_err(verdict)?;
    scratch.counts = counts;
    scratch.change = change as u32;
    Ok(())
}

/// Applies the announce in the scratch space to its spilled torrent. Leaves the list of peers there.
#[inline(always)]
pub fn run_spilled<F: Ip>(scratch: Option<&mut Scratch>) -> Result<(), Verdict> {
    let scratch = scratch.or_pass(Verdict::NoReply)?;
    swarm::begin_list::<F>(&scratch.prepared, &mut scratch.list);
    let entry = Entry::<F>::at(&Maps, scratch.entry).or_pass(Verdict::UnknownTorrent)?;
    let (prepared, mut leaves) = LeavesInMaps::<F>::of(scratch);
    let (counts, change) =
        spilled::announce(&Maps, entry, prepared, &mut leaves).map_err(verdict)?;
    swarm::finish_list::<F>(&scratch.prepared, &counts, &mut scratch.list);
    scratch.counts = counts;
    scratch.change = change as u32;
    Ok(())
}

/// Replies to the announce with what is in the scratch space.
#[inline(always)]
pub fn run_reply<F: Ip>(
    ctx: &XdpContext,
    env: &Env,
    l3: u32,
    scratch: Option<&mut Scratch>,
) -> Answer {
    let datagram = Request::<F>::again(ctx, l3).or_pass(Verdict::NoReply)?;
    let scratch = scratch.or_pass(Verdict::NoReply)?;
    finish(&datagram, env, scratch)
}

#[inline(always)]
fn finish<F: Ip>(datagram: &Request<F>, env: &Env, scratch: &mut Scratch) -> Answer {
    let reply = head(datagram, interval_s(datagram, env.config), &scratch.counts);
    let is_told = env.config.events >> scratch.change & 1 != 0;
    // The reply takes the request's place, and an announce without one passes to the daemon, which tells of it.
    let told_len = if is_told { note(datagram, env.config, scratch) } else { 0 };
    reply::send(datagram, env, &reply, Some(&scratch.list))?;
    if is_told {
        tell(&scratch.told, told_len);
    }
    Ok(Verdict::Announced)
}

#[inline(always)]
fn interval_s<F: Ip>(datagram: &Request<F>, config: &Config) -> u32 {
    let fixed = &datagram.payload.fixed;
    config.interval_s + config.variation.increase_s(&fixed.info_hash, &fixed.peer_id)
}

/// The fixed part of the reply.
#[inline(always)]
fn head<F: Ip>(datagram: &Request<F>, interval_s: u32, counts: &Counts) -> Head<AnnounceReply> {
    let RequestHead { action, transaction_id, .. } = datagram.payload.fixed.head;
    Head(AnnounceReply {
        action,
        transaction_id,
        interval: interval_s.to_be_bytes(),
        leechers: counts.leechers.to_be_bytes(),
        seeders: counts.seeders.to_be_bytes(),
    })
}

const fn verdict(miss: Miss) -> Verdict {
    match miss {
        Miss::Unknown => Verdict::UnknownTorrent,
        Miss::Frozen => Verdict::Frozen,
        Miss::Full => Verdict::Full,
        Miss::Contended => Verdict::Contended,
        // The daemon finds out, and says so.
        Miss::Corrupt => Verdict::Unusual,
    }
}

/// Passes an announce that claims an address, or whose options are too long to be told of.
#[inline(always)]
fn check_flags(request: &AnnounceRequest, flags: u32, options_len: u32) -> Result<(), Verdict> {
    if flags & flag::IP_SPOOFING != 0 && request.ip != [0; 4] {
        return pass(Verdict::ClaimsAddress);
    }
    if flags & flag::TELL_OPTIONS != 0 && options_len > EVENT_OPTIONS_MAX {
        return pass(Verdict::Options);
    }
    Ok(())
}

/// Notes what the daemon's post-hooks are to be told of an announce. Returns how many bytes of options it has.
#[inline(always)]
fn note<F: Ip>(datagram: &Request<F>, config: &Config, scratch: &mut Scratch) -> usize {
    let Scratch { told, counts, change, .. } = scratch;
    let request = datagram.payload;
    let fixed = &request.fixed;
    told.event = AnnounceEvent {
        addr: F::mapped(&F::source(datagram.ip)),
        downloaded: fixed.downloaded,
        left: fixed.left,
        uploaded: fixed.uploaded,
        info_hash: fixed.info_hash.0,
        peer_id: fixed.peer_id.0,
        port: request.tail.port,
        event: fixed.event() as u8,
        change: *change as u8,
        seeders: counts.seeders,
        leechers: counts.leechers,
    };
    let len = datagram.rest_len();
    if config.flags & flag::TELL_OPTIONS == 0 || len == 0 {
        return 0;
    }
    // Kernels before 6.8 do not conclude from `!=` that it is more than that.
    let len = 1 + bounded::<{ EVENT_OPTIONS_MAX - 1 }>(len - 1);
    let start = size_of::<AnnounceRequest>() as u32;
    // SAFETY: there is room for so many.
    let is_copied = unsafe { datagram.copy(start, &raw mut told.options, len as u32) };
    // A frame that ends before its datagram does is told of without them.
    if is_copied { len } else { 0 }
}

/// Tells the daemon's post-hooks what was noted; a full ring buffer is counted.
#[inline(always)]
fn tell(told: &Told, options_len: usize) {
    let bytes = (told as *const Told).cast::<u8>();
    let len = size_of::<AnnounceEvent>() + options_len;
    // SAFETY: the event, and what was written behind it.
    let told = unsafe { slice::from_raw_parts(bytes, len) };
    if EVENTS.output::<[u8]>(told, NO_WAKEUP).is_err() {
        count_lost_event();
    }
}
