//! Replies: counted, learnt from, and a few of them kept.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use loadgen::{Histogram, SAMPLE_BYTES, Sample, Tally, Target, Ticket, client_of_v4, client_of_v6};
use tracker_common::{
    family::{V4, V6},
    verifier::bounded,
    wire::{ConnectReply, ReplyHead, action},
};

use crate::{
    frame::{Frame, Ip},
    maps::{CONNECTION_IDS, SAMPLES, TARGET, histogram, tally},
};

/// Wake nobody: `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: u64 = 1;

/// `None` if the frame holds no reply of the tracker.
#[inline(always)]
pub fn take(ctx: &XdpContext) -> Option<()> {
    let target = TARGET.get(0)?;
    let tally = tally()?;
    take_from::<V4>(ctx, target, tally).or_else(|| take_from::<V6>(ctx, target, tally))
}

#[inline(always)]
fn take_from<F: Receiver>(ctx: &XdpContext, target: &Target, tally: &mut Tally) -> Option<()> {
    let frame = Frame::<F, ReplyHead>::parse(ctx)?;
    if frame.udp.source != target.port {
        return None;
    }
    let ReplyHead { action, transaction_id } = frame.message;
    let ticket = Ticket(u32::from_be_bytes(transaction_id));
    let replies = if ticket.is_faulty() { &mut tally.faulty } else { &mut tally.replies };
    let number = &mut replies[action[3] as usize & 3];
    *number += 1;
    let number = *number as u32;
    tally.bytes += (ctx.data_end() - ctx.data()) as u64;
    if action == action::CONNECT {
        learn::<F>(ctx);
    }
    if target.timed != 0 {
        note_time(ticket);
    }
    if number & target.sample_mask == 0 {
        keep(ctx);
    }
    Some(())
}

#[inline(always)]
fn note_time(ticket: Ticket) {
    let Some(histogram) = histogram() else { return };
    // SAFETY: the helper has no preconditions.
    let ns = ticket.age_ns(unsafe { bpf_ktime_get_ns() });
    let bucket = bounded::<{ Histogram::BUCKETS as u32 - 1 }>(Histogram::bucket(ns));
    // SAFETY: there are so many buckets.
    unsafe { *histogram.counts.get_unchecked_mut(bucket) += 1 };
}

/// Notes the connection id for the client that the reply is sent to.
#[inline(always)]
fn learn<F: Receiver>(ctx: &XdpContext) {
    let Some(frame) = Frame::<F, ConnectReply>::at(ctx) else { return };
    let client = F::receiver(&frame.ip);
    if let Some(id) = CONNECTION_IDS.get_ptr_mut(client) {
        // SAFETY: an element of the map, which userspace reads when the load has ended.
        unsafe { *id = frame.message.connection_id };
    }
}

#[inline(always)]
fn keep(ctx: &XdpContext) {
    let len = bounded::<{ SAMPLE_BYTES as u32 - 1 }>((ctx.data_end() - ctx.data()) as u32) as u32;
    if len == 0 {
        return;
    }
    let Some(mut entry) = SAMPLES.reserve::<Sample>(0) else { return };
    let sample = entry.as_mut_ptr();
    // SAFETY: the entry has room for all of a sample; the kernel checks the frame.
    let failed = unsafe {
        (*sample).len = len;
        bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, (&raw mut (*sample).frame).cast(), len)
    };
    if failed == 0 {
        entry.submit(NO_WAKEUP);
    } else {
        entry.discard(NO_WAKEUP);
    }
}

trait Receiver: Ip {
    fn receiver(header: &Self::Header) -> u32;
}

impl Receiver for V4 {
    #[inline(always)]
    fn receiver(header: &Self::Header) -> u32 {
        client_of_v4(header.destination)
    }
}

impl Receiver for V6 {
    #[inline(always)]
    fn receiver(header: &Self::Header) -> u32 {
        client_of_v6(&header.destination)
    }
}
