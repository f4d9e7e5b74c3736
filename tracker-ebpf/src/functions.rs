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
    wire::Failure,
};

use crate::{
    announce::{self, Done},
    approval, conclude, drop, limits,
    maps::{Env, Scratch},
    packet::Datagram,
    record, reply, scrape,
};

/// No verdict: the torrent's peers are not in its line, and what to do is in the scratch space.
pub const OUTGROWN: u32 = 100;

/// No verdict: the connection id is bad.
pub const BAD_ID: u32 = 101;

/// No verdict: the torrent is not approved.
pub const UNAPPROVED_TORRENT: u32 = 102;

/// No verdict: the client is not approved.
pub const UNAPPROVED_CLIENT: u32 = 103;

/// No verdict: the source is not approved.
pub const UNAPPROVED_IP: u32 = 104;

/// No verdict: counted, and the reply is in the frame.
pub const ANSWERED: u32 = 105;

/// No verdict: the torrent's peers are in its line, and what to do is in the scratch space.
pub const BEGUN: u32 = 106;

/// No verdict: the request is within the limits.
pub const ADMITTED: u32 = 101;

/// No verdict: what to reply is in the scratch space.
pub const APPLIED: u32 = 100;

/// The global functions, by address family.
pub trait Functions: Sized + Family {
    /// Serves an announce to its end if it can: returns [`ANSWERED`], what else is to be done, or the verdict
    /// with which it is passed.
    fn announce(datagram: &Datagram<Self>, scratch: &mut Scratch, objections: u32) -> u32
    where
        Self: crate::packet::Ip;

    /// What lists have against an announce: see `approval`.
    fn objections(datagram: &Datagram<Self>, wall_ns: u64) -> u32
    where
        Self: crate::packet::Ip;

    /// What lists have against a scrape: see `approval`.
    fn objections_to_scrape(datagram: &Datagram<Self>) -> u32
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

    /// Holds a request to the limits that concern all: returns [`ADMITTED`] or a verdict.
    fn admit(datagram: &Datagram<Self>, now_ns: u64) -> u32
    where
        Self: crate::packet::Ip;

    /// Passes a request to the daemon for the reason of a verdict as a number, if its source may have it so:
    /// returns an XDP action.
    fn pass(datagram: &Datagram<Self>, verdict: u32) -> u32
    where
        Self: crate::packet::Ip;

    /// Passes what is no request that the program could answer, with its IP header at `l3`: returns an XDP action.
    fn stray(ctx: &XdpContext, l3: usize) -> u32
    where
        Self: crate::packet::Ip;

    /// Answers an announce without peers: returns an XDP action.
    fn calm(datagram: &Datagram<Self>, verdict: Verdict) -> u32
    where
        Self: crate::packet::Ip;

    /// Applies the announce in the scratch space to its torrent, which keeps its peers in its line.
    /// Returns [`APPLIED`] or a verdict.
    fn inline(scratch: &mut Scratch) -> u32;

    /// The same for a torrent that has outgrown its line.
    fn outgrown(scratch: &mut Scratch) -> u32;

    /// Replies to that announce: see [`conclude`].
    fn reply(datagram: &Datagram<Self>, scratch: &mut Scratch) -> u32
    where
        Self: crate::packet::Ip;

    /// Refuses a request: see [`conclude`].
    fn refuse(datagram: &Datagram<Self>, failure: Failure) -> u32
    where
        Self: crate::packet::Ip;

    /// Serves a scrape to its end: see [`conclude`].
    fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> u32
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
        $family:ident, $announce:ident, $objections:ident, $objections_to_scrape:ident, $admit:ident,
        $pass:ident, $stray:ident, $calm:ident, $inline:ident, $outgrown:ident, $reply:ident, $refuse:ident,
        $scrape:ident, $entry:ident, $sum_of_rest:ident, $may_have_sent:ident
    ) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $announce(
            ctx: *mut xdp_md,
            l3: u32,
            scratch: *mut Scratch,
            objections: u32,
        ) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            match announce::run::<$family>(&XdpContext::new(ctx), l3, scratch, objections) {
                Ok(Done::Served) => ANSWERED,
                Ok(Done::Begun) => BEGUN,
                Ok(Done::Outgrown) => OUTGROWN,
                Ok(Done::Refused(Failure::BadConnectionId)) => BAD_ID,
                Ok(Done::Refused(Failure::UnapprovedClient)) => UNAPPROVED_CLIENT,
                Ok(Done::Refused(Failure::UnapprovedIp)) => UNAPPROVED_IP,
                Ok(Done::Refused(_)) => UNAPPROVED_TORRENT,
                Err(verdict) => verdict as u32,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $objections(ctx: *mut xdp_md, l3: u32, wall_ns: u64) -> u32 {
            approval::announce::<$family>(&XdpContext::new(ctx), l3, wall_ns)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $objections_to_scrape(ctx: *mut xdp_md, l3: u32) -> u32 {
            approval::scrape::<$family>(&XdpContext::new(ctx), l3)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $admit(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            match limits::admit::<$family>(&XdpContext::new(ctx), l3, now_ns) {
                Ok(()) => ADMITTED,
                Err(verdict) => verdict as u32,
            }
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
                Err(calmed @ (Verdict::MissCalmed | Verdict::PassCalmed)) => {
                    $calm(ctx.as_ptr().cast(), l3, calmed as u32)
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
        extern "C" fn $calm(ctx: *mut xdp_md, l3: u32, verdict: u32) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            match limits::calm::<$family>(ctx, env, l3, verdict) {
                // A wrong checksum, or a datagram longer than its frame: the network stack drops it.
                Err(Verdict::NotOurs) => XDP_PASS,
                Err(_) => drop::<$family>(ctx, Verdict::PassDropped),
                answer => conclude::<$family>(ctx, env, answer),
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $inline(scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            announce::run_begun::<$family>(scratch)
                .map_or_else(|verdict| verdict as u32, |()| APPLIED)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $outgrown(scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            announce::run_outgrown::<$family>(scratch)
                .map_or_else(|verdict| verdict as u32, |()| APPLIED)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $reply(ctx: *mut xdp_md, l3: u32, scratch: *mut Scratch) -> u32 {
            // SAFETY: as `Functions` calls it.
            let scratch = unsafe { Scratch::handed(scratch) };
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            conclude::<$family>(ctx, env, announce::run_reply::<$family>(ctx, env, l3, scratch))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $refuse(ctx: *mut xdp_md, l3: u32, failure: u32) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            conclude::<$family>(ctx, env, crate::refuse::<$family>(ctx, env, l3, failure))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $scrape(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            let (ctx, env) = (&XdpContext::new(ctx), &Env::get());
            // SAFETY: a run serves a scrape or an announce, and this is the only place where it asks for a scrape.
            let scratch = unsafe { Scratch::of_this_run() };
            conclude::<$family>(ctx, env, scrape::run::<$family>(ctx, env, l3, scratch, now_ns))
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
            fn announce(datagram: &Datagram<Self>, scratch: &mut Scratch, objections: u32) -> u32 {
                let (ctx, l3) = (datagram.ctx.as_ptr().cast(), datagram.l3 as u32);
                // SAFETY: a borrow for as long as it runs.
                unsafe { $announce(ctx, l3, scratch, objections) }
            }

            #[inline(always)]
            fn objections(datagram: &Datagram<Self>, wall_ns: u64) -> u32 {
                $objections(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, wall_ns)
            }

            #[inline(always)]
            fn objections_to_scrape(datagram: &Datagram<Self>) -> u32 {
                $objections_to_scrape(datagram.ctx.as_ptr().cast(), datagram.l3 as u32)
            }

            #[inline(always)]
            fn admit(datagram: &Datagram<Self>, now_ns: u64) -> u32 {
                $admit(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, now_ns)
            }

            #[inline(always)]
            fn pass(datagram: &Datagram<Self>, verdict: u32) -> u32 {
                $pass(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, verdict)
            }

            #[inline(always)]
            fn stray(ctx: &XdpContext, l3: usize) -> u32 {
                $stray(ctx.as_ptr().cast(), l3 as u32)
            }

            #[inline(always)]
            fn calm(datagram: &Datagram<Self>, verdict: Verdict) -> u32 {
                $calm(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, verdict as u32)
            }

            #[inline(always)]
            fn inline(scratch: &mut Scratch) -> u32 {
                // SAFETY: as above.
                unsafe { $inline(scratch) }
            }

            #[inline(always)]
            fn outgrown(scratch: &mut Scratch) -> u32 {
                // SAFETY: as above.
                unsafe { $outgrown(scratch) }
            }

            #[inline(always)]
            fn reply(datagram: &Datagram<Self>, scratch: &mut Scratch) -> u32 {
                // SAFETY: as above.
                unsafe { $reply(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, scratch) }
            }

            #[inline(always)]
            fn refuse(datagram: &Datagram<Self>, failure: Failure) -> u32 {
                $refuse(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, failure as u32)
            }

            #[inline(always)]
            fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> u32 {
                $scrape(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, now_ns)
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
    objections_to_scrape_v4,
    admit_v4,
    pass_v4,
    stray_v4,
    calm_v4,
    inline_v4,
    outgrown_v4,
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
    objections_to_scrape_v6,
    admit_v6,
    pass_v6,
    stray_v6,
    calm_v6,
    inline_v6,
    outgrown_v6,
    reply_v6,
    refuse_v6,
    scrape_v6,
    scrape_entry_v6,
    sum_of_rest_v6,
    may_have_sent_v6
);
