//! Giving back the memory of peers that are gone while their swarm lives: leaves shrink, neighbouring leaves
//! merge, and directories halve.
//!
//! The sweep finds the peer sets that hold more than their peers need. [`Table::compact`] freezes some of their
//! leaves, waits for the kernel, and puts the peers into leaves that fit: what growth does, backwards. Leaves
//! keep a margin on either side, so that a swarm whose size varies a little is not moved at every sweep.

use std::ops::Range;

use super::{
    Arena, Table,
    leaves::{Collected, directory, directory_units},
    sweep::peers_in,
};
use crate::{
    family::{Family, V4, V6},
    table::{
        layout::{Entry, Memory},
        leaf::{GROUP_SLOTS, LeafRef, groups_max},
        peer_set::{PeerSet, Root},
    },
    time::Clock,
};

/// Peer sets that are looked at for one grace period.
const BATCH: usize = 256;

/// Peer sets that one sweep notes. The next sweep finds the others.
pub(super) const LOOSE_MAX: usize = 1 << 20;

/// Parts of one peer set that are moved at a time. The next sweep finds the others.
const PARTS_MAX: usize = 4096;

/// A peer set that holds more than its peers need.
#[derive(Clone, Copy)]
pub(super) struct Loose {
    /// The number of the torrent's entry.
    pub(super) number: u32,
    pub(super) is_v6: bool,
    pub(super) seeder: bool,
}

/// Groups that so many peers fill.
const fn groups_filled(peers: u32) -> u32 {
    let groups = peers.div_ceil(GROUP_SLOTS);
    if groups == 0 { 1 } else { groups }
}

/// Whether a leaf is more than an eighth longer than its peers fill.
const fn is_too_long(groups: u32, peers: u32) -> bool {
    let filled = groups_filled(peers);
    groups > filled + filled / 8
}

/// Whether two leaves with so many peers together become one, with room for an eighth more.
const fn is_for_one_leaf<F: Family>(peers: u32) -> bool {
    peers <= groups_max::<F>() * GROUP_SLOTS / 8 * 7
}

/// Looks at the leaves of a peer set one after the other.
#[derive(Default)]
pub(super) struct Looseness {
    is_loose: bool,
    before: Option<u32>,
}

impl Looseness {
    /// The next leaf.
    pub(super) fn see<F: Family>(&mut self, leaf: LeafRef, peers: u32) {
        let with_neighbour = self.before.replace(peers).map(|before| before + peers);
        self.is_loose |= is_too_long(leaf.groups(), peers)
            || with_neighbour.is_some_and(|peers| is_for_one_leaf::<F>(peers));
    }

    /// Whether the peer set may hold more than its peers need.
    pub(super) const fn is_found(&self) -> bool {
        self.is_loose
    }
}

/// Entries of a directory whose peers fit one leaf, and the leaves that they refer to.
struct Part {
    entries: Range<u32>,
    leaves: Vec<LeafRef>,
    peers: u32,
}

impl Part {
    fn groups(&self) -> u32 {
        self.leaves.iter().map(|leaf| leaf.groups()).sum()
    }

    fn is_loose(&self) -> bool {
        self.leaves.len() > 1 || is_too_long(self.groups(), self.peers)
    }

    /// The length of one leaf for so many peers: an eighth more than they fill. `None` where that is no gain.
    fn groups_instead<F: Family>(&self, peers: u32) -> Option<u32> {
        let filled = groups_filled(peers);
        let groups = (filled + filled / 8).min(groups_max::<F>()).min(self.groups());
        let is_gain = self.leaves.len() > 1 || groups < self.groups();
        (groups >= filled && is_gain).then_some(groups)
    }
}

/// A peer set, and the parts of it that are to be moved.
struct Work<'a, F: Family> {
    entry: Entry<'a, F>,
    seeder: bool,
    parts: Vec<Part>,
}

impl<'a, F: Family> Work<'a, F> {
    fn set(&self) -> PeerSet<'a> {
        let [set, _] = self.entry.sets().own_and_other(self.seeder);
        set
    }
}

impl<M: Memory> Table<M> {
    /// Gives back what some of the peer sets that the last sweep found do not need. `grace` is that of
    /// [`Table::grow`], and called at most twice. Returns whether there are more of them.
    pub fn compact(&self, now_ns: u64, mut grace: impl FnMut()) -> bool {
        let clock = self.clock(now_ns);
        let _mover = self.mover_lock();
        let (batch, is_more) = {
            let mut owner = self.owner();
            let rest = owner.loose.len().saturating_sub(BATCH);
            (owner.loose.split_off(rest), rest > 0)
        };
        let (v6, v4): (Vec<_>, Vec<_>) = batch.into_iter().partition(|loose| loose.is_v6);
        if !self.shared_with_kernel {
            self.compact_now::<V4>(&v4, &clock);
            self.compact_now::<V6>(&v6, &clock);
            return is_more;
        }
        let v4 = self.freeze_loose::<V4>(&v4);
        let v6 = self.freeze_loose::<V6>(&v6);
        if v4.is_empty() && v6.is_empty() {
            return is_more;
        }
        grace();
        self.release_retired();
        v4.iter().for_each(|work| self.compact_frozen(work, &clock));
        v6.iter().for_each(|work| self.compact_frozen(work, &clock));
        if !self.owner().retired.is_empty() {
            grace();
            self.release_retired();
        }
        is_more
    }

    /// Whether the last sweep has found sets that [`Table::compact`] has not seen to.
    pub fn is_loose(&self) -> bool {
        !self.owner().loose.is_empty()
    }

    /// For a table that the kernel does not use. Frontends that make room hold the same lock.
    fn compact_now<F: Family>(&self, batch: &[Loose], clock: &Clock) {
        for loose in batch {
            let _moving = self.write_lock();
            let Some(work) = self.work_on::<F>(loose) else { continue };
            work.parts.iter().for_each(|part| self.move_part(&work, part, clock));
            self.halve(&work.set());
        }
        self.release_retired();
    }

    /// For one that it uses, and whose parts are frozen.
    fn compact_frozen<F: Family>(&self, work: &Work<'_, F>, clock: &Clock) {
        for part in &work.parts {
            let _moving = self.write_lock();
            self.move_part(work, part, clock);
        }
        let _moving = self.write_lock();
        self.halve(&work.set());
    }

    fn freeze_loose<F: Family>(&self, batch: &[Loose]) -> Vec<Work<'_, F>> {
        let works: Vec<_> = batch.iter().filter_map(|loose| self.work_on::<F>(loose)).collect();
        for work in &works {
            let set = work.set();
            work.parts.iter().for_each(|part| self.set_frozen(&set, part.entries.clone(), true));
        }
        works
    }

    /// What there is to do in a peer set, whose torrent may be another one by now.
    fn work_on<F: Family>(&self, loose: &Loose) -> Option<Work<'_, F>> {
        let entry = Entry::<F>::at(&self.memory, loose.number)?;
        if !entry.is_spilled() || entry.meta().is_frozen() {
            return None;
        }
        let [set, _] = entry.sets().own_and_other(loose.seeder);
        let root = set.root();
        let mut parts = self.parts::<F>(root, 0..1 << root.depth())?;
        parts.retain(Part::is_loose);
        parts.truncate(PARTS_MAX);
        (!parts.is_empty()).then_some(Work { entry, seeder: loose.seeder, parts })
    }

    /// The parts that some entries, a power of two of them, fall into; `None` where a reference leads nowhere.
    fn parts<F: Family>(&self, root: Root, entries: Range<u32>) -> Option<Vec<Part>> {
        let leaf = root.entry(&self.memory, entries.start).ok()?;
        if self.span(root, entries.start).len() >= entries.len() {
            let mut peers = 0;
            self.each_group::<F>(leaf, |slots| peers += peers_in(slots));
            return Some(vec![Part { entries, leaves: vec![leaf], peers }]);
        }
        let middle = entries.start + entries.len() as u32 / 2;
        let mut lower = self.parts::<F>(root, entries.start..middle)?;
        let mut upper = self.parts::<F>(root, middle..entries.end)?;
        if let ([low], [high]) = (&mut lower[..], &mut upper[..])
            && is_for_one_leaf::<F>(low.peers + high.peers)
        {
            low.entries = entries;
            low.leaves.append(&mut high.leaves);
            low.peers += high.peers;
            return Some(lower);
        }
        lower.append(&mut upper);
        Some(lower)
    }

    /// Puts the peers of a part into one leaf that fits. The part stays as it is where more peers have joined
    /// meanwhile, or where there is no room for the new leaf beside the old ones.
    fn move_part<F: Family>(&self, work: &Work<'_, F>, part: &Part, clock: &Clock) {
        let set = work.set();
        let mut owner = self.owner();
        let arena = &mut owner.arena;
        let mut peers = Collected::default();
        for &leaf in &part.leaves {
            let Collected { live, all } = self.collect::<F>(leaf, clock);
            peers.live.extend(live);
            peers.all += all;
        }
        let live = peers.live.len() as u32;
        let Some(groups) = part.groups_instead::<F>(live) else {
            return self.set_frozen(&set, part.entries.clone(), false);
        };
        arena.open_reserve(true);
        let made = self.make_leaf::<F>(arena, groups, &peers.live);
        arena.open_reserve(false);
        let Some(new) = made else {
            return self.set_frozen(&set, part.entries.clone(), false);
        };
        let Range { start, end } = part.entries;
        self.note_span(work.entry, work.seeder, [start, end, end], [new, new]);
        self.refer(&set, start..end, new);
        self.forget_note();
        set.count.add(live.wrapping_sub(peers.all));
        part.leaves.iter().for_each(|&leaf| self.release_leaf::<F>(arena, leaf));
    }

    /// Replaces a directory whose entries are alike in pairs by a shorter one, if there is room for that. The
    /// old one is retired: the kernel may still be reading it.
    fn halve(&self, set: &PeerSet<'_>) {
        let mut owner = self.owner();
        let Some(new) = self.shorter(&mut owner.arena, set.root()) else { return };
        owner.retired.extend(directory(set.root()));
        set.set_root(new);
    }

    /// `None` where no shorter one has the same leaves.
    fn shorter(&self, arena: &mut Arena, old: Root) -> Option<Root> {
        let entry = |place| old.entry(&self.memory, place).ok();
        let all = 1_u32 << old.depth();
        let is_alike = |step: usize| {
            (0..all).step_by(2 * step).all(|first| entry(first) == entry(first + step as u32))
        };
        let mut depth = old.depth();
        while depth > 0 && is_alike(1 << (old.depth() - depth)) {
            depth -= 1;
        }
        if depth == old.depth() {
            return None;
        }
        if depth == 0 {
            return entry(0).map(Root::leaf);
        }
        let new = Root::directory(arena.allocate(directory_units(depth))?, depth);
        for to in 0..1 << depth {
            new.slot(&self.memory, to).ok()?.store(entry(to << (old.depth() - depth))?.0);
        }
        Some(new)
    }
}
