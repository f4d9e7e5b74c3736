//! What only the daemon does to the table: admit torrents, let them grow, expire them.
//!
//! Requests of the daemon's own frontends run the same operations as the kernel's, under a shared
//! lock that is only ever held exclusively while peers or torrents are being moved. The kernel takes
//! no lock: what it may be using is frozen first, and a *grace* period is waited for until no run of
//! the program can still be using what it found before.

mod adopt;
#[cfg(test)]
mod adopt_tests;
mod arena;
#[cfg(test)]
mod budget_tests;
mod compact;
#[cfg(test)]
mod compact_tests;
mod displace;
mod grow;
mod journal;
#[cfg(test)]
mod large_tests;
mod leaves;
mod lists;
mod merge;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod rack_tests;
mod saved;
mod sweep;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

pub use self::adopt::Adopted;
use self::arena::Arena;
use self::compact::Loose;
pub use self::saved::SavedPeer;
pub use self::sweep::Totals;
use self::waiting::Waiting;
use super::{
    Miss,
    direct::{self, Direct, JoinBudget},
    index::{Place, TableShape, find},
    inline,
    layout::{BUCKET_ENTRIES, Entry, Form, Gate, Memory, Meta},
    spilled,
    swarm::{self, Announce, Counts, PreparedAnnounce, Side},
};
use crate::{
    announce::Event,
    budget::{Budgets, Claim, Kind},
    family::Family,
    id::InfoHash,
    limit::Limits,
    peers::PeerBuf,
    sync::locks,
    time::Clock,
};

/// How often an announce is tried again when others change the same slot.
const CONTENDED_MAX: u32 = 16;

/// The table with all that the daemon needs to run it.
pub struct Table<M> {
    memory: M,
    shape: TableShape,
    lifetime: AtomicU32,
    /// What sources may have. Nothing is waited for while it is held.
    limits: RwLock<Limits>,
    torrents_max: [u32; 2],
    /// Whether the kernel uses the table too.
    shared_with_kernel: bool,
    /// A [`Gate`].
    unlisted_gate: AtomicU32,
    /// Held by whoever freezes, until all is unfrozen.
    mover: Mutex<()>,
    /// Held shared by requests, exclusively while something is moved.
    moving: RwLock<()>,
    owner: Mutex<Owner>,
    queue: Mutex<Vec<Waiting>>,
    queue_len: AtomicUsize,
    queue_dropped: AtomicU64,
    admission_refused: AtomicU64,
    blocks_refused: AtomicU64,
    unlisted: AtomicU64,
    misses_refused: AtomicU64,
    torrents_refused: AtomicU64,
}

/// What the owner alone knows.
struct Owner {
    arena: Arena,
    torrents: [u32; 2],
    /// Directories that the kernel may still be reading: first unit and units.
    retired: Vec<(u32, u32)>,
    /// Peer sets that hold more than their peers need, as the last sweep found.
    loose: Vec<Loose>,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Torrents in use, IPv4 and IPv6.
    pub torrents: [u32; 2],
    /// And the most there may be.
    pub torrents_max: [u32; 2],
    /// Bytes of the arena in use.
    pub block_bytes: u64,
    /// And the most there may be.
    pub block_bytes_max: u64,
    /// Announces that were answered but not remembered because too many waited for room.
    pub queue_dropped: u64,
    /// Announces that were answered but not remembered because the table was full.
    pub admission_refused: u64,
    /// Of these, announces of torrents that are in the table: there was no block for one more peer.
    pub blocks_refused: u64,
    /// Announces that were answered but not listed because their source had its budget of peers.
    pub unlisted: u64,
    /// Announces of unknown torrents beyond what a source, or all of them, may miss.
    pub misses_refused: u64,
    /// Announces of unknown torrents whose source had its budget of torrents.
    pub torrents_refused: u64,
}

impl<M: Memory> Table<M> {
    /// A table in fresh, zeroed memory. `lifetime` is a peer's, in ticks of [`crate::time`].
    pub fn new(
        memory: M,
        shape: TableShape,
        lifetime: u32,
        torrents_max: [u32; 2],
        shared_with_kernel: bool,
    ) -> Self {
        let arena = Arena::new(shape.chunks);
        Self {
            memory,
            shape,
            lifetime: AtomicU32::new(lifetime),
            limits: RwLock::default(),
            torrents_max,
            shared_with_kernel,
            unlisted_gate: AtomicU32::new(Gate::Open as u32),
            mover: Mutex::new(()),
            moving: RwLock::new(()),
            owner: Mutex::new(Owner {
                arena,
                torrents: [0; 2],
                retired: Vec::new(),
                loose: Vec::new(),
            }),
            queue: Mutex::default(),
            queue_len: AtomicUsize::new(0),
            queue_dropped: AtomicU64::new(0),
            admission_refused: AtomicU64::new(0),
            blocks_refused: AtomicU64::new(0),
            unlisted: AtomicU64::new(0),
            misses_refused: AtomicU64::new(0),
            torrents_refused: AtomicU64::new(0),
        }
    }

    /// Changes how long a peer lives, in ticks of [`crate::time`], from now on.
    pub fn set_lifetime(&self, lifetime: u32) {
        self.lifetime.store(lifetime, Relaxed);
    }

    /// Changes what sources may have, from now on. A new table has no limits.
    pub fn set_limits(&self, limits: Limits) {
        *locks::write(&self.limits) = limits;
    }

    /// What sources may have.
    pub fn limits(&self) -> Limits {
        *locks::read(&self.limits)
    }

    fn clock(&self, now_ns: u64) -> Clock {
        Clock::new(now_ns, self.lifetime.load(Relaxed))
    }

    /// The shape that the kernel must be told.
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// The memory that the table lives in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Leaves all as it is, for another to adopt.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Serves an announce: updates or admits the torrent, then chooses peers.
    ///
    /// Where something must be moved first that the kernel uses too, the announcer is answered from
    /// the table as it is and joins it with the next [`Table::grow`].
    pub fn announce<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        now_ns: u64,
        peers: &mut PeerBuf,
    ) -> Counts {
        self.announce_metered(info_hash, announce, now_ns, peers, false)
    }

    /// The same. If the torrent is not in the table, the announce may count as a miss of its source's: one
    /// that the kernel has let pass is counted already.
    pub fn announce_metered<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        now_ns: u64,
        peers: &mut PeerBuf,
        mut is_metered: bool,
    ) -> Counts {
        let clock = self.clock(now_ns);
        for _ in 0..CONTENDED_MAX {
            let missed = {
                let _reading = self.read_lock();
                self.try_announce(info_hash, announce, &clock, peers)
            };
            match missed {
                Ok(counts) => return counts,
                Err(Miss::Unknown) if is_metered && !self.may_miss::<F>(announce, now_ns) => break,
                Err(miss) if self.may_retry(info_hash, announce, &clock, None, miss) => {}
                Err(_) => break,
            }
            is_metered = false;
        }
        self.peek(info_hash, announce, &clock, peers)
    }

    /// Whether a source may announce one more torrent that is not in the table.
    fn may_miss<F: Family>(&self, announce: &Announce<F>, now_ns: u64) -> bool {
        let may = self.take::<F>(Kind::Misses, announce, now_ns);
        if !may {
            self.misses_refused.fetch_add(1, Relaxed);
        }
        may
    }

    /// Whether a source may bring one more torrent into the table. While half of the table is free, any may.
    fn may_bring<F: Family>(&self, announce: &Announce<F>, clock: &Clock) -> bool {
        let family = usize::from(F::IS_V6);
        let may = self.take::<F>(Kind::Torrents, announce, clock.now_ns())
            || self.owner().torrents[family] < self.torrents_max[family] / 2;
        if !may {
            self.torrents_refused.fetch_add(1, Relaxed);
        }
        may
    }

    fn take<F: Family>(&self, kind: Kind, announce: &Announce<F>, now_ns: u64) -> bool {
        let limits = self.limits();
        let [addr, _] = F::words(&announce.addr);
        let claim = Claim { kind: kind as u32, addr, is_v6: F::IS_V6, torrent: 0, now_ns };
        Budgets { memory: &self.memory, key: &self.shape.key, limits: &limits }.take(&claim)
    }

    /// Makes room for an announce that found none, or has it wait for some. Returns whether to try again at
    /// once. `age` is that of [`Waiting`].
    fn may_retry<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        age: Option<u16>,
        miss: Miss,
    ) -> bool {
        match miss {
            Miss::Contended => return true,
            Miss::Unknown if announce.event == Event::Stopped => return false,
            Miss::Unknown if age.is_none() && !self.may_bring::<F>(announce, clock) => {
                return false;
            }
            Miss::Unknown if self.admit::<F>(info_hash, Gate::Open, false) => return true,
            Miss::Unknown if self.is_at_cap::<F>() => {}
            Miss::Unknown | Miss::Full if self.shared_with_kernel => {
                let announce = self.complete_early(info_hash, announce);
                self.wait_for_room(info_hash, &announce, age);
                return false;
            }
            Miss::Unknown if self.displace_now::<F>(info_hash) => return true,
            Miss::Full if self.grow_now::<F>(info_hash, announce, clock) => return true,
            _ => {}
        }
        // What another tracker tells comes again and again.
        if age.is_none() {
            self.refuse_admission(miss);
        }
        false
    }

    /// The caller holds the lock, either way.
    fn try_announce<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        list: &mut PeerBuf,
    ) -> Result<Counts, Miss> {
        self.try_announce_seen(info_hash, announce, clock, None, list)
    }

    /// The same for a peer that announced at another time.
    fn try_announce_seen<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        seen: Option<&Clock>,
        list: &mut PeerBuf,
    ) -> Result<Counts, Miss> {
        let (memory, shape) = (&self.memory, &self.shape);
        let (_, entry) = find::<F, M>(memory, shape, info_hash).ok_or(Miss::Unknown)?;
        let mut prepared = PreparedAnnounce::default();
        prepared.begin(Side::Daemon, shape, *clock, announce);
        if let Some(seen) = seen {
            prepared.backdate(seen);
        }
        // What another tracker has let in, or this one before its end, is within its budget.
        let budget =
            seen.is_none().then_some(JoinBudget { limits: &self.limits, unlisted: &self.unlisted });
        direct::announce_within(memory, shape, entry, &mut prepared, list, budget)
    }

    /// Answers without changing anything; the figures include the announcer.
    fn peek<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        list: &mut PeerBuf,
    ) -> Counts {
        let _reading = self.read_lock();
        let (memory, shape) = (&self.memory, &self.shape);
        let mut prepared = PreparedAnnounce::default();
        prepared.begin(Side::Daemon, shape, *clock, announce);
        prepared.place::<F>(shape);
        swarm::begin_list::<F>(&prepared, list);
        let mut counts = Counts::default();
        let mut is_counted = false;
        if let Some((_, entry)) = find::<F, M>(memory, shape, info_hash) {
            counts = swarm::figures(entry, clock);
            if let Some(figures) = self.draw(entry, &prepared, list) {
                [counts.seeders, counts.leechers] = figures;
                is_counted = true;
            }
        }
        if announce.event != Event::Stopped && !is_counted {
            counts.seeders += u32::from(announce.seeder);
            counts.leechers += u32::from(!announce.seeder);
        }
        swarm::finish_list::<F>(&prepared, &counts, list);
        counts
    }

    /// Chooses peers for a client that is not in the swarm, and changes nothing. The figures are those of the
    /// swarm, without the client.
    pub fn look<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        now_ns: u64,
        list: &mut PeerBuf,
    ) -> Counts {
        let clock = self.clock(now_ns);
        let _reading = self.read_lock();
        let mut prepared = PreparedAnnounce::default();
        prepared.begin(Side::Daemon, &self.shape, clock, announce);
        prepared.place::<F>(&self.shape);
        swarm::begin_list::<F>(&prepared, list);
        let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, info_hash) else {
            return Counts::default();
        };
        self.draw(entry, &prepared, list);
        swarm::figures(entry, &clock)
    }

    /// Appends peers to the list. Returns the seeders and leechers that there will be with the announcer, where
    /// the entry shows it.
    fn draw<F: Family>(
        &self,
        entry: Entry<'_, F>,
        prepared: &PreparedAnnounce,
        list: &mut PeerBuf,
    ) -> Option<[u32; 2]> {
        if entry.is_spilled() {
            let mut leaves = Direct::<F, M>::new(&self.memory, prepared, list);
            // A corrupt reference ends the list early.
            let _ = spilled::draw_peers(&self.memory, entry.sets(), prepared, &mut leaves);
            return None;
        }
        let mut cursor = list.cursor();
        let figures = inline::draw(entry, prepared, &mut cursor);
        cursor.save();
        Some(figures)
    }

    /// The figures of a torrent; zeros for an unknown one.
    pub fn scrape<F: Family>(&self, info_hash: &InfoHash, now_ns: u64) -> Counts {
        let clock = self.clock(now_ns);
        let _reading = self.read_lock();
        find::<F, M>(&self.memory, &self.shape, info_hash)
            .map_or_else(Counts::default, |(_, entry)| swarm::figures(entry, &clock))
    }

    /// How full the table is.
    pub fn stats(&self) -> Stats {
        let owner = self.owner();
        Stats {
            torrents: owner.torrents,
            torrents_max: self.torrents_max,
            block_bytes: owner.arena.units_used() * 64,
            block_bytes_max: u64::from(self.shape.chunks.saturating_sub(1)) * 1024,
            queue_dropped: self.queue_dropped.load(Relaxed),
            admission_refused: self.admission_refused.load(Relaxed),
            blocks_refused: self.blocks_refused.load(Relaxed),
            unlisted: self.unlisted.load(Relaxed),
            misses_refused: self.misses_refused.load(Relaxed),
            torrents_refused: self.torrents_refused.load(Relaxed),
        }
    }

    fn owner(&self) -> MutexGuard<'_, Owner> {
        locks::lock(&self.owner)
    }

    fn mover_lock(&self) -> MutexGuard<'_, ()> {
        locks::lock(&self.mover)
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, ()> {
        locks::read(&self.moving)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, ()> {
        locks::write(&self.moving)
    }

    fn is_at_cap<F: Family>(&self) -> bool {
        let family = usize::from(F::IS_V6);
        self.owner().torrents[family] >= self.torrents_max[family]
    }

    /// Counts an announce that there is no room for, by what is full.
    fn refuse_admission(&self, miss: Miss) {
        self.admission_refused.fetch_add(1, Relaxed);
        if miss != Miss::Unknown {
            self.blocks_refused.fetch_add(1, Relaxed);
        }
    }

    /// Gives the torrent an entry in the first of its two buckets that has a vacant one.
    fn admit<F: Family>(&self, info_hash: &InfoHash, gate: Gate, listed: bool) -> bool {
        let mut owner = self.owner();
        if let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, info_hash) {
            if listed {
                entry.update_meta(|meta| meta.with_gate(gate, true));
            }
            return true;
        }
        let family = usize::from(F::IS_V6);
        if owner.torrents[family] >= self.torrents_max[family] {
            return false;
        }
        let buckets = self.buckets::<F>(info_hash);
        let Some(entry) = buckets.iter().find_map(|&bucket| self.vacant_entry::<F>(bucket)) else {
            return false;
        };
        entry.set_info_hash(info_hash);
        let gate = if listed { gate } else { self.unlisted_gate() };
        let meta = Meta::VACANT.with_form(Form::Inline).with_gate(gate, listed);
        entry.head().meta.store(meta.0);
        owner.torrents[family] += 1;
        true
    }

    fn buckets<F: Family>(&self, info_hash: &InfoHash) -> [u32; 2] {
        let place = Place::of(&self.shape, info_hash);
        [0, 1].map(|choice| place.bucket::<F>(&self.shape, choice))
    }

    fn entries<F: Family>(&self, bucket: u32) -> impl Iterator<Item = Entry<'_, F>> {
        (0..BUCKET_ENTRIES)
            .filter_map(move |slot| Entry::at(&self.memory, bucket * BUCKET_ENTRIES + slot))
    }

    fn vacant_entry<F: Family>(&self, bucket: u32) -> Option<Entry<'_, F>> {
        self.entries(bucket).find(|entry| entry.meta() == Meta::VACANT)
    }
}
