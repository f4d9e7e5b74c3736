//! What an announce does to a torrent whose peers are in leaves.

pub use super::peer_set::Root;
use super::{
    Miss,
    index::NEAR_BITS,
    layout::{Entry, Form, Memory},
    leaf::{Leaf, LeafRef, Outcome, Pick, Write},
    peer_set::{PeerSet, PeerSets},
    prepared::PreparedAnnounce,
    swarm::{Change, Counts, complete},
};
use crate::{
    budget::{Claim, Kind},
    family::Family,
    hash::TableKey,
    peers::PeerBuf,
};

/// Leaves of one peer set that a reply draws from, at most.
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

    /// [`draw_set`]. A function of its own too, since older kernels would walk all of it for each
    /// way that an announce can have been applied.
    #[inline(always)]
    fn draw_set<M: Memory>(
        &mut self,
        memory: &M,
        root: Root,
        prepared: &PreparedAnnounce,
        pick: Pick,
    ) -> Result<bool, Miss>
    where
        Self: Sized,
    {
        draw_set(memory, root, prepared, self, pick)
    }
}

/// [`Leaves::replace`], with all that it needs.
#[inline(always)]
pub fn replace<F: Family, M: Memory>(
    memory: &M,
    prepared: &PreparedAnnounce,
    leaf: LeafRef,
    write: Write,
) -> Outcome {
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.replace(prepared, write),
        None => Outcome::ABSENT,
    }
}

/// [`Leaves::join`], with all that it needs. `budget` says whether the announcer's source is within its budget,
/// or charges it.
#[inline(always)]
pub fn join<F: Family, M: Memory>(
    memory: &M,
    prepared: &PreparedAnnounce,
    leaf: LeafRef,
    mut budget: impl FnMut(Charge) -> bool,
) -> Outcome {
    let Some(leaf) = Leaf::<F>::open(memory, leaf) else { return Outcome::FULL };
    // A source over its budget makes no leaf grow.
    if !budget(Charge::Nothing) {
        return Outcome::OVER_BUDGET;
    }
    let joined = leaf.join(prepared);
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

/// The budgets of the announcer's source in the torrent of an entry: of all its joins, and of those in this torrent.
#[inline(always)]
pub fn join_claims<F: Family>(
    key: &TableKey,
    prepared: &PreparedAnnounce,
    entry: &Entry<'_, F>,
) -> [Claim; 2] {
    let all = Claim {
        kind: Kind::Joins as u32,
        addr: prepared.addr[0],
        is_v6: F::IS_V6,
        torrent: 0,
        now_ns: prepared.clock.now_ns(),
    };
    let torrent = key.hash_words(entry.hash_words());
    [all, Claim { kind: Kind::Peers as u32, torrent, ..all }]
}

/// [`Leaves::draw`], with all that it needs.
#[inline(always)]
pub fn draw<F: Family, M: Memory>(
    memory: &M,
    prepared: &PreparedAnnounce,
    leaf: LeafRef,
    pick: Pick,
    list: &mut PeerBuf,
) -> bool {
    match Leaf::<F>::open(memory, leaf) {
        Some(leaf) => leaf.draw(prepared, pick, list),
        None => false,
    }
}

/// Applies an announce to a torrent whose peers are in leaves, and draws peers. The prepared has been
/// placed, and the list begun.
///
/// # Errors
/// As for [`inline::announce`](super::inline::announce). Where peers are being moved after the announce has
/// been applied, it may be applied again.
#[inline(always)]
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    entry: Entry<'_, F>,
    prepared: &PreparedAnnounce,
    leaves: &mut impl Leaves,
) -> Result<(Counts, Change), Miss> {
    let meta = entry.meta();
    if (meta.is_frozen() && prepared.keeps_away()) || meta.form() != Form::Spilled {
        return Err(Miss::Frozen);
    }
    let [first, second] = entry.sets().own_and_other(!prepared.is_seeder());
    prefetch::<F, M>(memory, first, prepared);
    // A seeder is given no seeders, and a leecher leechers only where seeders do not suffice.
    if !prepared.is_seeder() && first.len() < prepared.numwant {
        prefetch::<F, M>(memory, second, prepared);
    }
    let Settled { was_seeder, is_listed } = settle(memory, &entry, prepared, leaves)?;
    let has_completed = prepared.has_completed(was_seeder == Some(true)) && is_listed;
    let completed = complete(&entry, meta, has_completed);
    draw_peers(memory, entry.sets(), prepared, leaves)?;
    let counts = Counts {
        seeders: entry.sets().seeders().len(),
        leechers: entry.sets().leechers().len(),
        completed,
    };
    Ok((counts, Change::of(prepared, was_seeder)))
}

/// Begins to load what will be drawn first from one peer set, so that this overlaps with the search for the
/// announcer's slot.
#[inline(always)]
fn prefetch<F: Family, M: Memory>(memory: &M, set: PeerSet<'_>, prepared: &PreparedAnnounce) {
    let root = set.root();
    if let Ok(leaf) = root.entry(memory, seeded(root, prepared.seed))
        && let Some(leaf) = Leaf::<F>::open(memory, leaf)
    {
        leaf.prefetch(prepared);
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
    entry: &Entry<'_, F>,
    prepared: &PreparedAnnounce,
    leaves: &mut impl Leaves,
) -> Result<Settled, Miss> {
    let [own, other] = entry.sets().own_and_other(prepared.is_seeder());
    let own_leaf = leaf_of(memory, own, prepared)?;
    let write = if prepared.leaves() { Write::VACANT } else { Write::NEW };
    let refreshed = leaves.replace(own_leaf, write);
    if refreshed == Outcome::DONE {
        if prepared.leaves() {
            own.count.add(u32::MAX);
        }
        return Ok(Settled { was_seeder: Some(prepared.is_seeder()), is_listed: true });
    }
    if refreshed != Outcome::ABSENT {
        return Err(Miss::Contended);
    }
    // New, or of the other role until now. It joins before it leaves, so that it is never lost.
    let other_leaf = leaf_of(memory, other, prepared)?;
    if !prepared.leaves() {
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
    Ok(Settled { was_seeder: was_other.then_some(!prepared.is_seeder()), is_listed: true })
}

/// The leaf of one peer set that the announcer belongs to.
#[inline(always)]
fn leaf_of<M: Memory>(
    memory: &M,
    set: PeerSet<'_>,
    prepared: &PreparedAnnounce,
) -> Result<LeafRef, Miss> {
    let root = set.root();
    let leaf = root.entry(memory, root.entry_of(prepared.hash))?;
    if leaf.is_frozen() && prepared.keeps_away() { Err(Miss::Frozen) } else { Ok(leaf) }
}

/// Draws peers for the announcer, each peer set from a few leaves.
#[inline(always)]
pub(crate) fn draw_peers<M: Memory>(
    memory: &M,
    sets: &PeerSets,
    prepared: &PreparedAnnounce,
    leaves: &mut impl Leaves,
) -> Result<(), Miss> {
    let picks =
        if prepared.prefers_near() { [Pick::NEAR, Pick::FAR] } else { [Pick::ANY, Pick::ANY] };
    for turn in 0..2 {
        let pick = if turn == 0 { picks[0] } else { picks[1] };
        if turn == 1 && pick == Pick::ANY {
            break;
        }
        if !prepared.is_seeder()
            && leaves.draw_set(memory, sets.seeders().root(), prepared, pick)?
        {
            return Ok(());
        }
        // Only here can the announcer be met.
        let pick = if prepared.is_seeder() || pick != Pick::ANY { pick } else { Pick::OTHERS };
        if leaves.draw_set(memory, sets.leechers().root(), prepared, pick)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Draws peers from a few leaves of one peer set. Returns whether the list is full.
///
/// # Errors
/// A leaf's peers are being moved, or the directory is corrupt.
#[inline(always)]
pub fn draw_set<M: Memory>(
    memory: &M,
    root: Root,
    prepared: &PreparedAnnounce,
    leaves: &mut impl Leaves,
    pick: Pick,
) -> Result<bool, Miss> {
    let base =
        if pick == Pick::NEAR { root.entry_of(prepared.hash) } else { seeded(root, prepared.seed) };
    let shared = if pick == Pick::NEAR { NEAR_BITS } else { 0 };
    let bits = root.depth().saturating_sub(shared);
    let mut last = LeafRef::NONE;
    for turn in 0..DRAWS_MAX {
        // Quarters of the directory; or, of the part of it that is the subnet's.
        let leaf = root.entry(memory, base ^ (turn << bits) >> 2)?;
        if leaf.is_frozen() && prepared.keeps_away() {
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
