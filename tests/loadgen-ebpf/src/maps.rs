//! The maps. All but the samples are arrays that userspace maps into its memory.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, RingBuf},
};
use loadgen::{Histogram, PROCESSORS_MAX, Player, Request, Tally, Target};

#[map]
pub static TARGET: Array<Target> = Array::with_max_entries(1, BPF_F_MMAPABLE);

// Userspace sets the true sizes of these two when it loads the programs.
#[map]
pub static REQUESTS: Array<Request> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub static CONNECTION_IDS: Array<[u8; 8]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static PLAYERS: Array<Player> = Array::with_max_entries(PROCESSORS_MAX as u32, BPF_F_MMAPABLE);

#[map]
static TALLIES: Array<Tally> = Array::with_max_entries(PROCESSORS_MAX as u32, BPF_F_MMAPABLE);

#[map]
static HISTOGRAMS: Array<Histogram> =
    Array::with_max_entries(PROCESSORS_MAX as u32, BPF_F_MMAPABLE);

#[map]
pub static SAMPLES: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// This processor's player, for this run alone.
#[inline(always)]
pub fn player<'a>() -> Option<&'a mut Player> {
    // SAFETY: one generator runs on a processor at a time, and its runs follow each other.
    PLAYERS.get_ptr_mut(processor()).map(|player| unsafe { &mut *player })
}

/// This processor's tally, for this run alone.
#[inline(always)]
pub fn tally<'a>() -> Option<&'a mut Tally> {
    // SAFETY: XDP programs of one processor do not interrupt one another.
    TALLIES.get_ptr_mut(processor()).map(|tally| unsafe { &mut *tally })
}

/// This processor's histogram, for this run alone.
#[inline(always)]
pub fn histogram<'a>() -> Option<&'a mut Histogram> {
    // SAFETY: as above.
    HISTOGRAMS.get_ptr_mut(processor()).map(|histogram| unsafe { &mut *histogram })
}

/// The replies that all processors have counted.
#[inline(always)]
pub fn replies(processors: u16) -> u64 {
    let mut sum = 0;
    for processor in 0..PROCESSORS_MAX as u32 {
        if processor >= u32::from(processors) {
            break;
        }
        if let Some(tally) = TALLIES.get(processor) {
            sum += tally.all();
        }
    }
    sum
}

#[inline(always)]
fn processor() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() }
}
