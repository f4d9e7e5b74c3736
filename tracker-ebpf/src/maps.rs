//! The maps, and the swarm table in them.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ptr::{NonNull, null_mut, read_volatile},
};

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_fib_lookup},
    helpers::generated::bpf_jiffies64,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use tracker_common::{
    abi::{
        AnnounceEvent, Config, Control, Counters, EVENT_OPTIONS_MAX, Grant, GrantKey, Link, State,
        VERDICTS,
    },
    family::Family,
    limit::{Meter, Total},
    peers::PeerBuf,
    table::{
        layout::{BucketV4, BucketV6, Chunk, Memory},
        swarm::{Counts, Visit},
    },
    time::Jiffies,
    verifier::{bounded, unknown},
};

use crate::packet::{Datagram, Ip};

/// What the daemon tells us: the only variable in its section.
#[unsafe(no_mangle)]
static STATE: Shared<State> = Shared(UnsafeCell::new(MaybeUninit::zeroed()));

/// A variable that the daemon writes.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: the program only reads it.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    #[inline(always)]
    fn get(&'static self) -> &'static T {
        // SAFETY: zeros and whatever the daemon writes are valid.
        unsafe { &*unknown(self.0.get().cast::<T>()) }
    }
}

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

// The daemon sets the true sizes when it loads the program.
#[map]
static TORRENTS_V4: Array<BucketV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TORRENTS_V6: Array<BucketV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static BLOCKS: Array<Chunk> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static BUDGETS: Array<Meter> = Array::with_max_entries(1, BPF_F_MMAPABLE);

// Nor is memory taken for what is not in these three.
#[map]
pub static CLIENTS: HashMap<u64, u8> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub static NETWORKS_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub static NETWORKS_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub static GRANTS: LruHashMap<GrantKey, Grant> = LruHashMap::with_max_entries(1, 0);

#[map]
pub static GENERATION: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TOTAL: Array<Total> = Array::with_max_entries(1, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The swarm table in the maps.
#[derive(Clone, Copy)]
pub struct Maps;

// SAFETY: the values of an array map are in one piece, of as many bytes as its type says, aligned to 8, zeroed when the
// map is made, and stay where they are until the program is gone. The kernel returns nothing past the end of a map, and the
// verifier refuses all access outside of a value. The program changes them by the table's words only, and so does the
// daemon, which maps them.
unsafe impl Memory for Maps {
    #[inline(always)]
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        if F::IS_V6 {
            TORRENTS_V6.get_ptr_mut(index).and_then(NonNull::new).map(NonNull::cast)
        } else {
            TORRENTS_V4.get_ptr_mut(index).and_then(NonNull::new).map(NonNull::cast)
        }
    }

    #[inline(always)]
    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        BLOCKS.get_ptr_mut(index).and_then(NonNull::new).map(NonNull::cast)
    }

    #[inline(always)]
    fn meter(&self, index: u32) -> Option<&Meter> {
        BUDGETS.get(index)
    }
}

/// Where an announce is worked out and a reply put together.
#[repr(C)]
pub struct Scratch {
    /// The announce.
    pub visit: Visit,
    /// The number of its torrent's line.
    pub line: u32,
    /// What it changed, as a [`Change`](tracker_common::table::swarm::Change).
    pub change: u32,
    /// The swarm after it.
    pub counts: Counts,
    /// The variable part of a reply.
    pub list: PeerBuf,
    /// What the post-hooks are told.
    pub told: Told,
    /// A grant to look for.
    pub grant: GrantKey,
    /// What of a datagram is summed up.
    pub rest: [u64; REST_BYTES / 8],
    /// The XDP action that sends the reply, where it is not always the same.
    pub action: u32,
    /// The question to the routing table, and its answer.
    pub next_hop: bpf_fib_lookup,
}

/// More bytes than follow the fixed part of a request that the program answers: a power of two.
pub const REST_BYTES: usize = 2048;

/// An event as it goes into the ring buffer.
#[repr(C)]
pub struct Told {
    /// The announce.
    pub event: AnnounceEvent,
    /// Its options, as many as there are.
    pub options: [u8; EVENT_OPTIONS_MAX as usize],
}

impl Scratch {
    /// This processor's. XDP programs are not preempted by one another, so there is one user at a
    /// time.
    #[inline(always)]
    pub fn get() -> Option<&'static mut Self> {
        // SAFETY: per-CPU, and each function asks for it once at a time.
        unsafe { Self::place().as_mut() }
    }

    /// The same as functions hand it to each other. It is never null; the verifier cannot know.
    #[inline(always)]
    pub fn place() -> *mut Self {
        SCRATCH.get_ptr_mut(0).unwrap_or(null_mut())
    }

    /// What a function was handed.
    ///
    /// # Safety
    /// It is of [`Scratch::place`], and who called the function has borrowed nothing of it.
    #[inline(always)]
    pub unsafe fn handed<'a>(place: *mut Self) -> Option<&'a mut Self> {
        // SAFETY: as the caller says.
        unsafe { place.as_mut() }
    }

    /// The announce and the list of what a function was handed.
    ///
    /// # Safety
    /// It is of [`Scratch::place`], and who called the function has borrowed no more of it than the announce.
    #[inline(always)]
    pub unsafe fn visit_and_list<'a>(place: *mut Self) -> Option<(&'a Visit, &'a mut PeerBuf)> {
        if place.is_null() {
            return None;
        }
        // SAFETY: as the caller says.
        Some(unsafe { (&(*place).visit, &mut (*place).list) })
    }

    /// Where a part of a datagram is copied to. Nothing else of the scratch space is borrowed by this.
    #[inline(always)]
    pub fn rest() -> Option<&'static mut [u64; REST_BYTES / 8]> {
        let place = Self::place();
        if place.is_null() {
            return None;
        }
        // SAFETY: per-CPU, and only `sum_of_rest` asks for it, once at a time.
        Some(unsafe { &mut (*place).rest })
    }

    /// What the routing table is asked, and the action by which the reply is sent then. Nothing else of the
    /// scratch space is borrowed by this.
    #[inline(always)]
    pub fn route() -> Option<(&'static mut bpf_fib_lookup, &'static mut u32)> {
        let place = Self::place();
        if place.is_null() {
            return None;
        }
        // SAFETY: per-CPU, and only `reply` asks for these two, once at a time.
        Some(unsafe { (&mut (*place).next_hop, &mut (*place).action) })
    }
}

/// What every request needs.
pub struct Env {
    /// The configuration in force.
    pub config: &'static Config,
    /// Zero: see [`tracker_common::verifier::forgotten`].
    pub zero: &'static u32,
    jiffies: Jiffies,
    /// What to add to the monotonic clock to have the wall clock.
    pub wall_offset_ns: u64,
    /// The last moment at which the daemon's word holds; past the end of time for no such moment.
    pub answers_until_ns: u64,
}

impl Env {
    #[inline(always)]
    pub fn get() -> Self {
        let State { control, configs } = STATE.get();
        // SAFETY: a reference is readable. The daemon switches from one to the other at any moment.
        let active = bounded::<1>(unsafe { read_volatile(&raw const control.active) });
        // SAFETY: within the array.
        let config = unsafe { configs.get_unchecked(active) };
        let answers_until_ns = control.passes_from_ns.wrapping_sub(1);
        let Control { jiffies, wall_offset_ns, .. } = *control;
        Self { config, zero: &control.zero, jiffies, wall_offset_ns, answers_until_ns }
    }

    /// The monotonic clock, to a jiffy or two.
    #[inline(always)]
    pub fn now_ns(&self) -> u64 {
        // SAFETY: the helper has no preconditions.
        self.jiffies.monotonic_ns(unsafe { bpf_jiffies64() })
    }

    /// Whether this is a plain request to us, at a time at which we answer: then by which interface it came.
    #[inline(always)]
    pub fn answers<F: Ip, T>(
        &self,
        datagram: &Datagram<F, T>,
        now_ns: u64,
    ) -> Option<&'static Link> {
        let is_ours = datagram.is_plain()
            && F::is_own_endpoint(self.config, datagram)
            // Else the daemon has been away for too long.
            && now_ns <= self.answers_until_ns;
        if is_ours { datagram.link(self.config) } else { None }
    }

    /// Whether a source has shown that it receives our replies.
    #[inline(always)]
    pub fn is_valid_id<F: Ip>(&self, id: [u8; 8], header: &F::Header, now_ns: u64) -> bool {
        let now_ns = now_ns.wrapping_add(self.wall_offset_ns);
        self.config.connection_ids.is_valid::<F>(id, &F::source(header), now_ns)
    }

    /// What all sources together had.
    #[inline(always)]
    pub fn total(&self) -> Option<&'static Total> {
        TOTAL.get(0)
    }
}

#[inline(always)]
pub fn count<F: Family>(verdict: u32) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: per-CPU; a verdict is an index of the array.
        unsafe {
            let family = &mut (*counters).verdicts[F::IS_V6 as usize];
            *family.get_unchecked_mut(bounded::<{ VERDICTS as u32 - 1 }>(verdict)) += 1;
        }
    }
}

#[inline(always)]
pub fn count_unlisted() {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: per-CPU.
        unsafe { (*counters).unlisted += 1 };
    }
}

#[inline(always)]
pub fn count_lost_event() {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: per-CPU.
        unsafe { (*counters).events_lost += 1 };
    }
}
