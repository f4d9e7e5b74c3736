//! Which peers are in which swarm: apart from the swarms of UDP and HTTP, whose peers do not speak WebRTC.
//!
//! **A peer id proves nothing.** Each offer tells it to other peers, which could announce it too. So a connection from
//! another address that announces a peer id of the swarm gets a place of its own beside the place that is there, and
//! the connection that has that one is asked for a sign of life. A phone that has changed from WLAN to mobile is
//! served at once by that, and its former place goes some seconds later; a copied peer id takes nothing from its peer.

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

/// How many places there are in a swarm for one peer id, each for another address. An answer is passed on to all of
/// them, since offers do not say from which one they come.
const PLACES_MAX: u8 = 4;

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

/// Peers of that id are connected from so many other addresses that there is no place for one more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken;

/// Where a peer is: its id, and which of the places of that id.
type Place = (PeerId, u8);

#[derive(Default)]
struct Swarm {
    seeders: IndexMap<Place, Peer>,
    leechers: IndexMap<Place, Peer>,
    completed: u32,
}

impl Swarms {
    pub(super) fn new(metrics: WebTorrentMetrics) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, key: RandomState::new(), metrics }
    }

    /// Enters a peer, or goes by what is new of it. A client that connects again from the same address takes over its
    /// own place, even where the old connection has not been missed yet. From another address it gets a new one, and
    /// the connections that have the others are asked for a sign of life.
    ///
    /// # Errors
    /// All places of the peer id are taken, until connections that give no sign of life have ended.
    pub(super) fn enter(
        &self,
        info_hash: &InfoHash,
        peer_id: PeerId,
        peer: Peer,
        progress: Progress,
    ) -> Result<SwarmStats, Taken> {
        self.change(info_hash, |swarm| {
            let place = (peer_id, swarm.place_for(&peer_id, &peer)?);
            let (to, from) = match progress {
                Progress::Leecher => (&mut swarm.leechers, &mut swarm.seeders),
                Progress::Seeder | Progress::Completed => (&mut swarm.seeders, &mut swarm.leechers),
            };
            let has_moved = from.swap_remove(&place).is_some();
            to.insert(place, peer);
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
            if let Some(place) = swarm.place_of(peer_id, outlet) {
                swarm.seeders.swap_remove(&place);
                swarm.leechers.swap_remove(&place);
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

    /// The ways from a peer, if it is still that connection's, to another one: more than one where several
    /// connections announce the other's id.
    pub(super) fn between(
        &self,
        info_hash: &InfoHash,
        peer_id: &PeerId,
        outlet: &Outlet,
        to_peer_id: &PeerId,
    ) -> Vec<Outlet> {
        let outlets = self.look(info_hash, |swarm| {
            swarm.place_of(peer_id, outlet)?;
            Some(swarm.of(to_peer_id).map(|(_, peer)| peer.outlet.clone()).collect())
        });
        outlets.flatten().unwrap_or_default()
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
    /// The peers of that id, with the numbers of their places.
    fn of(&self, peer_id: &PeerId) -> impl Iterator<Item = (u8, &Peer)> {
        (0..PLACES_MAX).filter_map(move |number| {
            let place = (*peer_id, number);
            let peer = self.leechers.get(&place).or_else(|| self.seeders.get(&place))?;
            Some((number, peer))
        })
    }

    /// The place of that id that is the connection's.
    fn place_of(&self, peer_id: &PeerId, outlet: &Outlet) -> Option<Place> {
        let mut places = self.of(peer_id);
        let (number, _) = places.find(|(_, there)| there.outlet.is(outlet))?;
        Some((*peer_id, number))
    }

    /// The number of the place of a peer's address, or of a new one.
    fn place_for(&self, peer_id: &PeerId, peer: &Peer) -> Result<u8, Taken> {
        let mut is_vacant = [true; PLACES_MAX as usize];
        for (number, there) in self.of(peer_id) {
            if there.address == peer.address {
                return Ok(number);
            }
            is_vacant[usize::from(number)] = false;
        }
        self.of(peer_id).for_each(|(_, there)| there.outlet.ask_for_sign());
        (0..)
            .zip(is_vacant)
            .find_map(|(number, is_vacant)| is_vacant.then_some(number))
            .ok_or(Taken)
    }

    fn stats(&self) -> SwarmStats {
        let count = |peers: &IndexMap<_, _>| u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let (seeders, leechers) = (count(&self.seeders), count(&self.leechers));
        SwarmStats { seeders, leechers, completed: self.completed }
    }

    /// More are drawn than asked for, since some may have the peer's own id.
    fn others(&self, peer_id: &PeerId, progress: Progress, count: usize) -> Vec<Outlet> {
        let seeders = if progress == Progress::Leecher { self.seeders.len() } else { 0 };
        draw(self.leechers.len() + seeders, count.saturating_add(PLACES_MAX.into()))
            .into_iter()
            .filter_map(|index| match index.checked_sub(self.leechers.len()) {
                None => self.leechers.get_index(index),
                Some(index) => self.seeders.get_index(index),
            })
            .filter(|((other, _), _)| other != peer_id)
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
        http::webtorrent::outlet::{Inlet, Kind, Room},
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
        let (other, elsewhere, _inlet) = peer(2);
        swarms.enter(&TORRENT, id(1), before, Progress::Leecher).unwrap();
        let both = swarms.enter(&TORRENT, id(1), other, Progress::Leecher).unwrap();
        assert_eq!(both.leechers, 2, "from another address it is another peer");
        assert_eq!(swarms.leave(&TORRENT, &id(1), &elsewhere).leechers, 1);
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
    fn an_answer_goes_to_all_places_of_an_id_and_there_are_no_more_than_four() {
        let (swarms, _metrics) = swarms();
        let (answerer, from, _inlet) = peer(99);
        swarms.enter(&TORRENT, id(9), answerer, Progress::Leecher).unwrap();
        let ends: Vec<_> = (0..PLACES_MAX)
            .map(|address| {
                let (peer, outlet, inlet) = peer(address);
                swarms.enter(&TORRENT, id(1), peer, Progress::Leecher).unwrap();
                (outlet, inlet)
            })
            .collect();
        let one_more = || swarms.enter(&TORRENT, id(1), peer(PLACES_MAX).0, Progress::Leecher);
        assert_eq!(one_more(), Err(Taken));
        let ways = swarms.between(&TORRENT, &id(9), &from, &id(1));
        assert!(ways.iter().zip(&ends).all(|(way, (outlet, _))| way.is(outlet)));
        assert_eq!(ways.len(), ends.len());
        assert!(
            swarms.others(&TORRENT, &id(1), Progress::Leecher, 9).iter().all(|it| it.is(&from))
        );
        // It has another role in one of its places, and leaves that.
        let (again, outlet, _inlet) = peer(2);
        swarms.enter(&TORRENT, id(1), again, Progress::Seeder).unwrap();
        assert_eq!(
            swarms.leave(&TORRENT, &id(1), &outlet),
            SwarmStats { leechers: 4, ..SwarmStats::default() }
        );
        one_more().unwrap();
    }

    #[tokio::test]
    async fn who_has_a_place_is_asked_for_a_sign_of_life_when_another_address_takes_one() {
        let (swarms, _metrics) = swarms();
        let (there, outlet, inlet) = peer(1);
        swarms.enter(&TORRENT, id(1), there, Progress::Leecher).unwrap();
        let (newcomer, _, newcomers) = peer(2);
        swarms.enter(&TORRENT, id(1), newcomer, Progress::Leecher).unwrap();
        inlet.asked().await;
        outlet.leave(Kind::Offer, || "it has its place".to_owned());
        tokio::select! {
            biased;
            () = newcomers.asked() => panic!("the newcomer is asked"),
            () = inlet.asked() => panic!("asked once more"),
            _ = inlet.next() => {}
        }
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
