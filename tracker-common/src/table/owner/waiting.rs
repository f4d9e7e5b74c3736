//! Announces that found no room, and wait until it is made.

use std::sync::atomic::Ordering::Relaxed;

use super::Table;
use crate::{
    announce::Event,
    family::Family,
    id::InfoHash,
    sync::locks,
    table::{Miss, layout::Memory, swarm::Announce},
};

/// Announces that wait for room, at most. One more is answered but not remembered.
const QUEUE_MAX: usize = 65_536;

/// An announce that found no room.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) info_hash: InfoHash,
    pub(super) is_v6: bool,
    pub(super) addr: [u64; 2],
    pub(super) port: [u8; 2],
    pub(super) seeder: bool,
    pub(super) event: Event,
    /// How long ago the peer announced, if it did so elsewhere.
    pub(super) age: Option<u16>,
}

impl Waiting {
    pub(super) fn announce<F: Family>(&self) -> Announce<F> {
        Announce {
            addr: F::from_words(self.addr),
            port: self.port,
            seeder: self.seeder,
            event: self.event,
            numwant: 0,
            seed: 0,
        }
    }
}

impl<M: Memory> Table<M> {
    /// Whether announces wait for [`Table::grow`].
    pub fn has_work(&self) -> bool {
        self.queue_len.load(Relaxed) > 0
    }

    /// Counts a completed download before its announce waits for room: another announce of the peer may
    /// be quicker, after which nobody could tell that this one has not been counted. Returns what is left
    /// to do.
    pub(super) fn complete_early<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
    ) -> Announce<F> {
        let mut rest = *announce;
        if announce.event != Event::Completed || !announce.seeder {
            return rest;
        }
        if self.complete::<F>(info_hash) {
            rest.event = Event::None;
        }
        rest
    }

    pub(super) fn wait_for_room<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        age: Option<u16>,
    ) {
        self.wait_again(Waiting {
            info_hash: *info_hash,
            is_v6: F::IS_V6,
            addr: F::words(&announce.addr),
            port: announce.port,
            seeder: announce.seeder,
            event: announce.event,
            age,
        });
    }

    pub(super) fn wait_again(&self, one: Waiting) {
        let mut queue = locks::lock(&self.queue);
        if queue.len() >= QUEUE_MAX {
            self.queue_dropped.fetch_add(1, Relaxed);
            return;
        }
        queue.push(one);
        self.queue_len.store(queue.len(), Relaxed);
    }

    /// Counts an announce that there is no room for. What another tracker tells comes again and again.
    pub(super) fn refuse(&self, one: &Waiting, miss: Miss) {
        if one.age.is_none() {
            self.refuse_admission(miss);
        }
    }

    pub(super) fn take_waiting(&self) -> Vec<Waiting> {
        let mut queue = locks::lock(&self.queue);
        self.queue_len.store(0, Relaxed);
        std::mem::take(&mut *queue)
    }
}
