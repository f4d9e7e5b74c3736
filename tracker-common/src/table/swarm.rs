//! What an announce and a scrape do to a torrent that is in the table.

pub use super::visit::{Announce, Side, Visit};
use super::{
    Miss,
    half::{Half, Root},
    index::NEAR_BITS,
    layout::{Form, Line, Memory, Meta},
    leaf::{Leaf, LeafRef, Outcome, Pick},
    run::{Run, Tally},
    word::PeerWord,
};
use crate::{
    family::Family,
    peers::{List, PeerBuf},
    time::Clock,
    verifier::{Sign, bounded},
};

/// Leaves of one half that a reply draws from, at most.
const DRAWS_MAX: u32 = 4;

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

/// The parts of an announce that search a leaf. The verifier looks at each of them once, if they
/// are functions of their own.
pub trait Leaves {
    /// Writes a word into the announcer's slot: its new one, or none if it is of the other role now.
    fn replace(&mut self, leaf: LeafRef, remove: bool) -> Outcome;
    /// Gives the announcer a slot.
    fn join(&mut self, leaf: LeafRef) -> Outcome;
    /// Appends peers to the list of the reply. Returns whether it is full.
    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool;

    /// [`draw_half`]. A function of its own too, since older kernels would walk all of it for each
    /// way that an announce can have been applied.
    #[inline(always)]
    fn draw_half<F: Family, M: Memory>(
        &mut self,
        memory: &M,
        line: &Line<F>,
        visit: &Visit,
        seeders: bool,
        pick: Pick,
    ) -> Result<bool, Miss>
    where
        Self: Sized,
    {
        draw_half(memory, line, visit, self, seeders, pick)
    }
}

/// [`Leaves::replace`], with all that it needs.
#[inline(always)]
pub fn replace<F: Family, M: Memory>(
    memory: &M,
    visit: &Visit,
    leaf: LeafRef,
    remove: bool,
) -> Outcome {
    let word = if remove { PeerWord::VACANT } else { visit.new };
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.replace(visit, word),
        None => Outcome::ABSENT,
    }
}

/// [`Leaves::join`], with all that it needs.
#[inline(always)]
pub fn join<F: Family, M: Memory>(memory: &M, visit: &Visit, leaf: LeafRef) -> Outcome {
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.join(visit),
        None => Outcome::FULL,
    }
}

/// [`Leaves::draw`], with all that it needs.
#[inline(always)]
pub fn draw<F: Family, M: Memory>(
    memory: &M,
    visit: &Visit,
    leaf: LeafRef,
    pick: Pick,
    list: &mut PeerBuf,
) -> bool {
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.draw(visit, pick, list),
        None => false,
    }
}

/// Applies an announce to a torrent that keeps its peers in its line, and fills `list`, which is empty.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing has been changed then.
#[inline(always)]
pub fn announce_inline<F: Family>(
    line: Line<F>,
    visit: &Visit,
    list: &mut impl List,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if (meta.is_frozen() && visit.keeps_away()) || meta.form() != Form::Inline {
        return Err(Miss::Frozen);
    }
    let (was_there, old) = if F::IS_V6 {
        settle_inline::<F, 4>(&line.run(), visit)?
    } else {
        settle_inline::<F, 5>(&line.run(), visit)?
    };
    let was_seeder = was_there && old.is_seeder();
    let completed = complete(&line, meta, visit.has_completed(was_seeder));
    let [seeders, leechers] = draw_from_line(line, visit, list);
    list.finish_for::<F>(visit.addr, visit.port());
    let change = Change::of(visit, was_there, was_seeder);
    Ok((Counts { seeders, leechers, completed }, change))
}

/// The same with a list from its beginning to its end.
///
/// # Errors
/// As for [`announce_inline`].
#[inline(always)]
pub fn announce_and_list<F: Family>(
    line: Line<F>,
    visit: &Visit,
    list: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    begin_list::<F>(visit, list);
    let mut cursor = list.cursor();
    let done = announce_inline(line, visit, &mut cursor)?;
    cursor.save();
    Ok(done)
}

/// Begins the list of a reply.
#[inline(always)]
pub fn begin_list<F: Family>(visit: &Visit, list: &mut PeerBuf) {
    list.begin::<F>(visit.numwant);
}

/// Ends the list of a reply.
#[inline(always)]
pub fn finish_list<F: Family>(visit: &Visit, list: &mut PeerBuf) {
    let mut cursor = list.cursor();
    cursor.finish_for::<F>(visit.addr, visit.port());
    cursor.save();
}

/// Appends peers of a torrent that keeps them in its line. Returns all seeders and leechers.
#[inline(always)]
pub(crate) fn draw_from_line<F: Family>(
    line: Line<F>,
    visit: &Visit,
    list: &mut impl List,
) -> [u32; 2] {
    if F::IS_V6 {
        draw_inline::<F, _, 4>(&line.run(), visit, list)
    } else {
        draw_inline::<F, _, 5>(&line.run(), visit, list)
    }
}

/// Changes the announcer's slot. Returns whether it had one, and the word that was in it.
#[inline(always)]
fn settle_inline<F: Family, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
) -> Result<(bool, PeerWord), Miss> {
    let number = number_of::<N>(|index| run.names(index, visit));
    if number == 0 {
        return settle_newcomer(run, visit);
    }
    let slot = slot::<N>(number).ok_or(Miss::Contended)?;
    let old = run.peer(slot);
    if !visit.key.is_of(old) {
        return Err(Miss::Contended);
    }
    if old != visit.new && !run.word(slot).replace(old.0, visit.new.0) {
        return Err(Miss::Contended);
    }
    Ok((true, old))
}

#[inline(always)]
fn settle_newcomer<F: Family, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
) -> Result<(bool, PeerWord), Miss> {
    if visit.leaves() {
        return Ok((false, PeerWord::VACANT));
    }
    let free = number_of::<N>(|index| run.peer(index).is_free(&visit.clock));
    let slot = slot::<N>(free).ok_or(Miss::Full)?;
    let old = run.peer(slot);
    if old.is_free(&visit.clock).bit() == 0 || !run.take(slot, old, visit) {
        return Err(Miss::Contended);
    }
    Ok((false, PeerWord::VACANT))
}

/// The number of the first slot that `is_it`, counted from one; 0 if there is none.
#[inline(always)]
fn number_of<const N: usize>(is_it: impl Fn(usize) -> Sign) -> u64 {
    let mut number = 0;
    for index in (0..N).rev() {
        // The first one is the last to be written here.
        let keep = is_it(index).bit().wrapping_sub(1);
        number = number & keep | (index as u64 + 1) & !keep;
    }
    number
}

/// The slot with this number, counted from one.
#[inline(always)]
fn slot<const N: usize>(number: u64) -> Option<usize> {
    let slot = bounded::<7>((number as u32).wrapping_sub(1));
    if number == 0 || slot >= N { None } else { Some(slot) }
}

/// Appends a line's peers to the list, and counts all.
#[inline(always)]
fn draw_inline<F: Family, L: List, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
    list: &mut L,
) -> [u32; 2] {
    if !L::IS_WHOLE && visit.numwant < N as u32 {
        draw_some_inline(run, visit, list);
        return run.count(&visit.clock);
    }
    let no_seeders = (visit.is_seeder() as u64) << 63;
    let mut tally = Tally::default();
    for index in 0..N {
        let unwanted = |word: PeerWord, _| {
            visit.key.names(word).or(word.is_seeder_sign().and(Sign::new(no_seeders)))
        };
        let word = run.draw(index, &visit.clock, unwanted, list);
        tally.add(word, &visit.clock);
    }
    tally.figures()
}

/// The same where not all may fit: the best first.
#[inline(always)]
fn draw_some_inline<F: Family, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
    list: &mut impl List,
) {
    let no_subnet = if visit.prefers_near() { Sign::NO } else { Sign::YES };
    // By turns: seeders of the own subnet, leechers of it, other seeders, other leechers. The turns
    // are not known to LLVM, which would otherwise write them out.
    for turn in 0..1 + bounded::<3>(3 | visit.zero) as u64 {
        let other_role = (turn & 1) << 63;
        let far = (turn >> 1) << 63;
        if (turn & 1 == 0 && visit.is_seeder()) || (turn < 2 && !visit.prefers_near()) {
            continue;
        }
        for index in 0..N {
            if list.is_full() {
                break;
            }
            let unwanted = |word: PeerWord, addr| {
                let other_role = word.is_seeder_sign().not().xor(other_role);
                let other_subnet = visit.is_near(addr).not().xor(far).and(no_subnet.not());
                visit.key.names(word).or(other_role).or(other_subnet)
            };
            run.draw(rotated::<N>(index, visit.seed), &visit.clock, unwanted, list);
        }
    }
}

/// The slots in another order, beginning at one that the announce's seed chooses.
#[inline(always)]
fn rotated<const N: usize>(index: usize, seed: u32) -> usize {
    let first = ((seed & 0xffff) * N as u32) >> 16;
    let at = bounded::<7>(first) + index;
    let at = if at >= N { at - N } else { at };
    if at >= N { 0 } else { at }
}

/// Applies an announce to a torrent whose peers are in leaves, and draws peers. The visit has been
/// placed, and the list begun.
///
/// # Errors
/// As for [`announce_inline`]. Where peers are being moved after the announce has been applied, it
/// may be applied again.
#[inline(always)]
pub fn announce_outgrown<F: Family, M: Memory>(
    memory: &M,
    line: Line<F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if (meta.is_frozen() && visit.keeps_away()) || meta.form() != Form::Outgrown {
        return Err(Miss::Frozen);
    }
    prefetch::<F, M>(memory, line.halves().seeders(), visit);
    prefetch::<F, M>(memory, line.halves().leechers(), visit);
    let (was_there, was_seeder) = settle_outgrown(memory, &line, visit, leaves)?;
    let completed = complete(&line, meta, visit.has_completed(was_seeder));
    draw_outgrown(memory, &line, visit, leaves)?;
    let counts = Counts {
        seeders: line.halves().seeders().len(),
        leechers: line.halves().leechers().len(),
        completed,
    };
    Ok((counts, Change::of(visit, was_there, was_seeder)))
}

/// Begins to load what will be drawn first from one half, so that this overlaps with the search for the
/// announcer's slot.
#[inline(always)]
fn prefetch<F: Family, M: Memory>(memory: &M, half: Half<'_>, visit: &Visit) {
    let root = half.root();
    if let Ok(leaf) = root.entry(memory, seeded(root, visit.seed))
        && let Some(leaf) = Leaf::<F>::open(memory, leaf)
    {
        leaf.prefetch(visit);
    }
}

/// Changes the announcer's slot. Returns whether it had one, and was a seeder.
#[inline(always)]
fn settle_outgrown<F: Family, M: Memory>(
    memory: &M,
    line: &Line<F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<(bool, bool), Miss> {
    let [own, other] = line.halves().own_and_other(visit.is_seeder());
    let own_leaf = leaf_of(memory, own, visit)?;
    let refreshed = leaves.replace(own_leaf, visit.leaves());
    if refreshed == Outcome::DONE {
        if visit.leaves() {
            own.count.add(u32::MAX);
        }
        return Ok((true, visit.is_seeder()));
    }
    if refreshed != Outcome::ABSENT {
        return Err(Miss::Contended);
    }
    // New, or of the other role until now. It joins before it leaves, so that it is never lost.
    let other_leaf = leaf_of(memory, other, visit)?;
    if !visit.leaves() {
        let joined = leaves.join(own_leaf);
        if joined == Outcome::FULL {
            return Err(Miss::Full);
        }
        if joined == Outcome::CONTENDED {
            return Err(Miss::Contended);
        }
        if joined == Outcome::DONE {
            own.count.add(1);
        }
    }
    let was_other = leaves.replace(other_leaf, true) == Outcome::DONE;
    if was_other {
        other.count.add(u32::MAX);
    }
    Ok((was_other, was_other && !visit.is_seeder()))
}

/// The leaf of one half that the announcer belongs to.
#[inline(always)]
fn leaf_of<M: Memory>(memory: &M, half: Half<'_>, visit: &Visit) -> Result<LeafRef, Miss> {
    let root = half.root();
    let leaf = root.entry(memory, root.entry_of(visit.hash))?;
    if leaf.is_frozen() && visit.keeps_away() { Err(Miss::Frozen) } else { Ok(leaf) }
}

/// Draws peers for the announcer, each half from a few leaves.
#[inline(always)]
pub(crate) fn draw_outgrown<F: Family, M: Memory>(
    memory: &M,
    line: &Line<F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<(), Miss> {
    let picks = if visit.prefers_near() { [Pick::NEAR, Pick::FAR] } else { [Pick::ANY, Pick::ANY] };
    for turn in 0..2 {
        let pick = if turn == 0 { picks[0] } else { picks[1] };
        if turn == 1 && pick == Pick::ANY {
            break;
        }
        if !visit.is_seeder() && leaves.draw_half(memory, line, visit, true, pick)? {
            return Ok(());
        }
        // Only here can the announcer be met.
        let pick = if visit.is_seeder() || pick != Pick::ANY { pick } else { Pick::OTHERS };
        if leaves.draw_half(memory, line, visit, false, pick)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Draws peers from a few leaves of one half. Returns whether the list is full.
///
/// # Errors
/// A leaf's peers are being moved, or the directory is corrupt.
#[inline(always)]
pub fn draw_half<F: Family, M: Memory>(
    memory: &M,
    line: &Line<F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
    seeders: bool,
    pick: Pick,
) -> Result<bool, Miss> {
    let [half, _] = line.halves().own_and_other(seeders);
    let root = half.root();
    let base =
        if pick == Pick::NEAR { root.entry_of(visit.hash) } else { seeded(root, visit.seed) };
    let shared = if pick == Pick::NEAR { NEAR_BITS } else { 0 };
    let bits = root.depth().saturating_sub(shared);
    let mut last = LeafRef::NONE;
    for turn in 0..DRAWS_MAX {
        // Quarters of the directory; or, of the part of it that is the subnet's.
        let leaf = root.entry(memory, base ^ (turn << bits) >> 2)?;
        if leaf.is_frozen() && visit.keeps_away() {
            return Err(Miss::Frozen);
        }
        if leaf == last || leaf == LeafRef::NONE {
            continue;
        }
        last = leaf;
        if leaves.draw(leaf, pick) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An entry that the announce's seed chooses.
#[inline(always)]
const fn seeded(root: Root, seed: u32) -> u32 {
    (seed >> 16) >> (16 - if root.depth() > 16 { 16 } else { root.depth() })
}

/// Counts a completed download, if it is one. Returns how many there are now.
#[inline(always)]
pub(crate) fn complete<F: Family>(line: &Line<F>, meta: Meta, has_completed: bool) -> u32 {
    let completed = meta.completed();
    if !has_completed || completed >= Meta::COMPLETED_MAX {
        return completed;
    }
    line.head().meta.add(Meta::COMPLETED_ONE);
    completed + 1
}

impl Change {
    #[inline(always)]
    fn of(visit: &Visit, was_there: bool, was_seeder: bool) -> Self {
        match (visit.leaves(), was_there) {
            (true, true) => Self::Left,
            (false, false) => Self::Joined,
            (false, true) if visit.is_seeder() && !was_seeder => Self::Completed,
            _ => Self::Refreshed,
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
    let completed = meta.completed();
    match meta.form() {
        Form::Vacant => Counts::default(),
        Form::Inline => {
            let [seeders, leechers] =
                if F::IS_V6 { line.run::<4>().count(clock) } else { line.run::<5>().count(clock) };
            Counts { seeders, leechers, completed }
        }
        Form::Outgrown => Counts {
            seeders: line.halves().seeders().len(),
            leechers: line.halves().leechers().len(),
            completed,
        },
    }
}
