//! Expiry, and counting: one pass over all entries.

use super::{
    Table,
    compact::{LOOSE_MAX, Loose, Looseness},
    leaves::{Collected, fill_entry},
};
use crate::{
    family::{Family, V4, V6},
    sync::Word64,
    table::{
        layout::{BUCKET_ENTRIES, Entry, Form, Memory},
        peer_set::PeerSet,
        peer_slots::PeerSlots,
        swarm::{Counts, figures},
        word::PeerWord,
    },
    time::Clock,
};

/// The share of the torrents' cap, in eighths, above which torrents without peers are not kept for
/// the sake of their completed downloads.
const CROWDED_EIGHTHS: u64 = 7;

/// Buckets that are counted at a stretch, in a millisecond or so.
const COUNT_SLICE: u32 = 4096;

/// What the table holds, IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Torrents that have a peer.
    pub torrents: [u32; 2],
    /// Peers with nothing left to fetch.
    pub seeders: [u64; 2],
    /// The others.
    pub leechers: [u64; 2],
}

impl Totals {
    fn add<F: Family>(&mut self, counts: &Counts) {
        let family = usize::from(F::IS_V6);
        self.torrents[family] += u32::from(counts.seeders + counts.leechers > 0);
        self.seeders[family] += u64::from(counts.seeders);
        self.leechers[family] += u64::from(counts.leechers);
    }
}

impl<M: Memory> Table<M> {
    /// Takes out peers that have expired and torrents that have none left, puts the peers of torrents
    /// that have shrunk back into their entries, and wrong tallies right. Notes what [`Table::compact`] is to see
    /// to. `grace` is that of [`Table::grow`], and called at most twice for each family.
    pub fn sweep(&self, now_ns: u64, mut grace: impl FnMut()) -> Totals {
        let clock = self.clock(now_ns);
        let _mover = self.mover_lock();
        let mut totals = Totals::default();
        self.owner().loose.clear();
        self.sweep_family::<V4>(&clock, &mut totals, &mut grace);
        self.sweep_family::<V6>(&clock, &mut totals, &mut grace);
        totals
    }

    /// Counts what the table holds, and changes nothing. Peers of spilled torrents count until they are swept
    /// out; a torrent that another moves meanwhile may be counted twice, or not at all. It takes long where the
    /// table is large, and calls `between` now and then.
    pub fn count(&self, now_ns: u64, mut between: impl FnMut()) -> Totals {
        let clock = self.clock(now_ns);
        let mut totals = Totals::default();
        self.count_family::<V4>(&clock, &mut totals, &mut between);
        self.count_family::<V6>(&clock, &mut totals, &mut between);
        totals
    }

    fn count_family<F: Family>(
        &self,
        clock: &Clock,
        totals: &mut Totals,
        between: &mut impl FnMut(),
    ) {
        for bucket in 0..self.shape.buckets::<F>() {
            let entries = (0..BUCKET_ENTRIES)
                .filter_map(|entry| Entry::<F>::at(&self.memory, bucket * BUCKET_ENTRIES + entry));
            let mut used = entries.filter(|entry| entry.meta().form() != Form::Vacant).peekable();
            if used.peek().is_some() {
                let _reading = self.read_lock();
                used.for_each(|entry| totals.add::<F>(&figures(entry, clock)));
            }
            if bucket % COUNT_SLICE == COUNT_SLICE - 1 {
                between();
            }
        }
    }

    fn sweep_family<F: Family>(
        &self,
        clock: &Clock,
        totals: &mut Totals,
        grace: &mut impl FnMut(),
    ) {
        let mut to_settle = Vec::new();
        for number in 0..self.shape.buckets::<F>() * BUCKET_ENTRIES {
            let Some(entry) = Entry::<F>::at(&self.memory, number) else { break };
            if entry.meta().form() == Form::Vacant {
                continue;
            }
            let _reading = self.read_lock();
            let is_tallied = self.sweep_entry(entry, number, clock);
            let counts = figures(entry, clock);
            let peers = counts.seeders + counts.leechers;
            let is_too_big = entry.is_spilled() && peers <= F::INLINE_PEERS;
            if !is_tallied || is_too_big || self.is_useless(entry, peers) {
                entry.freeze(true);
                to_settle.push(entry);
            } else {
                totals.add::<F>(&counts);
            }
        }
        if to_settle.is_empty() {
            return;
        }
        grace();
        let mut retired = Vec::new();
        for entry in to_settle {
            let _moving = self.write_lock();
            self.tally(entry);
            if self.shrink(entry, clock) {
                retired.push(entry);
            } else {
                totals.add::<F>(&figures(entry, clock));
            }
            entry.freeze(false);
        }
        if !retired.is_empty() {
            grace();
            retired.iter().for_each(Entry::release);
        }
    }

    /// Whether a torrent with so many peers may be forgotten.
    fn is_useless<F: Family>(&self, entry: Entry<'_, F>, peers: u32) -> bool {
        if peers > 0 || entry.meta().is_listed() {
            return false;
        }
        entry.meta().completed() == 0 || self.is_crowded::<F>()
    }

    fn is_crowded<F: Family>(&self) -> bool {
        let family = usize::from(F::IS_V6);
        let used = u64::from(self.owner().torrents[family]);
        used * 8 > u64::from(self.torrents_max[family]) * CROWDED_EIGHTHS
    }

    /// Clears expired peers. Returns whether the tallies are right, as far as can be seen while others
    /// come and go.
    fn sweep_entry<F: Family>(&self, entry: Entry<'_, F>, number: u32, clock: &Clock) -> bool {
        if !entry.is_spilled() {
            if F::IS_V6 {
                clear_stale(&entry.peer_slots::<4>(), clock);
            } else {
                clear_stale(&entry.peer_slots::<5>(), clock);
            }
            return true;
        }
        let mut is_tallied = true;
        for seeder in [false, true] {
            let [set, _] = entry.sets().own_and_other(seeder);
            let before = set.count.load();
            let (mut cleared, mut left) = (0, 0);
            let mut looseness = Looseness::default();
            for leaf in self.leaves_of(set.root()) {
                let mut peers = 0;
                self.each_group::<F>(leaf, |slots| {
                    cleared += clear_stale(slots, clock);
                    peers += peers_in(slots);
                });
                looseness.see::<F>(leaf, peers);
                left += peers;
            }
            if looseness.is_found() {
                self.note_loose(Loose { number, is_v6: F::IS_V6, seeder });
            }
            set.count.add(0_u32.wrapping_sub(cleared));
            let expected = before.wrapping_sub(cleared);
            is_tallied &= left == expected || set.count.load() != expected;
        }
        is_tallied
    }

    fn note_loose(&self, loose: Loose) {
        let mut owner = self.owner();
        if owner.loose.len() < LOOSE_MAX {
            owner.loose.push(loose);
        }
    }

    /// Counts the peers of a spilled torrent that only the sweep uses: a process that was killed between a
    /// change of a slot and its tally has left that wrong.
    fn tally<F: Family>(&self, entry: Entry<'_, F>) {
        if !entry.is_spilled() {
            return;
        }
        for set in [entry.sets().leechers(), entry.sets().seeders()] {
            let mut peers = 0;
            for leaf in self.leaves_of(set.root()) {
                self.each_group::<F>(leaf, |slots| peers += peers_in(slots));
            }
            set.count.store(peers);
        }
    }

    /// Frees a frozen torrent that has no peers any more, or puts those that are left into its entry,
    /// if they are few. Others may have joined before it was frozen. Returns whether it was freed.
    fn shrink<F: Family>(&self, entry: Entry<'_, F>, clock: &Clock) -> bool {
        let counts = figures(entry, clock);
        let peers = counts.seeders + counts.leechers;
        let useless = self.is_useless(entry, peers);
        let mut owner = self.owner();
        if entry.is_spilled() && (useless || peers <= F::INLINE_PEERS) {
            let sets = [entry.sets().leechers(), entry.sets().seeders()];
            let left: Vec<_> = sets
                .iter()
                .flat_map(|set: &PeerSet<'_>| self.leaves_of(set.root()))
                .flat_map(|leaf| self.collect::<F>(leaf, clock).live)
                .collect();
            if left.len() > F::INLINE_PEERS as usize {
                return false;
            }
            self.note_entry(entry);
            sets.iter().for_each(|set| self.release_set::<F>(&mut owner.arena, set));
            entry.clear_body();
            fill_entry(entry, &left);
            entry.update_meta(|meta| meta.with_form(Form::Inline));
            self.forget_note();
        }
        if !useless || !Collected::of_line(entry, clock).live.is_empty() {
            return false;
        }
        entry.retire();
        owner.torrents[usize::from(F::IS_V6)] -= 1;
        true
    }
}

/// Slots that hold a peer, live or not.
pub(super) fn peers_in<F: Family, const N: usize>(slots: &PeerSlots<'_, F, N>) -> u32 {
    (0..N).filter(|&slot| slots.peer(slot).is_peer()).count() as u32
}

/// Returns how many slots that were cleared had held a peer.
fn clear_stale<F: Family, const N: usize>(slots: &PeerSlots<'_, F, N>, clock: &Clock) -> u32 {
    let mut cleared = 0;
    for slot in 0..N {
        let word = slots.peer(slot);
        if word == PeerWord::VACANT || clock.is_fresh(word.0).bit() == 1 {
            continue;
        }
        // Whoever was quicker has refreshed or replaced it.
        let slot: &Word64 = slots.word(slot);
        if slot.replace(word.0, PeerWord::VACANT.0) {
            cleared += u32::from(word.is_peer());
        }
    }
    cleared
}
