//! Torrents on lists: kept without peers, with a gate of their own.

use std::sync::atomic::Ordering::Relaxed;

use super::Table;
use crate::{
    family::Family,
    id::InfoHash,
    table::layout::{BUCKET_LINES, Form, Gate, Line, Memory},
};

/// How often torrents that found no line are tried again, after others have made room.
const ATTEMPTS: u32 = 8;

impl<M: Memory> Table<M> {
    /// The gate of torrents that are on no list, from their admission on.
    pub fn set_unlisted_gate(&self, gate: Gate) {
        self.unlisted_gate.store(gate as u32, Relaxed);
    }

    pub(super) fn unlisted_gate(&self) -> Gate {
        Gate::from_number(self.unlisted_gate.load(Relaxed))
    }

    /// Puts torrents on a list: they are admitted without peers, and kept. `grace` is that of
    /// [`Table::grow`]. Returns for how many there is no room.
    pub fn list<'a, F: Family>(
        &self,
        info_hashes: impl IntoIterator<Item = &'a InfoHash>,
        gate: Gate,
        mut grace: impl FnMut(),
    ) -> usize {
        let _mover = self.mover_lock();
        let mut rest: Vec<_> = info_hashes.into_iter().copied().collect();
        for _ in 0..ATTEMPTS {
            rest.retain(|info_hash| !self.admit::<F>(info_hash, gate, true));
            if rest.is_empty() || self.is_at_cap::<F>() {
                break;
            }
            let plans: Vec<_> = rest
                .iter()
                .filter_map(|info_hash| {
                    let moves = self.plan_displacement::<F>(info_hash)?;
                    moves.iter().for_each(|step| step.from.freeze(true));
                    Some(moves)
                })
                .collect();
            if plans.is_empty() {
                break;
            }
            grace();
            self.displace(&plans, &mut grace);
        }
        rest.len()
    }

    /// Takes torrents off the lists, if `is_unlisted` says so: they go by the gate of unlisted ones, and
    /// are not kept without peers any more.
    pub fn unlist<F: Family>(&self, is_unlisted: impl Fn(&InfoHash) -> bool) {
        let gate = self.unlisted_gate();
        for number in 0..self.shape.buckets::<F>() * BUCKET_LINES {
            let Some(line) = Line::<F>::at(&self.memory, number) else { break };
            // No torrent comes, goes or moves meanwhile.
            let _owner = self.owner();
            let meta = line.meta();
            let differs = meta.is_listed() || meta.gate() != gate;
            if meta.form() != Form::Vacant && differs && is_unlisted(&line.info_hash()) {
                line.update_meta(|meta| meta.with_gate(gate, false));
            }
        }
    }
}
