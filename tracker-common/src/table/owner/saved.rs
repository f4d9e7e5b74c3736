//! The table as it is saved and restored: torrents, and peers with their age, a few at a time.

use super::{Table, leaves::Collected};
use crate::{
    announce::Event,
    family::Family,
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss,
        index::find,
        layout::{BUCKET_ENTRIES, Entry, Form, Gate, Memory},
        peer_set::PeerSet,
        swarm::Announce,
    },
    time::Clock,
};

/// A peer that is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedPeer<F: Family> {
    /// Its address.
    pub addr: F::Addr,
    /// Its port in network byte order.
    pub port: [u8; 2],
    /// Nothing left to fetch.
    pub seeder: bool,
    /// How long ago it announced, in ticks of [`crate::time`].
    pub age: u16,
}

impl<M: Memory> Table<M> {
    /// Calls `see` with every torrent worth keeping: its completed downloads and some of its peers, at
    /// most those of one leaf; big swarms are seen many times. No lock is held meanwhile.
    ///
    /// # Errors
    /// The first of `see`, which ends it.
    pub fn save<F: Family, E>(
        &self,
        now_ns: u64,
        mut see: impl FnMut(&InfoHash, u32, &[SavedPeer<F>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let clock = self.clock(now_ns);
        for number in 0..self.shape.buckets::<F>() * BUCKET_ENTRIES {
            let Some(entry) = Entry::<F>::at(&self.memory, number) else { break };
            // Nothing becomes another torrent's, or is moved, while this is held.
            let reading = self.read_lock();
            let meta = entry.meta();
            let info_hash = entry.info_hash();
            match meta.form() {
                Form::Vacant => {}
                Form::Inline => {
                    let peers = saved::<F>(&Collected::of_line(entry, &clock), &clock);
                    drop(reading);
                    if !peers.is_empty() || meta.completed() > 0 {
                        see(&info_hash, meta.completed(), &peers)?;
                    }
                }
                Form::Spilled => {
                    drop(reading);
                    for seeder in [false, true] {
                        let mut at = Some(0);
                        while let Some(hash) = at {
                            let (peers, next) =
                                self.leaf_after(entry, &info_hash, seeder, hash, &clock);
                            see(&info_hash, meta.completed(), &peers)?;
                            at = next;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The peers of the leaf that a hash leads to, and the first hash of the next one. A swarm that has
    /// been moved meanwhile is gone on with where it was left.
    fn leaf_after<F: Family>(
        &self,
        entry: Entry<'_, F>,
        info_hash: &InfoHash,
        seeder: bool,
        hash: u64,
        clock: &Clock,
    ) -> (Vec<SavedPeer<F>>, Option<u64>) {
        let _reading = self.read_lock();
        if !entry.is_spilled() || entry.info_hash() != *info_hash {
            return (Vec::new(), None);
        }
        let [set, _]: [PeerSet<'_>; 2] = entry.sets().own_and_other(seeder);
        let root = set.root();
        let place = root.entry_of(hash);
        let Ok(leaf) = root.entry(&self.memory, place) else { return (Vec::new(), None) };
        let peers = saved::<F>(&self.collect::<F>(leaf, clock), clock);
        let end = self.span(root, place).end;
        let next = (end >> root.depth() == 0).then(|| u64::from(end) << (64 - root.depth()));
        (peers, next)
    }

    /// Puts back a torrent and peers of it, as long as they live and there is room. For a table that
    /// the kernel does not use yet. Returns how many peers were put back.
    pub fn restore<F: Family>(
        &self,
        info_hash: &InfoHash,
        completed: u32,
        peers: &[SavedPeer<F>],
        now_ns: u64,
    ) -> usize {
        let clock = self.clock(now_ns);
        let lifetime = self.lifetime.load(std::sync::atomic::Ordering::Relaxed);
        let alive = peers.iter().filter(|peer| u32::from(peer.age) <= lifetime);
        let alive = alive.filter(|peer| peer.port != [0; 2]);
        if completed == 0 && alive.clone().next().is_none() {
            return 0;
        }
        while !self.admit::<F>(info_hash, Gate::Open, false) {
            if self.is_at_cap::<F>() || !self.displace_now::<F>(info_hash) {
                self.refuse_admission(Miss::Unknown);
                return 0;
            }
        }
        if let Some((_, entry)) = find::<F, M>(&self.memory, &self.shape, info_hash) {
            entry.update_meta(|meta| meta.with_completed(completed.max(meta.completed())));
        }
        let mut list = PeerBuf::new();
        alive.filter(|peer| self.put_back(info_hash, peer, &clock, now_ns, &mut list)).count()
    }

    fn put_back<F: Family>(
        &self,
        info_hash: &InfoHash,
        peer: &SavedPeer<F>,
        clock: &Clock,
        now_ns: u64,
        list: &mut PeerBuf,
    ) -> bool {
        let SavedPeer { addr, port, seeder, age } = *peer;
        let announce = Announce { addr, port, seeder, event: Event::None, numwant: 0, seed: 0 };
        // Before the host was started, perhaps: the clock wraps around.
        let seen = Clock::new(now_ns.wrapping_sub(crate::time::ticks_ns(age.into())), 0);
        loop {
            match self.try_announce_seen::<F>(info_hash, &announce, clock, Some(&seen), list) {
                Ok(_) => return true,
                Err(Miss::Full) if self.grow_now::<F>(info_hash, &announce, clock) => {}
                Err(_) => return false,
            }
        }
    }

    /// From now on the kernel uses the table too.
    pub fn share_with_kernel(&mut self) {
        self.shared_with_kernel = true;
    }
}

fn saved<F: Family>(collected: &Collected, clock: &Clock) -> Vec<SavedPeer<F>> {
    let peers = collected.live.iter().map(|peer| SavedPeer {
        addr: F::from_words(peer.addr),
        port: peer.word.port().to_ne_bytes(),
        seeder: peer.word.is_seeder(),
        age: clock.age(peer.word.0),
    });
    peers.collect()
}
