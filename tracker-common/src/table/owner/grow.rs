//! Making room for announces that found none.

use std::marker::PhantomData;

use super::{
    Table, Waiting,
    displace::Move,
    leaves::{Collected, groups_for},
};
use crate::{
    announce::Event,
    family::{Family, V4, V6},
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss,
        index::find,
        layout::{Entry, Form, Gate, Memory},
        leaf::{LeafRef, groups_max},
        peer_set::{DEPTH_MAX, Root},
        swarm::Announce,
    },
    time::Clock,
};

/// How often one announce may make its torrent grow: at most once for each level of a directory,
/// and for each step of a leaf.
const GROWTHS_MAX: u32 = 64;

/// Announces of one family that wait for room, and what was frozen to make it.
struct Batch<'a, F: Family> {
    waiting: Vec<Waiting>,
    entries: Vec<Entry<'a, F>>,
    spans: Vec<Span<F>>,
    moves: Vec<Vec<Move<'a, F>>>,
}

/// The part of a peer set that one frozen leaf was for.
#[derive(Clone, Copy)]
struct Span<F> {
    info_hash: InfoHash,
    seeder: bool,
    /// The first hash, and the depth down to which hashes of the part agree.
    hash: u64,
    depth: u32,
    family: PhantomData<F>,
}

impl<F: Family> Batch<'_, F> {
    fn new() -> Self {
        Self { waiting: Vec::new(), entries: Vec::new(), spans: Vec::new(), moves: Vec::new() }
    }

    fn has_frozen_entries(&self) -> bool {
        !self.entries.is_empty() || !self.moves.is_empty()
    }
}

impl<M: Memory> Table<M> {
    /// Makes room for the announces that found none, and applies them. `grace` returns once no run
    /// of the XDP program that was under way when it was called can still be; it is called once, and a
    /// few times more where torrents make way for others. Returns how many announces there were.
    pub fn grow(&self, now_ns: u64, mut grace: impl FnMut()) -> usize {
        let _mover = self.mover_lock();
        let waiting = self.take_waiting();
        let clock = self.clock(now_ns);
        let (v6, v4): (Vec<_>, Vec<_>) = waiting.iter().partition(|one| one.is_v6);
        let v4 = self.freeze::<V4>(v4, &clock);
        let v6 = self.freeze::<V6>(v6, &clock);
        if v4.waiting.is_empty() && v6.waiting.is_empty() && self.owner().retired.is_empty() {
            return waiting.len();
        }
        grace();
        self.release_retired();
        self.displace(&v4.moves, &mut grace);
        self.displace(&v6.moves, &mut grace);
        self.settle(&v4, &clock);
        self.settle(&v6, &clock);
        waiting.len()
    }

    /// After a grace period, or where there is no kernel.
    pub(super) fn release_retired(&self) {
        let mut owner = self.owner();
        for (unit, units) in std::mem::take(&mut owner.retired) {
            owner.arena.release(unit, units);
        }
    }

    /// Applies what has found room in the meantime, and freezes what the rest needs moved.
    fn freeze<F: Family>(&self, waiting: Vec<Waiting>, clock: &Clock) -> Batch<'_, F> {
        let mut batch = Batch::new();
        let mut peers = PeerBuf::new();
        let mut homeless = Vec::new();
        for one in waiting {
            let missed = {
                let _reading = self.read_lock();
                self.try_waiting::<F>(&one, clock, &mut peers)
            };
            match missed {
                Ok(()) => {}
                Err(Miss::Unknown) => homeless.push(one),
                Err(_) => {
                    self.freeze_for(&one, &mut batch);
                    batch.waiting.push(one);
                }
            }
        }
        for one in homeless {
            if !self.admit::<F>(&one.info_hash, Gate::Open, false) {
                let Some(moves) = self.plan_displacement::<F>(&one.info_hash) else {
                    // What is frozen for others may move the next time.
                    if batch.has_frozen_entries() {
                        self.wait_again(one);
                    } else {
                        self.refuse(&one, Miss::Unknown);
                    }
                    continue;
                };
                moves.iter().for_each(|step| step.from.freeze(true));
                batch.moves.push(moves);
            }
            batch.waiting.push(one);
        }
        batch
    }

    fn freeze_for<'a, F: Family>(&'a self, one: &Waiting, batch: &mut Batch<'a, F>) {
        let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, &one.info_hash) else {
            return;
        };
        if !entry.is_spilled() {
            entry.freeze(true);
            batch.entries.push(entry);
            return;
        }
        let [set, _] = entry.sets().own_and_other(one.seeder);
        let hash = self.shape.place::<F>(one.addr, one.port);
        let root = set.root();
        let place = root.entry_of(hash);
        let Ok(leaf) = root.entry(&self.memory, place) else { return };
        if leaf.is_frozen() {
            return;
        }
        let span = self.span(root, place);
        let depth = root.depth() - span.len().trailing_zeros();
        self.refer(&set, span, leaf.with_frozen(true));
        let info_hash = one.info_hash;
        batch.spans.push(Span { info_hash, seeder: one.seeder, hash, depth, family: PhantomData });
    }

    /// Makes room, applies the announces and unfreezes.
    fn settle<F: Family>(&self, batch: &Batch<'_, F>, clock: &Clock) {
        let mut peers = PeerBuf::new();
        for one in &batch.waiting {
            let _moving = self.write_lock();
            self.admit::<F>(&one.info_hash, Gate::Open, false);
            match self.apply_growing::<F>(one, clock, &mut peers) {
                Ok(()) => {}
                // Another torrent has taken the entry that was to become vacant.
                Err(Miss::Unknown) if !self.is_at_cap::<F>() => self.wait_again(*one),
                // The kernel uses an entry that has just been admitted, until it is frozen to grow.
                Err(Miss::Full) if self.is_in_use::<F>(&one.info_hash) => self.wait_again(*one),
                Err(miss) => self.refuse(one, miss),
            }
        }
        let _moving = self.write_lock();
        batch.entries.iter().for_each(|entry| entry.freeze(false));
        batch.spans.iter().for_each(|span| self.unfreeze(span));
    }

    /// The caller holds the lock, either way.
    fn try_waiting<F: Family>(
        &self,
        one: &Waiting,
        clock: &Clock,
        peers: &mut PeerBuf,
    ) -> Result<(), Miss> {
        let announce = one.announce::<F>();
        match one.age {
            None => self.try_announce(&one.info_hash, &announce, clock, peers).map(drop),
            Some(age) => self.try_merge(&one.info_hash, &announce, age, clock, peers),
        }
    }

    /// Whether the torrent's peers are in its entry, which is not frozen.
    fn is_in_use<F: Family>(&self, info_hash: &InfoHash) -> bool {
        let found = find::<F, M>(&self.memory, &self.shape, info_hash);
        found.is_some_and(|(_, entry)| !entry.is_spilled() && !entry.meta().is_frozen())
    }

    fn apply_growing<F: Family>(
        &self,
        one: &Waiting,
        clock: &Clock,
        peers: &mut PeerBuf,
    ) -> Result<(), Miss> {
        let announce = one.announce::<F>();
        for _ in 0..GROWTHS_MAX {
            match self.try_waiting::<F>(one, clock, peers) {
                Ok(()) => return Ok(()),
                Err(Miss::Contended) => {}
                Err(Miss::Full) if self.make_room(&one.info_hash, &announce, clock) => {}
                Err(Miss::Unknown) if one.event == Event::Stopped => return Ok(()),
                Err(miss) => return Err(miss),
            }
        }
        Err(Miss::Contended)
    }

    fn unfreeze<F: Family>(&self, span: &Span<F>) {
        // The torrent may have made way for another.
        let found = find::<F, M>(&self.memory, &self.shape, &span.info_hash);
        let Some((_, entry)) = found.filter(|(_, entry)| entry.is_spilled()) else { return };
        let [set, _] = entry.sets().own_and_other(span.seeder);
        let root = set.root();
        let size = 1_u32 << (root.depth() - span.depth);
        let start = root.entry_of(span.hash) & !(size - 1);
        self.set_frozen(&set, start..start + size, false);
    }

    /// Makes room at once, for a table that the kernel does not use.
    pub(super) fn grow_now<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
    ) -> bool {
        let _moving = self.write_lock();
        self.make_room(info_hash, announce, clock)
    }

    /// Makes room where the announcer belongs. The kernel does not use that, or it is frozen. `false`
    /// when there is none to be had.
    fn make_room<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        clock: &Clock,
    ) -> bool {
        let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, info_hash) else {
            return false;
        };
        let is_ours = |frozen: bool| frozen || !self.shared_with_kernel;
        let frozen = entry.meta().is_frozen();
        if !entry.is_spilled() {
            return is_ours(frozen) && self.outgrow(entry, clock).is_some();
        }
        let [set, _] = entry.sets().own_and_other(announce.seeder);
        let hash = self.shape.place::<F>(F::words(&announce.addr), announce.port);
        let root = set.root();
        let Ok(leaf) = root.entry(&self.memory, root.entry_of(hash)) else { return false };
        is_ours(frozen || leaf.is_frozen())
            && self.grow_leaf(entry, announce.seeder, leaf, hash, clock).is_some()
    }

    /// Moves the peers of an entry into leaves.
    fn outgrow<F: Family>(&self, entry: Entry<'_, F>, clock: &Clock) -> Option<()> {
        let mut owner = self.owner();
        let peers = Collected::of_line(entry, clock).live;
        let (seeders, leechers): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|peer| peer.word.is_seeder());
        let arena = &mut owner.arena;
        let first = self.make_leaf::<F>(arena, groups_for::<F>(leechers.len()), &leechers)?;
        let Some(second) = self.make_leaf::<F>(arena, groups_for::<F>(seeders.len()), &seeders)
        else {
            self.release_leaf::<F>(arena, first);
            return None;
        };
        self.note_entry(entry);
        entry.clear_body();
        let sets = entry.sets();
        for (set, leaf, peers) in
            [(sets.leechers(), first, leechers), (sets.seeders(), second, seeders)]
        {
            set.set_root(Root::leaf(leaf));
            set.count.store(peers.len() as u32);
        }
        entry.update_meta(|meta| meta.with_form(Form::Spilled));
        self.forget_note();
        Some(())
    }

    /// Puts the peers of a leaf into a bigger one, or into two.
    fn grow_leaf<F: Family>(
        &self,
        entry: Entry<'_, F>,
        seeder: bool,
        leaf: LeafRef,
        hash: u64,
        clock: &Clock,
    ) -> Option<()> {
        let [set, _] = entry.sets().own_and_other(seeder);
        let mut owner = self.owner();
        let owner = &mut *owner;
        let root = set.root();
        let span = self.span(root, root.entry_of(hash));
        let peers = self.collect::<F>(leaf, clock);
        let groups = leaf.groups();
        if groups < groups_max::<F>() {
            let wider = (groups + (groups / 4).max(1)).min(groups_max::<F>());
            let new = self.make_leaf::<F>(&mut owner.arena, wider, &peers.live)?;
            let new = new.with_frozen(leaf.is_frozen());
            self.note_span(entry, seeder, [span.start, span.end, span.end], [new, new]);
            self.refer(&set, span, new);
        } else {
            let depth = root.depth() - span.len().trailing_zeros();
            if depth == DEPTH_MAX {
                return None;
            }
            let (upper, lower): (Vec<_>, Vec<_>) = peers
                .live
                .iter()
                .partition(|peer| self.place_of::<F>(peer) >> (63 - depth) & 1 == 1);
            let arena = &mut owner.arena;
            let low = self.make_leaf::<F>(arena, groups_for::<F>(lower.len()), &lower)?;
            let high = self.make_leaf::<F>(arena, groups_for::<F>(upper.len()), &upper);
            let doubled =
                depth < root.depth() || self.double(arena, &mut owner.retired, &set).is_some();
            let (Some(high), true) = (high, doubled) else {
                self.release_leaf::<F>(arena, low);
                high.inspect(|&high| self.release_leaf::<F>(arena, high));
                return None;
            };
            let span = self.span(set.root(), set.root().entry_of(hash));
            let middle = span.start + span.len() as u32 / 2;
            let [low, high] = [low, high].map(|new| new.with_frozen(leaf.is_frozen()));
            self.note_span(entry, seeder, [span.start, middle, span.end], [low, high]);
            self.refer(&set, span.start..middle, low);
            self.refer(&set, middle..span.end, high);
        }
        self.forget_note();
        set.count.add((peers.live.len() as u32).wrapping_sub(peers.all));
        self.release_leaf::<F>(&mut owner.arena, leaf);
        if !self.shared_with_kernel {
            for (unit, units) in std::mem::take(&mut owner.retired) {
                owner.arena.release(unit, units);
            }
        }
        Some(())
    }
}

impl<F: Family> Entry<'_, F> {
    /// Keeps the kernel away from the torrent's peers, or lets it have them again.
    pub(super) fn freeze(&self, frozen: bool) {
        self.update_meta(
            |meta| {
                if meta.form() == Form::Vacant { meta } else { meta.with_frozen(frozen) }
            },
        );
    }
}
