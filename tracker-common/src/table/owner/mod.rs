//! What only the daemon does to the table: admit torrents, let them grow, expire them.
//!
//! Requests of the daemon's own frontends run the same operations as the kernel's, under a shared
//! lock that is only ever held exclusively while a torrent's peers are being moved. The kernel
//! takes no lock: a torrent that it may be using is frozen first, and a *grace* period is waited
//! for until no run of the program can still be using what it found before.

mod arena;
mod grow;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use self::arena::Arena;
pub use self::sweep::Totals;
use super::{
    Miss,
    index::{Place, TableShape, find},
    layout::{BUCKET_LINES, Form, Gate, Line, Memory, Meta},
    swarm::{self, Announce, Counts},
};
use crate::{announce::Event, family::Family, id::InfoHash, peers::PeerBuf, time::Clock};

/// Announces that wait for a torrent to grow, at most. One more is answered but not remembered.
const QUEUE_MAX: usize = 65_536;

/// How often an announce is tried again when others change the same slot.
const CONTENDED_MAX: u32 = 16;

/// The table with all that the daemon needs to run it.
pub struct Table<M> {
    memory: M,
    shape: TableShape,
    lifetime: AtomicU32,
    torrents_max: [u32; 2],
    /// Whether the kernel uses the table too.
    shared_with_kernel: bool,
    /// Held shared by requests, exclusively while peers are moved.
    moving: RwLock<()>,
    owner: Mutex<Owner>,
    queue: Mutex<Vec<Waiting>>,
    queue_dropped: AtomicU64,
    admission_refused: AtomicU64,
}

/// What the owner alone knows.
struct Owner {
    arena: Arena,
    torrents: [u32; 2],
}

/// An announce that found its torrent full.
struct Waiting {
    info_hash: InfoHash,
    is_v6: bool,
    addr: [u64; 2],
    port: [u8; 2],
    seeder: bool,
    event: Event,
}

/// How full the table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Torrents in use, IPv4 and IPv6.
    pub torrents: [u32; 2],
    /// And the most there may be.
    pub torrents_max: [u32; 2],
    /// Bytes of blocks in use.
    pub block_bytes: u64,
    /// And the most there may be.
    pub block_bytes_max: u64,
    /// Announces that were answered but not remembered because too many waited for growth.
    pub queue_dropped: u64,
    /// Announces that were answered but not remembered because the table was full.
    pub admission_refused: u64,
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
            torrents_max,
            shared_with_kernel,
            moving: RwLock::new(()),
            owner: Mutex::new(Owner { arena, torrents: [0; 2] }),
            queue: Mutex::default(),
            queue_dropped: AtomicU64::new(0),
            admission_refused: AtomicU64::new(0),
        }
    }

    /// Changes how long a peer lives, in ticks of [`crate::time`], from now on.
    pub fn set_lifetime(&self, lifetime: u32) {
        self.lifetime.store(lifetime, Relaxed);
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

    /// Serves an announce: updates or admits the torrent, then chooses peers.
    ///
    /// Where the torrent must grow first and the kernel uses it too, the announcer is answered
    /// from the table as it is and joins it with the next [`Table::grow`].
    pub fn announce<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        now_ns: u64,
        peers: &mut PeerBuf,
    ) -> Counts {
        let clock = self.clock(now_ns);
        for _ in 0..CONTENDED_MAX {
            match self.try_announce(info_hash, announce, &clock, peers) {
                Ok(counts) => return counts,
                Err(Miss::Contended) => {}
                Err(Miss::Unknown) => {
                    let leaves = announce.event == Event::Stopped;
                    if leaves || !self.admit::<F>(info_hash, Gate::Open, false) {
                        break;
                    }
                }
                Err(Miss::Full) if self.grow_now::<F>(info_hash, &clock) => {}
                Err(Miss::Full | Miss::Frozen) if self.may_wait::<F>(info_hash) => {
                    self.wait_for_growth(info_hash, announce);
                    break;
                }
                Err(Miss::Full | Miss::Frozen | Miss::Corrupt) => {
                    self.admission_refused.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
        self.peek(info_hash, announce, &clock, peers)
    }

    fn try_announce<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        peers: &mut PeerBuf,
    ) -> Result<Counts, Miss> {
        let _reading = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        let (memory, shape) = (&self.memory, &self.shape);
        let line = find::<F, M>(memory, shape, info_hash).ok_or(Miss::Unknown)?;
        let (counts, _) = if line.is_outgrown() {
            swarm::announce_outgrown(memory, shape, clock, line, announce, peers)?
        } else {
            swarm::announce_inline(shape, clock, line, announce, peers)?
        };
        Ok(counts)
    }

    /// Answers without changing anything; the figures include the announcer.
    fn peek<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
        peers: &mut PeerBuf,
    ) -> Counts {
        let _reading = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        let line = find::<F, M>(&self.memory, &self.shape, info_hash);
        let mut counts = swarm::peek(&self.memory, &self.shape, clock, line, announce, peers);
        if announce.event != Event::Stopped {
            counts.seeders += u32::from(announce.seeder);
            counts.leechers += u32::from(!announce.seeder);
        }
        counts
    }

    /// The figures of a torrent; zeros for an unknown one.
    pub fn scrape<F: Family>(&self, info_hash: &InfoHash, now_ns: u64) -> Counts {
        let clock = self.clock(now_ns);
        let _reading = self.moving.read().unwrap_or_else(PoisonError::into_inner);
        find::<F, M>(&self.memory, &self.shape, info_hash)
            .map_or_else(Counts::default, |line| swarm::figures(line, &clock))
    }

    /// Puts a torrent on a list: it is admitted without peers, and kept. `false` when there is no
    /// room for it.
    pub fn list<F: Family>(&self, info_hash: &InfoHash, gate: Gate) -> bool {
        self.admit::<F>(info_hash, gate, true)
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
        }
    }

    fn owner(&self) -> MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the torrent a line in the emptier of its two buckets.
    fn admit<F: Family>(&self, info_hash: &InfoHash, gate: Gate, listed: bool) -> bool {
        let mut owner = self.owner();
        if let Some(line) = find::<F, M>(&self.memory, &self.shape, info_hash) {
            if listed {
                line.update_meta(|meta| meta.with_gate(gate, true));
            }
            return true;
        }
        let family = usize::from(F::IS_V6);
        let free = (owner.torrents[family] < self.torrents_max[family])
            .then(|| self.free_line::<F>(info_hash))
            .flatten();
        let Some(line) = free else {
            self.admission_refused.fetch_add(1, Relaxed);
            return false;
        };
        line.set_info_hash(info_hash);
        let meta = Meta::VACANT.with_form(Form::Inline, 0).with_gate(gate, listed);
        line.head().meta.store(meta.0);
        owner.torrents[family] += 1;
        true
    }

    fn free_line<F: Family>(&self, info_hash: &InfoHash) -> Option<Line<F>> {
        let place = Place::of(&self.shape, info_hash);
        let [first, second] = [0, 1].map(|choice| {
            let vacant = |turn: &u32| {
                let number = place.line::<F>(&self.shape, choice, *turn);
                Line::<F>::at(&self.memory, number).filter(|line| line.meta() == Meta::VACANT)
            };
            let mut lines = (0..BUCKET_LINES).collect::<Vec<_>>();
            lines.retain(|turn| vacant(turn).is_some());
            (lines.len(), lines.first().and_then(vacant))
        });
        if second.0 > first.0 { second.1 } else { first.1 }
    }

    /// Whether [`Table::grow`] may help: the kernel uses the torrent's peers, or they are being moved.
    fn may_wait<F: Family>(&self, info_hash: &InfoHash) -> bool {
        let line = find::<F, M>(&self.memory, &self.shape, info_hash);
        line.is_some_and(|line| {
            line.meta().is_frozen() || (self.shared_with_kernel && !line.is_outgrown())
        })
    }

    fn wait_for_growth<F: Family>(&self, info_hash: &InfoHash, announce: &Announce<F>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= QUEUE_MAX {
            self.queue_dropped.fetch_add(1, Relaxed);
            return;
        }
        queue.push(Waiting {
            info_hash: *info_hash,
            is_v6: F::IS_V6,
            addr: F::words(&announce.addr),
            port: announce.port,
            seeder: announce.seeder,
            event: announce.event,
        });
    }
}
