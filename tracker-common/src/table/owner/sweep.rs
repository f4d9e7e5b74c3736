//! Expiry: one pass over all lines.

use std::sync::PoisonError;

use super::Table;
use crate::{
    family::{Family, V4, V6},
    table::{
        layout::{BUCKET_LINES, Form, Line, Memory},
        slots::{InlineSlots, Slots},
        swarm::{Blocks, figures},
        word::PeerWord,
    },
    time::Clock,
};

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
    /// Takes out peers that have expired and torrents that have none left. `grace` is that of
    /// [`Table::grow`], and called at most once for each family.
    pub fn sweep(&self, now_ns: u64, mut grace: impl FnMut()) -> Totals {
        let clock = self.clock(now_ns);
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
        let mut empty = Vec::new();
        for number in 0..self.shape.buckets::<F>() * BUCKET_LINES {
            let Some(line) = Line::<F>::at(&self.memory, number) else { break };
            if line.meta().form() == Form::Vacant || line.meta().is_frozen() {
                continue;
            }
            let (seeders, leechers) = self.sweep_line(line, clock);
            totals.seeders[family] += u64::from(seeders);
            totals.leechers[family] += u64::from(leechers);
            totals.torrents[family] += 1;
            // A torrent that was ever completed keeps its count while there is room.
            if seeders + leechers == 0 && !line.meta().is_listed() {
                line.freeze();
                empty.push(line);
            }
        }
        if empty.is_empty() {
            return;
        }
        grace();
        for line in empty {
            totals.torrents[family] -= u32::from(self.free_if_empty(line, clock));
        }
    }

    /// Clears expired peers. Returns the live seeders and leechers.
    fn sweep_line<F: Family>(&self, line: Line<F>, clock: &Clock) -> (u32, u32) {
        if !line.is_outgrown() {
            // SAFETY: the form is Inline.
            clear_stale(&unsafe { InlineSlots::<F>::new(line.body()) }, clock);
            let counts = figures(line, clock);
            return (counts.seeders, counts.leechers);
        }
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let blocks = Blocks::of(&line, line.meta(), self.shape.veil);
        let (mut seeders, mut leechers) = (0, 0);
        for entry in 0..blocks.len() {
            let slots = blocks
                .block(&self.memory, entry)
                .and_then(|block| blocks.slots::<F, M>(&self.memory, block));
            let Ok(slots) = slots else { continue };
            clear_stale(&slots, clock);
            let (s, l) = crate::table::slots::count(&slots, clock);
            seeders += s;
            leechers += l;
        }
        line.outgrown().seeders.store(seeders);
        line.outgrown().leechers.store(leechers);
        (seeders, leechers)
    }

    /// Frees a frozen torrent that nobody can be using any more, unless somebody joined it before
    /// it was frozen.
    fn free_if_empty<F: Family>(&self, line: Line<F>, clock: &Clock) -> bool {
        let _moving = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        let mut owner = self.owner();
        let counts = figures(line, clock);
        if counts.seeders + counts.leechers != 0 || line.meta().is_listed() {
            line.update_meta(|meta| meta.with_frozen(false));
            return false;
        }
        if line.is_outgrown() {
            let blocks = Blocks::of(&line, line.meta(), self.shape.veil);
            self.release(&mut owner.arena, &blocks);
        }
        line.clear();
        owner.torrents[usize::from(F::IS_V6)] -= 1;
        true
    }
}

fn clear_stale<F: Family, S: Slots<F>>(slots: &S, clock: &Clock) {
    for index in 0..slots.capacity() {
        let word = slots.peer(index);
        if word != PeerWord::VACANT && word.is_stale(clock) {
            // Whoever was quicker has refreshed or replaced it.
            let _ = slots.word(index).replace(word.0, PeerWord::VACANT.0);
        }
    }
}
