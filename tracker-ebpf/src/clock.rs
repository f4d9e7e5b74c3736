//! Tells the daemon how the kernel's jiffies stand to its clock. The daemon runs this once a second, and tells the
//! XDP program, which has no time to ask.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
    macros::xdp,
    programs::XdpContext,
};
use tracker_common::abi::Moment;

use crate::packet::at;

/// Writes the moment over the frame (`bpf_ktime_get_coarse_ns`: kernel 5.11).
#[xdp]
pub fn xdp_clock(ctx: XdpContext) -> u32 {
    if let Some(moment) = at::<Moment>(&ctx, 0) {
        // SAFETY: the helpers have no preconditions, and `at` checked the bounds.
        unsafe {
            let (jiffies, monotonic_ns) = (bpf_jiffies64(), bpf_ktime_get_coarse_ns());
            moment.write_unaligned(Moment { jiffies, monotonic_ns });
        }
    }
    XDP_PASS
}
