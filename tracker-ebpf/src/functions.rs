//! The parts of the program that the verifier looks at one by one.
//!
//! A global function (kernel 5.6) is verified once, for any arguments, not once for each way that
//! leads to a call of it. Its arguments are the context and plain numbers; the rest is looked up
//! again or left in this processor's scratch space.

use aya_ebpf::{EbpfContext, bindings::xdp_md, programs::XdpContext};
use tracker_common::family::{V4, V6};

use crate::{announce, packet::Datagram, scrape};

/// The global functions, by address family.
pub trait Functions: Sized + tracker_common::family::Family {
    /// Serves an announce to its end: returns an XDP action.
    fn announce(datagram: &Datagram<Self>, now_ns: u64) -> u32
    where
        Self: crate::packet::Ip;

    /// Serves a scrape to its end: returns an XDP action.
    fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> u32
    where
        Self: crate::packet::Ip;

    /// Appends the figures of the torrent whose info-hash is at `offset` of the frame to the
    /// scratch space. Returns 0, or 1 when the daemon is moving its peers.
    fn scrape_entry(datagram: &Datagram<Self>, offset: u32, now_ns: u64) -> u32
    where
        Self: crate::packet::Ip;
}

macro_rules! functions {
    ($family:ident, $announce:ident, $scrape:ident, $entry:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $announce(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            announce::run::<$family>(&XdpContext::new(ctx), l3, now_ns)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $scrape(ctx: *mut xdp_md, l3: u32, now_ns: u64) -> u32 {
            scrape::run::<$family>(&XdpContext::new(ctx), l3, now_ns)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $entry(ctx: *mut xdp_md, offset: u32, now_ns: u64) -> u32 {
            scrape::append::<$family>(&XdpContext::new(ctx), offset, now_ns)
        }

        impl Functions for $family {
            #[inline(always)]
            fn announce(datagram: &Datagram<Self>, now_ns: u64) -> u32 {
                $announce(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, now_ns)
            }

            #[inline(always)]
            fn scrape(datagram: &Datagram<Self>, now_ns: u64) -> u32 {
                $scrape(datagram.ctx.as_ptr().cast(), datagram.l3 as u32, now_ns)
            }

            #[inline(always)]
            fn scrape_entry(datagram: &Datagram<Self>, offset: u32, now_ns: u64) -> u32 {
                $entry(datagram.ctx.as_ptr().cast(), offset, now_ns)
            }
        }
    };
}

functions!(V4, announce_v4, scrape_v4, scrape_entry_v4);
functions!(V6, announce_v6, scrape_v6, scrape_entry_v6);
