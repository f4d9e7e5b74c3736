//! The maps, and the swarm table in them.

use core::{
    cell::{Cell, UnsafeCell},
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
    policy::Ranks,
    table::{
        layout::{BucketV4, BucketV6, Chunk, Memory},
        swarm::{Counts, PreparedAnnounce},
    },
    time::Jiffies,
    verifier::{black_box, bounded},
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
    /// Zeros and whatever the daemon writes are valid.
    #[inline(always)]
    fn get(&'static self) -> *const T {
        black_box(self.0.get().cast::<T>())
    }
}

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

#[map]
static SCRATCH: PerCpuArray<PerCpu> = PerCpuArray::with_max_entries(1, 0);

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
pub static LISTED: HashMap<u64, Ranks> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub static NETWORKS_V4: LpmTrie<[u8; 4], Ranks> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub static NETWORKS_V6: LpmTrie<[u8; 16], Ranks> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

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

// SAFETY: the values of an array map are in one piece, of as many bytes as its type says, aligned to 8, zeroed
// when the map is made, and stay where they are until the program is gone. The kernel returns nothing past the end
// of a map, and the verifier refuses all access outside of a value. The program changes them by the table's words
// only, and so does the daemon, which maps them.
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

/// What is too large for the stack, or not aligned as that must be. XDP programs are not preempted by one another, so
/// there is one user at a time on each processor.
///
/// The functions of one run hand a [`Scratch`] on to each other. All else has one user each, is in cells, and may be
/// asked for at any time.
#[repr(C)]
struct PerCpu {
    scratch: Scratch,
    grant: Cell<GrantKey>,
    rest: Cell<[u64; REST_BYTES / 8]>,
    route: Route,
}

// SAFETY: each processor has its own.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// This processor's.
    #[inline(always)]
    fn place() -> *mut Self {
        SCRATCH.get_ptr_mut(0).unwrap_or(null_mut())
    }

    /// A part of it that is in cells.
    #[inline(always)]
    fn part<T>(part: impl FnOnce(*mut Self) -> *const T) -> Option<&'static T> {
        let place = Self::place();
        if place.is_null() {
            return None;
        }
        // SAFETY: the value of a map is there for as long as the program is. Only `Scratch::of_this_run` borrows
        // from it exclusively, and that is none of the parts in cells.
        Some(unsafe { &*part(place) })
    }
}

/// A grant to look for.
#[inline(always)]
pub fn grant_key() -> Option<&'static Cell<GrantKey>> {
    // SAFETY: `part` has seen that it is not null.
    PerCpu::part(|place| unsafe { &raw const (*place).grant })
}

/// What of a datagram is summed up.
#[inline(always)]
pub fn rest() -> Option<&'static Cell<[u64; REST_BYTES / 8]>> {
    // SAFETY: as above.
    PerCpu::part(|place| unsafe { &raw const (*place).rest })
}

/// The question to the routing table, its answer, and what follows from that.
#[repr(C)]
pub struct Route {
    /// The question, then the answer.
    pub next_hop: Cell<bpf_fib_lookup>,
    /// The XDP action that sends the reply, where it is not always the same.
    pub action: Cell<u32>,
}

impl Route {
    #[inline(always)]
    pub fn get() -> Option<&'static Self> {
        // SAFETY: as above.
        PerCpu::part(|place| unsafe { &raw const (*place).route })
    }
}

/// Where an announce is worked out and a reply put together.
#[repr(C)]
pub struct Scratch {
    /// The announce.
    pub prepared: PreparedAnnounce,
    /// The number of its torrent's entry.
    pub entry: u32,
    /// What it changed, as a [`Change`](tracker_common::table::swarm::Change).
    pub change: u32,
    /// The swarm after it.
    pub counts: Counts,
    /// The variable part of a reply.
    pub list: PeerBuf,
    /// What the post-hooks are told.
    pub told: Told,
}

impl Scratch {
    /// This processor's.
    ///
    /// # Safety
    /// A run of the program asks for it once. Its functions hand the borrow on to each other.
    #[inline(always)]
    pub unsafe fn of_this_run<'a>() -> Option<&'a mut Self> {
        let place = PerCpu::place();
        if place.is_null() {
            return None;
        }
        // SAFETY: per-CPU, and there is no other borrow, as the caller says.
        Some(unsafe { &mut (*place).scratch })
    }

    /// What a global function was handed: a borrow, of which the verifier believes nothing but its type. It is
    /// never null.
    ///
    /// # Safety
    /// It is a borrow for as long as the function runs.
    #[inline(always)]
    pub unsafe fn handed<'a>(scratch: *mut Self) -> Option<&'a mut Self> {
        // SAFETY: as the caller says.
        unsafe { scratch.as_mut() }
    }
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

/// What every request needs.
pub struct Env {
    /// The configuration in force.
    pub config: &'static Config,
    /// Zero: see [`tracker_common::verifier::opaque`].
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
        let state = STATE.get();
        // SAFETY: it is there for as long as the program is. The daemon switches from one to the other at any moment.
        let active = bounded::<1>(unsafe { read_volatile(&raw const (*state).control.active) });
        // SAFETY: within the array. What the daemon writes here while it is in force are the bytes that are there
        // already; it changes the other one.
        let config = unsafe { &*(&raw const (*state).configs).cast::<Config>().add(active) };
        // SAFETY: as for `active`. The daemon never writes another zero, and the rest is copied.
        let (zero, control) = unsafe { (&(*state).control.zero, &raw const (*state).control) };
        // SAFETY: as above; a load of a word does not tear.
        let Control { jiffies, wall_offset_ns, passes_from_ns, .. } = unsafe { *control };
        let answers_until_ns = passes_from_ns.wrapping_sub(1);
        Self { config, zero, jiffies, wall_offset_ns, answers_until_ns }
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
