//! The parts of the program that the verifier looks at one by one.
//!
//! A global function (kernel 5.6) is verified once, for any arguments, not once for each way that
//! leads to a call of it. Its arguments are the context, plain numbers, and a pointer to this processor's
//! scratch space, of which the verifier believes nothing but its type: it may be null.

use aya_ebpf::{
    EbpfContext,
    bindings::{xdp_action::XDP_PASS, xdp_md},
    programs::XdpContext,
};
use tracker_common::{
    abi::Verdict,
    family::{Family, V4, V6},
    policy::Objections,
};

use crate::{
    announce, conclude, drop, limits,
    maps::{Env, Scratch},
    outcome::{Outcome, Step},
    packet::Datagram,
    policy, record, reply, scrape,
};

/// The global functions, by address family.
pub trait Functions: Sized + Family {
    /// Serves an announce to its end if it can.
    fn announce(
        datagram: &Datagram<Self>,
        scratch: &mut Scratch,
        objections: Objections,
    ) -> Outcome
    where
        Self: crate::packet::Ip;

    /// What the hooks have against an announce, but for those that list torrents.
    fn objections(datagram: &Datagram<Self>, wall_ns: u64) -> Objections
    where
        Self: crate::packet::Ip;

    /// Holds a scrape to the hooks: comes to [`Step::Approved`], or to what becomes of it.
    fn judge_scrape(datagram: &Datagram<Self>) -> Outcome
    where
        Self: crate::packet::Ip;

    /// Sums up the payload from an offset on: see [`sum_of_rest`](crate::packet::sum_of_rest).
    fn sum_of_rest<T>(datagram: &Datagram<Self, T>, from: u32) -> u32
    where
        Self: crate::packet::Ip;

    /// Whether a source that has not shown that it receives our replies may be sent one: see
    /// [`may_have_sent`](crate::reply::may_have_sent).
    fn may_have_sent(datagram: &Datagram<Self>) -> bool
    where
        Self: crate::packet::Ip;

    /// Holds a request to the limits that concern all: comes to [`Step::Admitted`], or to what becomes of it.
    fn admit(datagram: &Datagram<Self>, now_ns: u64) -> Outcome
    where
        Self: crate::packet::Ip;

    /// Passes a request to the daemon for this reason, if its source may have it so: returns an XDP action.
    fn pass(datagram: &Datagram<Self>, verdict: Verdict) -> u32
    where
        Self: crate::packet::Ip;

    /// Passes what is no request that the program could answer, with its IP header at `l3`: returns an XDP action.
    fn stray(ctx: &XdpContext, l3: usize) -> u32
    where
        Self: crate::packet::Ip;

    /// Answers an announce without peers: returns an XDP action.
    fn throttle(datagram: &Datagram<Self>, verdict: Verdict) -> u32
    where
        Self: crate::packet::Ip;

    /// Applies the announce in the scratch space to its torrent, which keeps its peers in its entry.
    /// Comes to [`Step::Applied`], or passes.
    fn inline(scratch: &mut Scratch) -> Outcome;

    /// The same for a torrent that has spilled its entry.
    fn spilled(scratch: &mut Scratch) -> Outcome;

    /// Replies to that announce: see [`conclude`].
    fn reply(datagram: &Datagram<Self>, scratch: &mut Scratch) -> Outcome
    where
        Self: crate::packet::Ip;

    /// Refuses a request, for [`Outcome::BadId`] or an [`Outcome::Refuse`]: see [`conclude`].
    fn refuse(datagram: &Datagram<Self>, why: Outcome) -> Outcome
    where
        Self: crate::packet::Ip;

    /// Serves a scrape to its end: see [`conclude`].
    fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> Outcome
    where
        Self: crate::packet::Ip;

    /// Appends the figures of the torrent whose info-hash is at `offset` of the frame to the
    /// scratch space. Returns 0, or 1 when the daemon is moving its peers.
    fn scrape_entry(
        datagram: &Datagram<Self>,
        offset: u32,
        scratch: &mut Scratch,
        now_ns: u64,
    ) -> u32
    where
        Self: crate::packet::Ip;
}

macro_rules! functions {
    (
        $family:ident, $announce:ident, $objections:ident, $judge_scrape:ident, $admit:ident,
        $pass:ident, $stray:ident, $throttle:ident, $inline:ident, $spilled:ident, $reply:ident, $refuse:ident,
        $scrape:ident, $entry:ident, $sum_of_rest:ident, $may_have_sent:ident
    ) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $announce(
            ctx: *mut xdp_md,
            l3: u32,
            scratch: *mut Scratch,
            objections: u64,
        ) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            let objections = Objections::from_word(objections);
            announce::run::<$family>(&XdpContext::new(ctx), l3, scratch, objections)
                .unwrap_or_else(Outcome::Pass)
                .to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $objections(ctx: *mut xdp_md, l3: u32, wall_ns: u64) -> u64 {
            policy::announce::<$family>(&XdpContext::new(ctx), l3, wall_ns).to_word()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judge_scrape(ctx: *mut xdp_md, l3: u32) -> u32 {
            policy::scrape::<$family>(&XdpContext::new(ctx), l3).to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $admit(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            limits::admit::<$family>(&XdpContext::new(ctx), l3, now_ns)
                .map_or_else(Outcome::Limit, |()| Outcome::Step(Step::Admitted))
                .to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $pass(ctx: *mut xdp_md, l3: u32, verdict: u32) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            match limits::may_pass::<$family>(ctx, env, l3, verdict) {
                Ok(()) => {
                    record::<$family>(ctx, verdict);
                    XDP_PASS
                }
                Err(throttled @ (Verdict::MissThrottled | Verdict::PassThrottled)) => {
                    $throttle(ctx.as_ptr().cast(), l3, throttled as u32)
                }
                Err(dropped) => drop::<$family>(ctx, dropped),
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $stray(ctx: *mut xdp_md, l3: u32) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            match limits::may_stray::<$family>(ctx, env, l3) {
                Ok(()) => XDP_PASS,
                Err(dropped) => drop::<$family>(ctx, dropped),
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $throttle(ctx: *mut xdp_md, l3: u32, verdict: u32) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            match limits::throttle::<$family>(ctx, env, l3, verdict) {
                // A wrong checksum, or a datagram longer than its frame: the network stack drops it.
                Err(Verdict::NotOurs) => XDP_PASS,
                Err(_) => drop::<$family>(ctx, Verdict::PassDropped),
                Ok(throttled) => {
                    record::<$family>(ctx, throttled as u32);
                    reply::action(env)
                }
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $inline(scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            announce::run_begun::<$family>(scratch)
                .map_or_else(Outcome::Pass, |()| Outcome::Step(Step::Applied))
                .to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $spilled(scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            announce::run_spilled::<$family>(scratch)
                .map_or_else(Outcome::Pass, |()| Outcome::Step(Step::Applied))
                .to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $reply(ctx: *mut xdp_md, l3: u32, scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            let answer = announce::run_reply::<$family>(ctx, env, l3, scratch);
            conclude::<$family>(ctx, env, answer).to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $refuse(ctx: *mut xdp_md, l3: u32, why: u32) -> u32 {
            let (ctx, env, why) = (&XdpContext::new(ctx), &Env::get(), Outcome::from_bits(why));
            conclude::<$family>(ctx, env, crate::refuse::<$family>(ctx, env, l3, why)).to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $scrape(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            // SAFETY: a run serves a scrape or an announce, and this is the only place where it asks for a scrape.
            let scratch = unsafe { Scratch::of_this_run() };
            let answer = scrape::run::<$family>(ctx, env, l3, scratch, now_ns);
            conclude::<$family>(ctx, env, answer).to_bits()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $entry(
            ctx: *mut xdp_md,
            offset: u32,
            scratch: *mut Scratch,
            now_ns: u64,
        ) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            scrape::append::<$family>(&XdpContext::new(ctx), offset, scratch, now_ns)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $sum_of_rest(ctx: *mut xdp_md, l3: u32, from: u32) -> u32 {
            crate::packet::sum_of_rest::<$family>(&XdpContext::new(ctx), l3, from)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $may_have_sent(ctx: *mut xdp_md, l3: u32) -> u32 {
            reply::may_have_sent::<$family>(&XdpContext::new(ctx), l3) as u32
        }

        impl Functions for $family {
            #[inline(always)]
            fn sum_of_rest<T>(datagram: &Datagram<Self, T>, from: u32) -> u32 {
                $sum_of_rest(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, from)
            }

            #[inline(always)]
            fn may_have_sent(datagram: &Datagram<Self>) -> bool {
                $may_have_sent(datagram.ctx.as_ptr().cast(), datagram.l3 as u32) != 0
            }

            #[inline(always)]
            fn announce(
                datagram: &Datagram<Self>,
                scratch: &mut Scratch,
                objections: Objections,
            ) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                // SAFETY: a borrow for as long as it runs.
                Outcome::from_bits(unsafe { $announce(ctx, l3, scratch, objections.to_word()) })
            }

            #[inline(always)]
            fn objections(datagram: &Datagram<Self>, wall_ns: u64) -> Objections {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                Objections::from_word($objections(ctx, l3, wall_ns))
            }

            #[inline(always)]
            fn judge_scrape(datagram: &Datagram<Self>) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                Outcome::from_bits($judge_scrape(ctx, l3))
            }

            #[inline(always)]
            fn admit(datagram: &Datagram<Self>, now_ns: u64) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                Outcome::from_bits($admit(ctx, l3, now_ns))
            }

            #[inline(always)]
            fn pass(datagram: &Datagram<Self>, verdict: Verdict) -> u32 {
                $pass(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, verdict as u32)
            }

            #[inline(always)]
            fn stray(ctx: &XdpContext, l3: usize) -> u32 {
                $stray(ctx.as_ptr().cast(), l3 as u32)
            }

            #[inline(always)]
            fn throttle(datagram: &Datagram<Self>, verdict: Verdict) -> u32 {
                $throttle(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, verdict as u32)
            }

            #[inline(always)]
            fn inline(scratch: &mut Scratch) -> Outcome {
                // SAFETY: as above.
                Outcome::from_bits(unsafe { $inline(scratch) })
            }

            #[inline(always)]
            fn spilled(scratch: &mut Scratch) -> Outcome {
                // SAFETY: as above.
                Outcome::from_bits(unsafe { $spilled(scratch) })
            }

            #[inline(always)]
            fn reply(datagram: &Datagram<Self>, scratch: &mut Scratch) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                // SAFETY: as above.
                Outcome::from_bits(unsafe { $reply(ctx, l3, scratch) })
            }

            #[inline(always)]
            fn refuse(datagram: &Datagram<Self>, why: Outcome) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                Outcome::from_bits($refuse(ctx, l3, why.to_bits()))
            }

            #[inline(always)]
            fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> Outcome {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                Outcome::from_bits($scrape(ctx, l3, now_ns))
            }

            #[inline(always)]
            fn scrape_entry(
                datagram: &Datagram<Self>,
                offset: u32,
                scratch: &mut Scratch,
                now_ns: u64,
            ) -> u32 {
                // SAFETY: as above.
                unsafe { $entry(datagram.ctx.as_ptr().cast(), offset, scratch, now_ns) }
            }
        }
    };
}

functions!(
    V4,
    announce_v4,
    objections_v4,
    judge_scrape_v4,
    admit_v4,
    pass_v4,
    stray_v4,
    throttle_v4,
    inline_v4,
    spilled_v4,
    reply_v4,
    refuse_v4,
    scrape_v4,
    scrape_entry_v4,
    sum_of_rest_v4,
    may_have_sent_v4
);
functions!(
    V6,
    announce_v6,
    objections_v6,
    judge_scrape_v6,
    admit_v6,
    pass_v6,
    stray_v6,
    throttle_v6,
    inline_v6,
    spilled_v6,
    reply_v6,
    refuse_v6,
    scrape_v6,
    scrape_entry_v6,
    sum_of_rest_v6,
    may_have_sent_v6
);
