//! What an announce does to a torrent whose peers are in leaves.

pub use super::half::Root;
use super::{
    Miss,
    half::{Half, Halves},
    index::NEAR_BITS,
    layout::{Form, Line, Memory},
    leaf::{Leaf, LeafRef, Outcome, Pick, Write},
    swarm::{Change, Counts, complete},
    visit::Visit,
};
use crate::{
    budget::{Claim, Kind},
    family::Family,
    hash::TableKey,
    peers::PeerBuf,
};

/// Leaves of one half that a reply draws from, at most.
const DRAWS_MAX: u32 = 4;

/// The parts of an announce that search a leaf. The verifier looks at each of them once, if they
/// are functions of their own.
pub trait Leaves {
    /// Changes the announcer's slot.
    fn replace(&mut self, leaf: LeafRef, write: Write) -> Outcome;
    /// Gives the announcer a slot, if its source is within its budget or the peer `is_known` already.
    fn join(&mut self, leaf: LeafRef, is_known: bool) -> Outcome;
    /// Appends peers to the list of the reply. Returns whether it is full.
    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool;

    /// [`draw_half`]. A function of its own too, since older kernels would walk all of it for each
    /// way that an announce can have been applied.
    #[inline(always)]
    fn draw_half<M: Memory>(
        &mut self,
        memory: &M,
        root: Root,
        visit: &Visit,
        pick: Pick,
    ) -> Result<bool, Miss>
    where
        Self: Sized,
    {
        draw_half(memory, root, visit, self, pick)
    }
}

/// [`Leaves::replace`], with all that it needs.
#[inline(always)]
pub fn replace<F: Family, M: Memory>(
    memory: &M,
    visit: &Visit,
    leaf: LeafRef,
    write: Write,
) -> Outcome {
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.replace(visit, write),
        None => Outcome::ABSENT,
    }
}

/// [`Leaves::join`], with all that it needs. `budget` says whether the announcer's source is within its budget,
/// or charges it.
#[inline(always)]
pub fn join<F: Family, M: Memory>(
    memory: &M,
    visit: &Visit,
    leaf: LeafRef,
    mut budget: impl FnMut(Charge) -> bool,
) -> Outcome {
    let Some(leaf) = Leaf::<F>::open(memory, leaf) else { return Outcome::FULL };
    // A source over its budget makes no leaf grow.
    if !budget(Charge::Nothing) {
        return Outcome::OVER_BUDGET;
    }
    let joined = leaf.join(visit);
    // A join that waits for room is charged when it is applied, and only then.
    if joined == Outcome::DONE || joined == Outcome::TAKEN_OVER {
        budget(Charge::One);
    }
    joined
}

/// What is asked of the budget of joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// Whether the source is within it.
    Nothing,
    /// To count one peer more.
    One,
}

/// The budgets of the announcer's source in the torrent of a line: of all its joins, and of those in this torrent.
#[inline(always)]
pub fn join_claims<F: Family>(key: &TableKey, visit: &Visit, line: &Line<'_, F>) -> [Claim; 2] {
    let all = Claim {
        kind: Kind::Joins as u32,
        addr: visit.addr[0],
        is_v6: F::IS_V6,
        torrent: 0,
        now_ns: visit.clock.now_ns(),
    };
    let torrent = key.hash_words(line.hash_words());
    [all, Claim { kind: Kind::Peers as u32, torrent, ..all }]
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

/// Applies an announce to a torrent whose peers are in leaves, and draws peers. The visit has been
/// placed, and the list begun.
///
/// # Errors
/// As for [`inline::announce`](super::inline::announce). Where peers are being moved after the announce has
/// been applied, it may be applied again.
#[inline(always)]
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    line: Line<'_, F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if (meta.is_frozen() && visit.keeps_away()) || meta.form() != Form::Outgrown {
        return Err(Miss::Frozen);
    }
    let [first, second] = line.halves().own_and_other(!visit.is_seeder());
    prefetch::<F, M>(memory, first, visit);
    // A seeder is given no seeders, and a leecher leechers only where seeders do not suffice.
    if !visit.is_seeder() && first.len() < visit.numwant {
        prefetch::<F, M>(memory, second, visit);
    }
    let Settled { was_seeder, is_listed } = settle(memory, &line, visit, leaves)?;
    let has_completed = visit.has_completed(was_seeder == Some(true)) && is_listed;
    let completed = complete(&line, meta, has_completed);
    draw_peers(memory, line.halves(), visit, leaves)?;
    let counts = Counts {
        seeders: line.halves().seeders().len(),
        leechers: line.halves().leechers().len(),
        completed,
    };
    Ok((counts, Change::of(visit, was_seeder)))
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

/// What has become of the announcer's slot.
struct Settled {
    /// Whether the announcer was a seeder, if it had a slot.
    was_seeder: Option<bool>,
    /// Whether all is as the announce says. A new peer of a source over its budget is answered only.
    is_listed: bool,
}

/// Changes the announcer's slot.
#[inline(always)]
fn settle<F: Family, M: Memory>(
    memory: &M,
    line: &Line<'_, F>,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<Settled, Miss> {
    let [own, other] = line.halves().own_and_other(visit.is_seeder());
    let own_leaf = leaf_of(memory, own, visit)?;
    let write = if visit.leaves() { Write::VACANT } else { Write::NEW };
    let refreshed = leaves.replace(own_leaf, write);
    if refreshed == Outcome::DONE {
        if visit.leaves() {
            own.count.add(u32::MAX);
        }
        return Ok(Settled { was_seeder: Some(visit.is_seeder()), is_listed: true });
    }
    if refreshed != Outcome::ABSENT {
        return Err(Miss::Contended);
    }
    // New, or of the other role until now. It joins before it leaves, so that it is never lost.
    let other_leaf = leaf_of(memory, other, visit)?;
    if !visit.leaves() {
        let mut joined = leaves.join(own_leaf, false);
        if joined == Outcome::OVER_BUDGET {
            // A peer that is there already may change its role.
            if leaves.replace(other_leaf, Write::NOTHING) != Outcome::DONE {
                return Ok(Settled { was_seeder: None, is_listed: false });
            }
            joined = leaves.join(own_leaf, true);
        }
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
    let was_other = leaves.replace(other_leaf, Write::VACANT) == Outcome::DONE;
    if was_other {
        other.count.add(u32::MAX);
    }
    Ok(Settled { was_seeder: was_other.then_some(!visit.is_seeder()), is_listed: true })
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
pub(crate) fn draw_peers<M: Memory>(
    memory: &M,
    halves: &Halves,
    visit: &Visit,
    leaves: &mut impl Leaves,
) -> Result<(), Miss> {
    let picks = if visit.prefers_near() { [Pick::NEAR, Pick::FAR] } else { [Pick::ANY, Pick::ANY] };
    for turn in 0..2 {
        let pick = if turn == 0 { picks[0] } else { picks[1] };
        if turn == 1 && pick == Pick::ANY {
            break;
        }
        if !visit.is_seeder() && leaves.draw_half(memory, halves.seeders().root(), visit, pick)? {
            return Ok(());
        }
        // Only here can the announcer be met.
        let pick = if visit.is_seeder() || pick != Pick::ANY { pick } else { Pick::OTHERS };
        if leaves.draw_half(memory, halves.leechers().root(), visit, pick)? {
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
pub fn draw_half<M: Memory>(
    memory: &M,
    root: Root,
    visit: &Visit,
    leaves: &mut impl Leaves,
    pick: Pick,
) -> Result<bool, Miss> {
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

/// An entry that the announce's seed chooses. A depth that is corrupt may lead past the directory, which is
/// for the look-up to see.
#[inline(always)]
const fn seeded(root: Root, seed: u32) -> u32 {
    (((seed >> 16) as u64) << root.depth() >> 16) as u32
}
