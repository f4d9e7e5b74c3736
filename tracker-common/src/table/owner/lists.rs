//! Torrents on lists: kept without peers, with a gate of their own.

use std::sync::atomic::Ordering::Relaxed;

use super::Table;
use crate::{
    family::Family,
    id::InfoHash,
    table::layout::{BUCKET_ENTRIES, Entry, Form, Gate, Memory, Meta},
};

/// How often torrents that found no entry are tried again, after others have made room.
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

    /// Has the kernel pass to the daemon what is announced of torrents whose gate is not what it is
    /// going to be, until they are listed or unlisted.
    pub fn hold_back<F: Family>(&self, coming: impl Fn(&InfoHash) -> Gate) {
        self.regate::<F>(|info_hash, meta| {
            let is_kept = [Gate::Pass, coming(info_hash)].contains(&meta.gate());
            (!is_kept).then(|| (Gate::Pass, meta.is_listed()))
        });
    }

    /// Takes torrents off the lists, if `is_unlisted` says so: they go by the gate of unlisted ones, and
    /// are not kept without peers any more.
    pub fn unlist<F: Family>(&self, is_unlisted: impl Fn(&InfoHash) -> bool) {
        let gate = self.unlisted_gate();
        self.regate::<F>(|info_hash, meta| {
            let differs = meta.is_listed() || meta.gate() != gate;
            (differs && is_unlisted(info_hash)).then_some((gate, false))
        });
    }

    /// Goes through all torrents. Those for which `change` has another gate, and says whether they are
    /// listed, are given it.
    fn regate<F: Family>(&self, change: impl Fn(&InfoHash, Meta) -> Option<(Gate, bool)>) {
        // None may slip through by moving to where we have been.
        let _mover = self.mover_lock();
        for number in 0..self.shape.buckets::<F>() * BUCKET_ENTRIES {
            let Some(entry) = Entry::<F>::at(&self.memory, number) else { break };
            // No torrent comes or goes meanwhile.
            let _owner = self.owner();
            let meta = entry.meta();
            if meta.form() == Form::Vacant {
                continue;
            }
            if let Some((gate, is_listed)) = change(&entry.info_hash(), meta) {
                entry.update_meta(|meta| meta.with_gate(gate, is_listed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        family::V4,
        table::{
            index::find,
            owner::tests::{Heap, NOW, shape},
        },
        time::lifetime_from_secs,
    };

    fn table() -> Table<Heap> {
        let shape = shape();
        Table::new(Heap::new(&shape), shape, lifetime_from_secs(1800), [200, 0], true)
    }

    fn hash(number: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        InfoHash(bytes)
    }

    fn gate(table: &Table<Heap>, number: u32) -> Option<Gate> {
        find::<V4, Heap>(&table.memory, &table.shape, &hash(number)).map(|(_, entry)| entry.gate())
    }

    #[test]
    fn listed_torrents_have_a_gate_and_stay_without_peers() {
        let table = table();
        assert_eq!(table.list::<V4>(&[hash(1)], Gate::Open, || {}), 0);
        assert_eq!(table.list::<V4>(&[hash(2)], Gate::Refuse, || {}), 0);
        table.sweep(NOW, || {});
        let gates = [1, 2, 3].map(|number| gate(&table, number));
        assert_eq!(gates, [Some(Gate::Open), Some(Gate::Refuse), None]);
    }

    #[test]
    fn a_list_has_room_until_the_table_is_full() {
        let table = table();
        let hashes: Vec<_> = (0..210).map(hash).collect();
        assert_eq!(table.list::<V4>(&hashes, Gate::Open, || {}), 10);
        let known = (0..210).filter(|&number| gate(&table, number) == Some(Gate::Open));
        assert_eq!(known.count(), 200);
    }

    #[test]
    fn what_is_going_to_have_another_gate_is_held_back() {
        let table = table();
        table.list::<V4>(&[hash(1), hash(2)], Gate::Open, || {});
        table.list::<V4>(&[hash(3), hash(4)], Gate::Refuse, || {});
        let refused = [hash(2), hash(4)];
        table.hold_back::<V4>(
            |info_hash| {
                if refused.contains(info_hash) { Gate::Refuse } else { Gate::Open }
            },
        );
        let gates = [1, 2, 3, 4].map(|number| gate(&table, number).unwrap());
        assert_eq!(gates, [Gate::Open, Gate::Pass, Gate::Pass, Gate::Refuse]);
        table.sweep(NOW, || {});
        assert_eq!(gate(&table, 2), Some(Gate::Pass), "it is listed until it is taken off");
    }

    #[test]
    fn what_is_taken_off_the_lists_goes_by_the_gate_of_others_and_is_not_kept() {
        let table = table();
        table.list::<V4>(&[hash(1), hash(2)], Gate::Open, || {});
        table.set_unlisted_gate(Gate::Pass);
        table.unlist::<V4>(|info_hash| *info_hash == hash(2));
        assert_eq!([1, 2].map(|number| gate(&table, number)), [Some(Gate::Open), Some(Gate::Pass)]);
        table.sweep(NOW, || {});
        assert_eq!([1, 2].map(|number| gate(&table, number)), [Some(Gate::Open), None]);
    }
}
