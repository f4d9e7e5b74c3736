//! What an announce and a scrape do to a torrent that is in the table.

use super::{
    Miss,
    index::TableShape,
    layout::{BlockRef, CHUNK_UNITS, CLASS_MAX, DEPTH_MAX, Form, Line, Memory, Meta},
    slots::{self, BlockSlots, InlineSlots, Slots},
    word::{PeerKey, PeerWord},
};
use crate::{
    announce::Event,
    family::Family,
    peers::{Cursor, PeerBuf},
    sync::Word32,
    time::Clock,
    verifier::{Veil, bounded},
};

/// Blocks of a big swarm that one reply draws from, at most.
const BLOCKS_PER_REPLY: u32 = 4;

/// One announce, without its torrent.
#[derive(Clone, Copy)]
pub struct Announce<F: Family> {
    /// The peer's address.
    pub addr: F::Addr,
    /// The peer's port in network byte order; not zero.
    pub port: [u8; 2],
    /// Nothing left to fetch.
    pub seeder: bool,
    /// What has happened.
    pub event: Event,
    /// How many peers to return; clamped to what a reply can carry.
    pub numwant: u32,
    /// Chooses among peers when there are more than asked for. Taken from the request, so that
    /// kernel and daemon choose alike.
    pub seed: u32,
}

/// The figures of a swarm.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Peers with nothing left to fetch.
    pub seeders: u32,
    /// The others.
    pub leechers: u32,
    /// Downloads completed.
    pub completed: u32,
}

/// What an announce changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Change {
    /// The peer was known and still is.
    Refreshed = 0,
    /// The peer is new.
    Joined = 1,
    /// A leecher became a seeder.
    Completed = 2,
    /// The peer left.
    Left = 3,
}

/// Applies an announce to a torrent that keeps its peers in its line, and fills `peers`.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing has been changed then.
#[inline(always)]
pub fn announce_inline<F: Family>(
    shape: &TableShape,
    clock: &Clock,
    line: Line<F>,
    announce: &Announce<F>,
    peers: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if meta.is_frozen() || meta.form() != Form::Inline {
        return Err(Miss::Frozen);
    }
    let announcer = Announcer::new(shape, announce);
    // SAFETY: the form is Inline.
    let slots = unsafe { InlineSlots::<F>::new(line.body()) };
    let (old, new) = announcer.apply(&slots, clock)?;
    let mut completed = meta.completed();
    if announcer.has_completed(old) && completed < Meta::COMPLETED_MAX {
        line.head().meta.add(Meta::COMPLETED_ONE);
        completed += 1;
    }
    let mut out = peers.fill::<F>(announce.numwant, shape.veil);
    choose_from(&slots, &announcer, clock, &mut out);
    out.finish_for(&announcer.addr, announce.port);
    let (seeders, leechers) = slots::count(&slots, clock);
    Ok((Counts { seeders, leechers, completed }, Change::between(old, new, announcer.key)))
}

/// Applies an announce to a torrent whose peers are in blocks, and fills `peers`.
///
/// # Errors
/// As for [`announce_inline`].
#[inline(always)]
pub fn announce_outgrown<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    clock: &Clock,
    line: Line<F>,
    announce: &Announce<F>,
    peers: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if meta.is_frozen() || meta.form() == Form::Inline {
        return Err(Miss::Frozen);
    }
    let announcer = Announcer::new(shape, announce);
    let blocks = Blocks::of(&line, meta, shape.veil);
    let own = blocks.block(memory, blocks.entry_of(shape.key.addr::<F>(&announcer.addr)))?;
    let (old, new) = announcer.apply(&blocks.slots::<F, M>(memory, own)?, clock)?;
    let body = line.outgrown();
    tally(&body.seeders, old.is_peer() & old.is_seeder(), new.is_peer() & new.is_seeder());
    tally(&body.leechers, old.is_peer() & !old.is_seeder(), new.is_peer() & !new.is_seeder());
    if announcer.has_completed(old) {
        body.completed.add(1);
    }

    let mut out = peers.fill::<F>(announce.numwant, shape.veil);
    choose(memory, clock, &blocks, &announcer, &mut out)?;
    out.finish_for(&announcer.addr, announce.port);
    Ok((outgrown_counts(&line), Change::between(old, new, announcer.key)))
}

/// Chooses peers without changing anything: for an announcer that has no slot yet, or whose torrent
/// is unknown. The figures do not include it.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn peek<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    clock: &Clock,
    line: Option<Line<F>>,
    announce: &Announce<F>,
    peers: &mut PeerBuf,
) -> Counts {
    let announcer = Announcer::new(shape, announce);
    let mut out = peers.fill::<F>(announce.numwant, shape.veil);
    let counts = line.map_or_else(Counts::default, |line| {
        let meta = line.meta();
        if meta.form() == Form::Inline {
            // SAFETY: the form is Inline.
            let slots = unsafe { InlineSlots::<F>::new(line.body()) };
            choose_from(&slots, &announcer, clock, &mut out);
        } else if meta.form() != Form::Vacant {
            let blocks = Blocks::of(&line, meta, shape.veil);
            // A corrupt reference ends the list early; the sweep reports it.
            let _ = choose(memory, clock, &blocks, &announcer, &mut out);
        }
        figures(line, clock)
    });
    out.finish_for(&announcer.addr, announce.port);
    counts
}

/// Seeders get leechers; leechers get seeders first, then each other.
#[inline(always)]
fn choose_from<F: Family, S: Slots<F>>(
    slots: &S,
    announcer: &Announcer<F>,
    clock: &Clock,
    out: &mut Cursor<'_, F>,
) {
    let seed = announcer.seed as u16;
    if !announcer.seeder {
        slots::select(slots, announcer.key, true, seed, clock, out);
    }
    slots::select(slots, announcer.key, false, seed, clock, out);
}

/// Draws peers from a few blocks, beginning at one that the announce's seed chooses.
#[inline(always)]
fn choose<F: Family, M: Memory>(
    memory: &M,
    clock: &Clock,
    blocks: &Blocks,
    announcer: &Announcer<F>,
    out: &mut Cursor<'_, F>,
) -> Result<(), Miss> {
    // A quarter of the directory apart, the blocks are different ones unless the swarm is tiny.
    let stride = blocks.len() / BLOCKS_PER_REPLY;
    let mut entry = ((announcer.seed >> 16) * blocks.len()) >> 16;
    let mut last = BlockRef(0);
    // Two turns for each block: seeders, which seeders do not need, then leechers.
    for turn in 0..2 * BLOCKS_PER_REPLY {
        if out.is_full() || (turn > 1 && stride == 0) {
            break;
        }
        let seeders = turn % 2 == 0;
        let block = blocks.block(memory, entry)?;
        if (!seeders || !announcer.seeder) && block != last {
            let slots = blocks.slots::<F, M>(memory, block)?;
            slots::select(&slots, announcer.key, seeders, announcer.seed as u16, clock, out);
        }
        if !seeders {
            last = block;
            entry = (entry + stride) & (blocks.len() - 1);
        }
    }
    Ok(())
}

/// An [`Announce`] as its swarm sees it. The flags are veiled, or the verifier would follow each
/// combination of them through all that comes after.
struct Announcer<F: Family> {
    key: PeerKey,
    addr: F::Addr,
    seeder: bool,
    stopped: bool,
    completed: bool,
    seed: u32,
}

impl<F: Family> Announcer<F> {
    #[inline(always)]
    fn new(shape: &TableShape, announce: &Announce<F>) -> Self {
        Self {
            key: PeerKey::new::<F>(&shape.key, &announce.addr, announce.port),
            addr: announce.addr,
            seeder: shape.veil.hide_flag(announce.seeder),
            stopped: shape.veil.hide_flag(announce.event == Event::Stopped),
            completed: shape.veil.hide_flag(announce.event == Event::Completed),
            seed: announce.seed,
        }
    }

    /// Changes the announcer's own slot. Returns its word before and after.
    #[inline(always)]
    fn apply<S: Slots<F>>(&self, slots: &S, clock: &Clock) -> Result<(PeerWord, PeerWord), Miss> {
        if self.stopped {
            return Ok((slots::remove(slots, self.key, &self.addr)?, PeerWord::VACANT));
        }
        let new = PeerWord::new(self.key, self.seeder, clock);
        Ok((slots::upsert(slots, &self.addr, new, clock)?, new))
    }

    /// A download counts once: when its peer was not a seeder already.
    #[inline(always)]
    fn has_completed(&self, old: PeerWord) -> bool {
        self.completed && !(old.key() == self.key && old.is_seeder())
    }
}

#[inline(always)]
fn tally(counter: &Word32, before: bool, after: bool) {
    if before != after {
        counter.add(if after { 1 } else { u32::MAX });
    }
}

impl Change {
    #[inline(always)]
    fn between(old: PeerWord, new: PeerWord, key: PeerKey) -> Self {
        let was_there = old.key() == key;
        if !new.is_peer() {
            return if was_there { Self::Left } else { Self::Refreshed };
        }
        if !was_there {
            Self::Joined
        } else if new.is_seeder() && !old.is_seeder() {
            Self::Completed
        } else {
            Self::Refreshed
        }
    }
}

/// The figures of a known torrent.
///
/// # Errors
/// [`Miss::Frozen`] while the daemon moves its peers.
#[inline(always)]
pub fn scrape<F: Family>(line: Line<F>, clock: &Clock) -> Result<Counts, Miss> {
    if line.meta().is_frozen() {
        return Err(Miss::Frozen);
    }
    Ok(figures(line, clock))
}

/// The figures of a torrent that nobody is moving.
#[inline(always)]
pub(crate) fn figures<F: Family>(line: Line<F>, clock: &Clock) -> Counts {
    let meta = line.meta();
    match meta.form() {
        Form::Vacant => Counts::default(),
        Form::Inline => {
            // SAFETY: the form is Inline.
            let slots = unsafe { InlineSlots::<F>::new(line.body()) };
            let (seeders, leechers) = slots::count(&slots, clock);
            Counts { seeders, leechers, completed: meta.completed() }
        }
        Form::Block | Form::Directory => outgrown_counts(&line),
    }
}

#[inline(always)]
fn outgrown_counts<F: Family>(line: &Line<F>) -> Counts {
    let body = line.outgrown();
    // A count may be below zero for the moment between a change of a slot and its tally.
    let at_least_zero = |count: u32| if count as i32 >= 0 { count } else { 0 };
    Counts {
        seeders: at_least_zero(body.seeders.load()),
        leechers: at_least_zero(body.leechers.load()),
        completed: body.completed.load(),
    }
}

/// The blocks of an outgrown torrent: a directory of 2^depth entries, or a single block.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    root: BlockRef,
    /// Binary logarithm of the number of entries; 0 for a single block.
    depth: u32,
    /// Size class of the blocks.
    class: u32,
    veil: Veil,
}

impl Blocks {
    #[inline(always)]
    pub(crate) fn of<F: Family>(line: &Line<F>, meta: Meta, veil: Veil) -> Self {
        let root = BlockRef(line.outgrown().root.load());
        let (depth, class) = match meta.form() {
            Form::Block => (0, meta.depth()),
            _ => (meta.depth(), CLASS_MAX),
        };
        Self { root, depth: veil.hide(depth), class: veil.hide(class), veil }
    }

    #[inline(always)]
    pub(crate) const fn len(&self) -> u32 {
        1 << self.depth
    }

    /// The entry for a peer whose address hashes to `hash`: extendible hashing by the top bits.
    #[inline(always)]
    pub(crate) const fn entry_of(&self, hash: u64) -> u32 {
        (hash >> 48) as u32 >> (DEPTH_MAX - self.depth)
    }

    #[inline(always)]
    pub(crate) fn block<M: Memory>(&self, memory: &M, entry: u32) -> Result<BlockRef, Miss> {
        if self.depth == 0 {
            return Ok(self.root);
        }
        Ok(BlockRef(self.entry(memory, entry)?.load()))
    }

    /// The directory's entry itself. Not for a single block.
    #[inline(always)]
    pub(crate) fn entry<'a, M: Memory>(&self, memory: &M, entry: u32) -> Result<&'a Word32, Miss> {
        const ENTRIES_PER_CHUNK: u32 = CHUNK_UNITS * 16;
        let chunk = self.root.chunk() + entry / ENTRIES_PER_CHUNK;
        let chunk = memory.chunk(chunk).ok_or(Miss::Corrupt)?;
        let index = bounded::<{ ENTRIES_PER_CHUNK - 1 }>(self.root.unit_in_chunk() * 16 + entry);
        // SAFETY: a chunk is 256 entries, and the bound holds the index below that.
        Ok(unsafe { &*chunk.add(index * 4).cast::<Word32>() })
    }

    #[inline(always)]
    pub(crate) fn slots<F: Family, M: Memory>(
        &self,
        memory: &M,
        block: BlockRef,
    ) -> Result<BlockSlots<F>, Miss> {
        let chunk = memory.chunk(block.chunk()).ok_or(Miss::Corrupt)?;
        // SAFETY: `block` is in that chunk.
        Ok(unsafe { BlockSlots::new(chunk, block, self.class, self.veil) })
    }

    /// Size class of the blocks.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn class(&self) -> u32 {
        self.class
    }

    /// The directory, or the single block.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn root(&self) -> BlockRef {
        self.root
    }

    /// Blocks in a directory of this depth, or one block of this class, not yet of any torrent.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn new(root: BlockRef, depth: u32, class: u32, veil: Veil) -> Self {
        Self { root, depth, class, veil }
    }
}
