//! What an announce and a scrape do to a torrent that is in the table.

use super::{
    Miss,
    index::TableShape,
    layout::{
        BlockRef, CHUNK_UNITS, CLASS_MAX, DEPTH_MAX, Form, Line, Memory, Meta, block_capacity,
    },
    slots::{self, BlockSlots, InlineSlots, Slots},
    word::{PeerKey, PeerWord},
};
use crate::{
    announce::Event,
    family::Family,
    peers::{Cursor, PEERS_V4_MAX, PEERS_V6_MAX, PeerBuf},
    sync::Word32,
    time::Clock,
    verifier::bounded,
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

/// Applies an announce to a known torrent and fills `peers`.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing has been changed then.
#[inline(always)]
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    clock: &Clock,
    line: Line<F>,
    announce: &Announce<F>,
    peers: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if meta.is_frozen() {
        return Err(Miss::Frozen);
    }
    let key = PeerKey::new::<F>(&shape.key, &announce.addr, announce.port);
    let numwant_max = if F::IS_V6 { PEERS_V6_MAX } else { PEERS_V4_MAX } as u32;
    let numwant = if announce.numwant > numwant_max { numwant_max } else { announce.numwant };
    let mut out = peers.fill::<F>(numwant);
    let result = match meta.form() {
        Form::Vacant => return Err(Miss::Unknown),
        Form::Inline => announce_inline(clock, line, meta, key, announce, &mut out)?,
        Form::Block | Form::Directory => {
            announce_outgrown(memory, shape, clock, line, meta, key, announce, &mut out)?
        }
    };
    // Some clients expect to find themselves when there is nobody else.
    if out.is_empty() {
        out.push(&announce.addr, announce.port);
    }
    out.finish();
    Ok(result)
}

#[inline(always)]
fn announce_inline<F: Family>(
    clock: &Clock,
    line: Line<F>,
    meta: Meta,
    key: PeerKey,
    announce: &Announce<F>,
    out: &mut Cursor<'_, F>,
) -> Result<(Counts, Change), Miss> {
    // SAFETY: the form is Inline.
    let slots = unsafe { InlineSlots::<F>::new(line.body()) };
    let (old, new) = apply(&slots, key, announce, clock)?;
    let change = Change::between(old, new, key);
    let mut completed = meta.completed();
    if counts_as_completed(announce, old, key) && completed < Meta::COMPLETED_MAX {
        line.head().meta.add(Meta::COMPLETED_ONE);
        completed += 1;
    }
    choose(&slots, key, announce, clock, out);
    let (seeders, leechers) = slots::count(&slots, clock);
    Ok((Counts { seeders, leechers, completed }, change))
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined into one function of the XDP program")]
fn announce_outgrown<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    clock: &Clock,
    line: Line<F>,
    meta: Meta,
    key: PeerKey,
    announce: &Announce<F>,
    out: &mut Cursor<'_, F>,
) -> Result<(Counts, Change), Miss> {
    let blocks = Blocks::of(&line, meta);
    let own = blocks.entry_of(shape.key.addr::<F>(&announce.addr));
    let (old, new) = apply(&blocks.slots::<F, M>(memory, own)?, key, announce, clock)?;
    let body = line.outgrown();
    tally(&body.seeders, old.is_peer() & old.is_seeder(), new.is_peer() & new.is_seeder());
    tally(&body.leechers, old.is_peer() & !old.is_seeder(), new.is_peer() & !new.is_seeder());
    if counts_as_completed(announce, old, key) {
        body.completed.add(1);
    }

    // A quarter of the directory apart, the blocks are different ones unless the swarm is tiny.
    let stride = blocks.len() / BLOCKS_PER_REPLY;
    let mut entry = ((announce.seed >> 16) * blocks.len()) >> 16;
    let mut last = None;
    for turn in 0..BLOCKS_PER_REPLY {
        if out.is_full() || (turn > 0 && stride == 0) {
            break;
        }
        let block = blocks.block::<M>(memory, entry)?;
        entry = (entry + stride) & (blocks.len() - 1);
        if last == Some(block) {
            continue;
        }
        last = Some(block);
        choose(&blocks.slots_at::<F, M>(memory, block)?, key, announce, clock, out);
    }
    Ok((outgrown_counts(&line), Change::between(old, new, key)))
}

/// Changes the announcer's own slot. Returns its word before and after.
#[inline(always)]
fn apply<F: Family, S: Slots<F>>(
    slots: &S,
    key: PeerKey,
    announce: &Announce<F>,
    clock: &Clock,
) -> Result<(PeerWord, PeerWord), Miss> {
    if announce.event == Event::Stopped {
        return Ok((slots::remove(slots, key, &announce.addr)?, PeerWord::VACANT));
    }
    let new = PeerWord::new(key, announce.seeder, clock);
    Ok((slots::upsert(slots, &announce.addr, new, clock)?, new))
}

/// Seeders get leechers; leechers get seeders first, then each other.
#[inline(always)]
fn choose<F: Family, S: Slots<F>>(
    slots: &S,
    key: PeerKey,
    announce: &Announce<F>,
    clock: &Clock,
    out: &mut Cursor<'_, F>,
) {
    let seed = announce.seed as u16;
    if !announce.seeder {
        slots::select(slots, key, true, seed, clock, out);
    }
    slots::select(slots, key, false, seed, clock, out);
}

/// A download counts once: when its peer was not a seeder already.
#[inline(always)]
fn counts_as_completed<F: Family>(announce: &Announce<F>, old: PeerWord, key: PeerKey) -> bool {
    announce.event == Event::Completed && !(old.key() == key && old.is_seeder())
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
    let meta = line.meta();
    if meta.is_frozen() {
        return Err(Miss::Frozen);
    }
    if meta.form() != Form::Inline {
        return Ok(outgrown_counts(&line));
    }
    // SAFETY: the form is Inline.
    let (seeders, leechers) = slots::count(&unsafe { InlineSlots::<F>::new(line.body()) }, clock);
    Ok(Counts { seeders, leechers, completed: meta.completed() })
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
}

impl Blocks {
    #[inline(always)]
    pub(crate) fn of<F: Family>(line: &Line<F>, meta: Meta) -> Self {
        let root = BlockRef(line.outgrown().root.load());
        if meta.form() == Form::Block {
            Self { root, depth: 0, class: meta.depth() }
        } else {
            Self { root, depth: meta.depth(), class: CLASS_MAX }
        }
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
    pub(crate) fn slots_at<F: Family, M: Memory>(
        &self,
        memory: &M,
        block: BlockRef,
    ) -> Result<BlockSlots<F>, Miss> {
        let chunk = memory.chunk(block.chunk()).ok_or(Miss::Corrupt)?;
        // SAFETY: `block` is in that chunk.
        Ok(unsafe { BlockSlots::new(chunk, block, self.class) })
    }

    #[inline(always)]
    fn slots<F: Family, M: Memory>(&self, memory: &M, entry: u32) -> Result<BlockSlots<F>, Miss> {
        let block = self.block(memory, entry)?;
        self.slots_at(memory, block)
    }

    /// Peers that fit into one of the blocks.
    pub(crate) const fn capacity<F: Family>(&self) -> u32 {
        block_capacity::<F>(self.class)
    }
}
