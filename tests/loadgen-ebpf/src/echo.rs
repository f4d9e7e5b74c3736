//! The least that a reply can cost: the request, sent back.

use core::mem::swap;

use aya_ebpf::programs::XdpContext;
use tracker_common::family::{V4, V6};

use crate::frame::{Frame, Ip};

#[inline(always)]
pub fn turn_around(ctx: &XdpContext) -> Option<()> {
    turn::<V4>(ctx).or_else(|| turn::<V6>(ctx))
}

#[inline(always)]
fn turn<F: Ip>(ctx: &XdpContext) -> Option<()> {
    let frame = Frame::<F, ()>::parse(ctx)?;
    swap(&mut frame.ethernet.source, &mut frame.ethernet.destination);
    let (source, destination) = F::addresses(&mut frame.ip);
    swap(source, destination);
    swap(&mut frame.udp.source, &mut frame.udp.destination);
    Some(())
}
