//! Who is in which swarm: apart from the swarms of UDP and HTTP, whose peers do not speak WebRTC.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use indexmap::IndexMap;
use tracker_common::id::{InfoHash, PeerId};

use super::outlet::Outlet;
use crate::{metrics::WebTorrentMetrics, pipeline::SwarmStats};

/// How many locks there are, among which torrents are divided.
const SHARDS: usize = 64;

/// All swarms.
pub(super) struct Swarms {
    shards: [Mutex<HashMap<InfoHash, Swarm>>; SHARDS],
    /// Chooses the shard of a torrent by a key of this process, so that clients cannot choose one lock for all.
    key: RandomState,
    metrics: WebTorrentMetrics,
}

/// A peer is a connection's for as long as that lasts.
pub(super) struct Peer {
    pub(super) outlet: Outlet,
    pub(super) address: IpAddr,
}

/// How far a peer has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Leecher,
    Seeder,
    /// A seeder that says so for the first time. It is one download more only if it was a leecher before, since
    /// seeders say so, too, when they start.
    Completed,
}

/// A peer of that id is connected from another address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken;

#[derive(Default)]
struct Swarm {
    seeders: IndexMap<PeerId, Peer>,
    leechers: IndexMap<PeerId, Peer>,
    completed: u32,
}

impl Swarms {
    pub(super) fn new(metrics: WebTorrentMetrics) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, key: RandomState::new(), metrics }
    }

    /// Enters a peer, or goes by what is new of it. Who connects again from the same address takes its own
    /// place, even where the old connection has not been missed yet.
    pub(super) fn enter(
        &self,
        info_hash: &InfoHash,
        peer_id: PeerId,
        peer: Peer,
        progress: Progress,
    ) -> Result<SwarmStats, Taken> {
        self.change(info_hash, |swarm| {
            if swarm.find(&peer_id).is_some_and(|there| there.address != peer.address) {
                return Err(Taken);
            }
            let (to, from) = match progress {
                Progress::Leecher => (&mut swarm.leechers, &mut swarm.seeders),
                Progress::Seeder | Progress::Completed => (&mut swarm.seeders, &mut swarm.leechers),
            };
            let has_moved = from.swap_remove(&peer_id).is_some();
            to.insert(peer_id, peer);
            if has_moved && progress == Progress::Completed {
                swarm.completed = swarm.completed.saturating_add(1);
            }
            Ok(swarm.stats())
        })
    }

    /// Removes a peer, if it is still that connection's.
    pub(super) fn leave(
        &self,
        info_hash: &InfoHash,
        peer_id: &PeerId,
        outlet: &Outlet,
    ) -> SwarmStats {
        self.change(info_hash, |swarm| {
            if swarm.has(peer_id, outlet) {
                swarm.seeders.swap_remove(peer_id);
                swarm.leechers.swap_remove(peer_id);
            }
            swarm.stats()
        })
    }

    /// So many others for a peer, chosen at random; leechers only for a seeder.
    pub(super) fn others(
        &self,
        info_hash: &InfoHash,
        peer_id: &PeerId,
        progress: Progress,
        count: usize,
    ) -> Vec<Outlet> {
        self.look(info_hash, |swarm| swarm.others(peer_id, progress, count)).unwrap_or_default()
    }

    /// The way from a peer, if it is still that connection's, to another one.
    pub(super) fn between(
        &self,
        info_hash: &InfoHash,
        peer_id: &PeerId,
        outlet: &Outlet,
        to_peer_id: &PeerId,
    ) -> Option<Outlet> {
        self.look(info_hash, |swarm| {
            let to = swarm.find(to_peer_id).filter(|_| swarm.has(peer_id, outlet))?;
            Some(to.outlet.clone())
        })?
    }

    pub(super) fn stats(&self, info_hash: &InfoHash) -> SwarmStats {
        self.look(info_hash, Swarm::stats).unwrap_or_default()
    }

    fn look<T>(&self, info_hash: &InfoHash, look: impl FnOnce(&Swarm) -> T) -> Option<T> {
        let shard = self.shard(info_hash).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(info_hash).map(look)
    }

    /// Changes a swarm, which ends with its last peer, and keeps the figures.
    fn change<T>(&self, info_hash: &InfoHash, change: impl FnOnce(&mut Swarm) -> T) -> T {
        let mut shard = self.shard(info_hash).lock().unwrap_or_else(PoisonError::into_inner);
        let torrents = shard.len();
        let swarm = shard.entry(*info_hash).or_default();
        let before = swarm.stats();
        let result = change(swarm);
        let after = swarm.stats();
        if after.seeders + after.leechers == 0 {
            shard.remove(info_hash);
        }
        let difference = |after: u32, before: u32| i64::from(after) - i64::from(before);
        self.metrics.seeders.add(difference(after.seeders, before.seeders));
        self.metrics.leechers.add(difference(after.leechers, before.leechers));
        self.metrics.torrents.add(shard.len() as i64 - torrents as i64);
        result
    }

    fn shard(&self, info_hash: &InfoHash) -> &Mutex<HashMap<InfoHash, Swarm>> {
        &self.shards[(self.key.hash_one(info_hash) % SHARDS as u64) as usize]
    }
}

impl Swarm {
    fn find(&self, peer_id: &PeerId) -> Option<&Peer> {
        self.leechers.get(peer_id).or_else(|| self.seeders.get(peer_id))
    }

    /// Whether a peer is that connection's.
    fn has(&self, peer_id: &PeerId, outlet: &Outlet) -> bool {
        self.find(peer_id).is_some_and(|there| there.outlet.is(outlet))
    }

    fn stats(&self) -> SwarmStats {
        let count = |peers: &IndexMap<_, _>| u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let (seeders, leechers) = (count(&self.seeders), count(&self.leechers));
        SwarmStats { seeders, leechers, completed: self.completed }
    }

    /// One more is drawn than asked for, since it may be the peer itself.
    fn others(&self, peer_id: &PeerId, progress: Progress, count: usize) -> Vec<Outlet> {
        let seeders = if progress == Progress::Leecher { self.seeders.len() } else { 0 };
        draw(self.leechers.len() + seeders, count.saturating_add(1))
            .into_iter()
            .filter_map(|index| match index.checked_sub(self.leechers.len()) {
                None => self.leechers.get_index(index),
                Some(index) => self.seeders.get_index(index),
            })
            .filter(|(other, _)| *other != peer_id)
            .map(|(_, peer)| peer.outlet.clone())
            .take(count)
            .collect()
    }
}

/// So many different numbers below `end`, or all of them: Floyd's way.
fn draw(end: usize, count: usize) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(count.min(end));
    for last in end.saturating_sub(count)..end {
        let number = fastrand::usize(..=last);
        drawn.push(if drawn.contains(&number) { last } else { number });
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::webtorrent::outlet::{Inlet, Room},
        metrics::Metrics,
    };

    const TORRENT: InfoHash = InfoHash([7; 20]);

    fn swarms() -> (Swarms, WebTorrentMetrics) {
        let metrics = Metrics::new().unwrap().webtorrent();
        (Swarms::new(metrics.clone()), metrics)
    }

    fn peer(address: u8) -> (Peer, Outlet, Inlet) {
        let (outlet, inlet) = Room::default().open();
        let address = IpAddr::from([192, 0, 2, address]);
        (Peer { outlet: outlet.clone(), address }, outlet, inlet)
    }

    fn id(number: usize) -> PeerId {
        PeerId([number as u8; 20])
    }

    #[test]
    fn who_connects_again_takes_its_own_place_and_nobody_else_s() {
        let (swarms, metrics) = swarms();
        let (before, old, _inlet) = peer(1);
        let (after, new, _inlet) = peer(1);
        let (other, ..) = peer(2);
        swarms.enter(&TORRENT, id(1), before, Progress::Leecher).unwrap();
        assert_eq!(swarms.enter(&TORRENT, id(1), other, Progress::Leecher), Err(Taken));
        let stats = swarms.enter(&TORRENT, id(1), after, Progress::Completed).unwrap();
        assert_eq!(stats, SwarmStats { seeders: 1, leechers: 0, completed: 1 });
        assert_eq!(
            swarms.leave(&TORRENT, &id(1), &old).seeders,
            1,
            "its place is not the old one's"
        );
        assert_eq!((metrics.seeders.get(), metrics.torrents.get()), (1, 1));
        assert_eq!(swarms.leave(&TORRENT, &id(1), &new).seeders, 0);
        assert_eq!((metrics.seeders.get(), metrics.torrents.get()), (0, 0));
        assert!(swarms.shard(&TORRENT).lock().unwrap().is_empty());
    }

    #[test]
    fn shards_are_chosen_by_a_key_of_the_process() {
        let [one, other] = [swarms().0, swarms().0];
        let shard_of = |swarms: &Swarms, info_hash: &InfoHash| {
            let shard = swarms.shard(info_hash);
            swarms.shards.iter().position(|there| std::ptr::eq(there, shard)).unwrap()
        };
        // What a client would choose that means one shard: the same first byte.
        let info_hashes = (0..=255).map(|last| {
            let mut bytes = [0; 20];
            bytes[19] = last;
            InfoHash(bytes)
        });
        let shards: Vec<_> =
            info_hashes.map(|hash| (shard_of(&one, &hash), shard_of(&other, &hash))).collect();
        let used: std::collections::HashSet<_> = shards.iter().map(|(one, _)| one).collect();
        assert!(used.len() > SHARDS / 2, "{used:?}");
        assert!(shards.iter().filter(|(one, other)| one == other).count() < 64);
    }

    #[test]
    fn others_are_drawn_each_once_and_never_the_peer_itself() {
        let (swarms, _metrics) = swarms();
        let outlets: Vec<_> = (0..8)
            .map(|number| {
                let (peer, outlet, inlet) = peer(1);
                let progress = if number < 4 { Progress::Completed } else { Progress::Leecher };
                let stats = swarms.enter(&TORRENT, id(number), peer, progress).unwrap();
                assert_eq!(stats.completed, 0, "who starts as a seeder has downloaded nothing");
                (outlet, inlet)
            })
            .collect();
        let mut drawn = [0; 8];
        for round in 0..400 {
            let count = round % 10;
            let others = swarms.others(&TORRENT, &id(7), Progress::Leecher, count);
            assert_eq!(others.len(), count.min(7));
            let mut seen = [0; 8];
            for other in others {
                seen[outlets.iter().position(|(outlet, _)| outlet.is(&other)).unwrap()] += 1;
            }
            assert!(seen.iter().all(|&times| times <= 1) && seen[7] == 0, "{seen:?}");
            drawn.iter_mut().zip(seen).for_each(|(drawn, times)| *drawn += times);
        }
        assert!(drawn[..7].iter().all(|&times| times > 100), "{drawn:?}");
        assert_eq!(
            swarms.others(&TORRENT, &id(0), Progress::Seeder, 10).len(),
            4,
            "a seeder wants leechers"
        );
        assert!(swarms.others(&InfoHash([8; 20]), &id(0), Progress::Leecher, 1).is_empty());
    }
}
