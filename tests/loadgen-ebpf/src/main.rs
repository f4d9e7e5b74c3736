//! The load generator's programs.
//!
//! * `generate`: plays the list of requests, a frame a run;
//! * `count`: counts the replies, and learns connection ids from them;
//! * `echo`: what stands in for a tracker that costs nothing;
//! * `frame`: Ethernet, IP and UDP;
//! * `maps`: what they share.
#![no_std]
#![no_main]

mod count;
mod echo;
mod frame;
mod generate;
mod maps;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
    macros::xdp,
    programs::XdpContext,
};

/// Turns the frame into the next request that is due. A test run sends it out where it says that it
/// came in.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    match generate::next(&ctx) {
        Some(true) => XDP_TX,
        Some(false) => XDP_DROP,
        None => XDP_ABORTED,
    }
}

/// Takes in replies. All else that arrives is the host's.
#[xdp]
pub fn count(ctx: XdpContext) -> u32 {
    count::take(&ctx).map_or(XDP_PASS, |()| XDP_DROP)
}

/// Turns UDP datagrams around.
#[xdp]
pub fn echo(ctx: XdpContext) -> u32 {
    echo::turn_around(&ctx).map_or(XDP_PASS, |()| XDP_TX)
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no code path panics; the verifier would find one that does.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The licence that the kernel is told.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
