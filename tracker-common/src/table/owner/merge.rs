//! What has been announced to another tracker.

use std::sync::atomic::Ordering::Relaxed;

use super::{CONTENDED_MAX, SavedPeer, Table, leaves::Collected};
use crate::{
    announce::Event,
    family::Family,
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss,
        index::find,
        layout::{Form, Memory},
        swarm::{self, Announce},
        word::PeerKey,
    },
    time::Clock,
};

impl<M: Memory> Table<M> {
    /// Puts in a peer that announced elsewhere, if it lives and there is room. What the table itself has
    /// heard of it since counts more. Where room has to be made first, it waits for the next
    /// [`Table::grow`].
    pub fn merge<F: Family>(&self, info_hash: &InfoHash, peer: &SavedPeer<F>, now_ns: u64) {
        self.bring(info_hash, peer, Event::None, now_ns);
    }

    /// Removes a peer that has left elsewhere, if the table has not heard of it since. Its role does not
    /// matter.
    pub fn depart<F: Family>(&self, info_hash: &InfoHash, peer: &SavedPeer<F>, now_ns: u64) {
        self.bring(info_hash, peer, Event::Stopped, now_ns);
    }

    /// Counts a download that was completed elsewhere. Returns whether the torrent is known, without which
    /// there is nothing to count it at.
    pub fn complete<F: Family>(&self, info_hash: &InfoHash) -> bool {
        let _reading = self.read_lock();
        let found = find::<F, M>(&self.memory, &self.shape, info_hash);
        if let Some((_, entry)) = found {
            swarm::complete(&entry, entry.meta(), true);
        }
        found.is_some()
    }

    fn bring<F: Family>(
        &self,
        info_hash: &InfoHash,
        peer: &SavedPeer<F>,
        event: Event,
        now_ns: u64,
    ) {
        let SavedPeer { addr, port, seeder, age } = *peer;
        if u32::from(age) > self.lifetime.load(Relaxed) || port == [0; 2] {
            return;
        }
        let announce = Announce::<F> { addr, port, seeder, event, numwant: 0, seed: 0 };
        let clock = self.clock(now_ns);
        let mut list = PeerBuf::new();
        for _ in 0..CONTENDED_MAX {
            let merged = {
                let _reading = self.read_lock();
                self.try_merge(info_hash, &announce, age, &clock, &mut list)
            };
            match merged {
                Ok(()) => return,
                Err(miss) if self.may_retry(info_hash, &announce, &clock, Some(age), miss) => {}
                Err(_) => return,
            }
        }
    }

    /// The caller holds the lock, either way.
    pub(super) fn try_merge<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        age: u16,
        clock: &Clock,
        list: &mut PeerBuf,
    ) -> Result<(), Miss> {
        if self.has_newer(info_hash, announce, age, clock) {
            return Ok(());
        }
        let seen = (announce.event != Event::Stopped).then(|| clock.before(age));
        self.try_announce_seen(info_hash, announce, clock, seen.as_ref(), list).map(drop)
    }

    /// Whether the peer is there already, and has announced since, or within the same tick if it has not
    /// left. The kernel may refresh it right after; then it looks older than it is until its next announce.
    fn has_newer<F: Family>(
        &self,
        info_hash: &InfoHash,
        announce: &Announce<F>,
        age: u16,
        clock: &Clock,
    ) -> bool {
        let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, info_hash) else {
            return false;
        };
        let has_left = announce.event == Event::Stopped;
        let key = PeerKey::new::<F>(&self.shape.key, &announce.addr, announce.port);
        let addr = F::words(&announce.addr);
        let is_newer = |collected: Collected| {
            collected.live.iter().any(|peer| {
                let since = clock.age(peer.word.0);
                let is_newer = if has_left { since < age } else { since <= age };
                is_newer && key.is_of(peer.word) && peer.addr == addr
            })
        };
        match entry.meta().form() {
            Form::Vacant => false,
            Form::Inline => is_newer(Collected::of_line(entry, clock)),
            Form::Spilled => {
                let hash = self.shape.place::<F>(addr, announce.port);
                entry.sets().own_and_other(announce.seeder).into_iter().any(|set| {
                    let root = set.root();
                    root.entry(&self.memory, root.entry_of(hash))
                        .is_ok_and(|leaf| is_newer(self.collect::<F>(leaf, clock)))
                })
            }
        }
    }
}
