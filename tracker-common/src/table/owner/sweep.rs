//! Expiry: one pass over all lines.

use super::{
    Table,
    leaves::{Collected, fill_line},
};
use crate::{
    family::{Family, V4, V6},
    sync::Word64,
    table::{
        half::Half,
        layout::{BUCKET_LINES, Form, Line, Memory},
        leaf::GROUP_SLOTS,
        run::Run,
        swarm::figures,
        word::PeerWord,
    },
    time::Clock,
};

/// The share of the torrents' cap, in eighths, above which torrents without peers are not kept for
/// the sake of their completed downloads.
const CROWDED_EIGHTHS: u64 = 7;

/// What a sweep counted, IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Torrents that remain.
    pub torrents: [u32; 2],
    /// Peers with nothing left to fetch.
    pub seeders: [u64; 2],
    /// The others.
    pub leechers: [u64; 2],
}

impl<M: Memory> Table<M> {
    /// Takes out peers that have expired and torrents that have none left, and puts the peers of
    /// torrents that have shrunk back into their lines. `grace` is that of [`Table::grow`], and called
    /// at most once for each family.
    pub fn sweep(&self, now_ns: u64, mut grace: impl FnMut()) -> Totals {
        let clock = self.clock(now_ns);
        let _mover = self.mover_lock();
        let mut totals = Totals::default();
        self.sweep_family::<V4>(&clock, &mut totals, &mut grace);
        self.sweep_family::<V6>(&clock, &mut totals, &mut grace);
        totals
    }

    fn sweep_family<F: Family>(
        &self,
        clock: &Clock,
        totals: &mut Totals,
        grace: &mut impl FnMut(),
    ) {
        let family = usize::from(F::IS_V6);
        let mut too_big = Vec::new();
        for number in 0..self.shape.buckets::<F>() * BUCKET_LINES {
            let Some(line) = Line::<F>::at(&self.memory, number) else { break };
            if line.meta().form() == Form::Vacant {
                continue;
            }
            let _reading = self.read_lock();
            self.sweep_line(line, clock);
            let counts = figures(line, clock);
            totals.seeders[family] += u64::from(counts.seeders);
            totals.leechers[family] += u64::from(counts.leechers);
            totals.torrents[family] += 1;
            let peers = counts.seeders + counts.leechers;
            if self.is_useless(line, peers) || line.is_outgrown() && peers < F::INLINE_PEERS {
                line.freeze(true);
                too_big.push(line);
            }
        }
        if too_big.is_empty() {
            return;
        }
        grace();
        for line in too_big {
            let _moving = self.write_lock();
            totals.torrents[family] -= u32::from(self.shrink(line, clock));
            line.freeze(false);
        }
    }

    /// Whether a torrent with so many peers may be forgotten.
    fn is_useless<F: Family>(&self, line: Line<F>, peers: u32) -> bool {
        if peers > 0 || line.meta().is_listed() {
            return false;
        }
        line.meta().completed() == 0 || self.is_crowded::<F>()
    }

    fn is_crowded<F: Family>(&self) -> bool {
        let family = usize::from(F::IS_V6);
        let used = u64::from(self.owner().torrents[family]);
        used * 8 > u64::from(self.torrents_max[family]) * CROWDED_EIGHTHS
    }

    /// Clears expired peers.
    fn sweep_line<F: Family>(&self, line: Line<F>, clock: &Clock) {
        if !line.is_outgrown() {
            if F::IS_V6 {
                clear_stale(&line.run::<4>(), clock);
            } else {
                clear_stale(&line.run::<5>(), clock);
            }
            return;
        }
        for half in [line.halves().leechers(), line.halves().seeders()] {
            let before = half.count.load();
            let (mut cleared, mut left) = (0, 0);
            for leaf in self.leaves_of(half.root()) {
                self.each_group::<F>(leaf, |run| {
                    cleared += clear_stale(run, clock);
                    left +=
                        (0..GROUP_SLOTS as usize).filter(|&slot| run.peer(slot).is_peer()).count();
                });
            }
            // Where nobody has come or gone meanwhile, this puts right what a process that was killed
            // between a change and its tally has left wrong.
            if !half.count.replace(before, left as u32) {
                half.count.add(0_u32.wrapping_sub(cleared));
            }
        }
    }

    /// Frees a frozen torrent that has no peers any more, or puts those that are left into its line,
    /// if they are few. Others may have joined before it was frozen. Returns whether it was freed.
    fn shrink<F: Family>(&self, line: Line<F>, clock: &Clock) -> bool {
        let counts = figures(line, clock);
        let peers = counts.seeders + counts.leechers;
        let useless = self.is_useless(line, peers);
        let mut owner = self.owner();
        if line.is_outgrown() && (useless || peers < F::INLINE_PEERS) {
            let halves = [line.halves().leechers(), line.halves().seeders()];
            let left: Vec<_> = halves
                .iter()
                .flat_map(|half: &Half<'_>| self.leaves_of(half.root()))
                .flat_map(|leaf| self.collect::<F>(leaf, clock).live)
                .collect();
            if left.len() > F::INLINE_PEERS as usize {
                return false;
            }
            self.note_line(line);
            halves.iter().for_each(|half| self.release_half::<F>(&mut owner.arena, half));
            line.clear_body();
            fill_line(line, &left);
            line.update_meta(|meta| meta.with_form(Form::Inline));
            self.forget_note();
        }
        if !useless || !Collected::of_line(line, clock).live.is_empty() {
            return false;
        }
        line.clear();
        owner.torrents[usize::from(F::IS_V6)] -= 1;
        true
    }
}

/// Returns how many slots that were cleared had held a peer.
fn clear_stale<F: Family, const N: usize>(run: &Run<F, N>, clock: &Clock) -> u32 {
    let mut cleared = 0;
    for slot in 0..N {
        let word = run.peer(slot);
        if word == PeerWord::VACANT || clock.is_stale(word.0).bit() == 0 {
            continue;
        }
        // Whoever was quicker has refreshed or replaced it.
        let slot: &Word64 = run.word(slot);
        if slot.replace(word.0, PeerWord::VACANT.0) {
            cleared += u32::from(word.is_peer());
        }
    }
    cleared
}
