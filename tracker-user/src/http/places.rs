//! The places that connections take: so many in all, and so many for each source.
//!
//! A connection that waits for its client's next request is idle. When all places are taken, the connection that has
//! been idle longest makes way for a new one; when a source has its share, the one of that source. So idle
//! connections delay no client, and a source that keeps many of them only loses its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem::take,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tokio::sync::Notify;

/// The prefix of IPv6 that counts as one source: what a provider gives a household at least.
const SOURCE_BITS: u8 = 64;

/// The prefix of IPv6 that counts as one site, and can have 65,536 sources.
const SITE_BITS: u8 = 48;

/// How many sources' shares a site has.
const SITE_SHARES: usize = 4;

/// All places.
pub(super) struct Places {
    state: Mutex<State>,
    /// Told when a place is free that a connection waits for.
    freed: Notify,
}

/// One connection's, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    makes_way: Arc<Notify>,
    /// The source had its share before: another of its connections makes way.
    pub(super) is_beyond_share: bool,
}

/// Says whether a connection is idle. Has no effect when its place is given up.
pub(super) struct Activity {
    places: Arc<Places>,
    id: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    All,
    /// The source has its share, and none of its connections is idle.
    Source,
}

/// The source of a connection and its share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// `None` where the source is not limited.
    pub(super) source: Option<IpAddr>,
    /// The most connections of a source; 0 for no limit.
    pub(super) max: usize,
}

struct State {
    max: usize,
    seats: HashMap<u64, Seat>,
    /// The idle connections, in the order in which they became so.
    idle: BTreeMap<u64, u64>,
    sources: HashMap<IpNet, Source>,
    /// The next number of a connection, or of its becoming idle.
    next: u64,
    /// How many connections wait for a place.
    waiting: usize,
    /// How many have been told to make way, and have not gone yet.
    leaving: usize,
}

struct Seat {
    /// Where it counts: nowhere any more when it makes way.
    networks: Vec<IpNet>,
    idle_since: Option<u64>,
    is_leaving: bool,
    makes_way: Arc<Notify>,
}

#[derive(Default)]
struct Source {
    seats: usize,
    /// Keys of [`State::idle`].
    idle: BTreeSet<u64>,
}

impl Share {
    /// The networks whose connections are bounded, and how many each may have.
    fn levels(&self) -> impl Iterator<Item = (IpNet, usize)> {
        let address = self.source.filter(|_| self.max > 0).map(|source| source.to_canonical());
        let bits: &[(u8, usize)] = match address {
            None => &[],
            Some(IpAddr::V4(_)) => &[(32, 1)],
            Some(IpAddr::V6(_)) => &[(SOURCE_BITS, 1), (SITE_BITS, SITE_SHARES)],
        };
        bits.iter().filter_map(move |&(bits, shares)| {
            let network = IpNet::new(address?, bits).ok()?.trunc();
            Some((network, self.max.saturating_mul(shares)))
        })
    }
}

impl Places {
    /// So many.
    pub(super) fn new(max: usize) -> Arc<Self> {
        let state = State {
            max,
            seats: HashMap::new(),
            idle: BTreeMap::new(),
            sources: HashMap::new(),
            next: 0,
            waiting: 0,
            leaving: 0,
        };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new() })
    }

    /// A place, if there is one at once.
    pub(super) fn try_enter(self: &Arc<Self>, share: Share) -> Result<Place, Full> {
        let mut state = self.state();
        let mut is_beyond_share = false;
        for (network, max) in share.levels() {
            is_beyond_share |= state.limit(network, max)?;
        }
        if state.free() == 0 {
            return Err(Full::All);
        }
        let (id, makes_way) = state.enter(share.levels().map(|(network, _)| network).collect());
        if state.waiting > 0 && state.free() > 0 {
            self.freed.notify_one();
        }
        Ok(Place { places: Arc::clone(self), id, makes_way, is_beyond_share })
    }

    /// A place, as soon as there is one. An idle connection makes way.
    pub(super) async fn enter(self: &Arc<Self>, share: Share) -> Result<Place, Full> {
        let _waiting = Waiting::new(self);
        loop {
            match self.try_enter(share) {
                Err(Full::All) => self.freed.notified().await,
                result => return result,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that waits for a place.
struct Waiting<'a>(&'a Places);

impl<'a> Waiting<'a> {
    fn new(places: &'a Places) -> Self {
        let mut state = places.state();
        state.waiting += 1;
        state.make_way();
        Self(places)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Place {
    /// For the connection to say when it is idle.
    pub(super) fn activity(&self) -> Activity {
        Activity { places: Arc::clone(&self.places), id: self.id }
    }

    /// Returns when the connection is to make way for another.
    pub(super) async fn makes_way(&self) {
        self.makes_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.leave(self.id);
        if state.waiting > 0 {
            self.places.freed.notify_one();
        }
    }
}

impl Activity {
    /// The connection waits for its next request, or has one.
    pub(super) fn set_idle(&self, is_idle: bool) {
        let mut state = self.places.state();
        if is_idle {
            state.rest(self.id);
        } else {
            state.work(self.id);
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn enter(&mut self, networks: Vec<IpNet>) -> (u64, Arc<Notify>) {
        let id = self.number();
        for network in &networks {
            self.sources.entry(*network).or_default().seats += 1;
        }
        let makes_way = Arc::new(Notify::new());
        let seat =
            Seat { networks, idle_since: None, is_leaving: false, makes_way: makes_way.clone() };
        self.seats.insert(id, seat);
        (id, makes_way)
    }

    fn leave(&mut self, id: u64) {
        self.stir(id);
        self.release(id);
        if self.seats.remove(&id).is_some_and(|seat| seat.is_leaving) {
            self.leaving -= 1;
        }
    }

    fn free(&self) -> usize {
        self.max.saturating_sub(self.seats.len())
    }

    /// Brings a network below its limit, where it has reached it; `true` then.
    fn limit(&mut self, network: IpNet, max: usize) -> Result<bool, Full> {
        let Some(source) = self.sources.get(&network) else { return Ok(false) };
        if source.seats < max {
            return Ok(false);
        }
        let longest = source.idle.first().and_then(|since| self.idle.get(since));
        self.send_off(*longest.ok_or(Full::Source)?);
        Ok(true)
    }

    /// The connection becomes idle.
    fn rest(&mut self, id: u64) {
        let since = self.number();
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if seat.is_leaving || seat.idle_since.is_some() {
            return;
        }
        seat.idle_since = Some(since);
        self.idle.insert(since, id);
        for network in &seat.networks {
            if let Some(source) = self.sources.get_mut(network) {
                source.idle.insert(since);
            }
        }
        self.make_way();
    }

    /// The connection has a request. One that was to make way does so after it: others make way meanwhile.
    fn work(&mut self, id: u64) {
        self.stir(id);
        if let Some(seat) = self.seats.get_mut(&id)
            && take(&mut seat.is_leaving)
        {
            self.leaving -= 1;
            self.make_way();
        }
    }

    /// The connection is none of the idle ones any more.
    fn stir(&mut self, id: u64) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let Some(since) = seat.idle_since.take() else { return };
        self.idle.remove(&since);
        for network in &seat.networks {
            if let Some(source) = self.sources.get_mut(network) {
                source.idle.remove(&since);
            }
        }
    }

    /// As many connections as wait for a place are told to make way, as far as there are idle ones.
    fn make_way(&mut self) {
        while self.waiting > self.leaving + self.free()
            && let Some((_, &id)) = self.idle.first_key_value()
        {
            self.send_off(id);
        }
    }

    /// Tells an idle connection to make way. It does not count for its source any more.
    fn send_off(&mut self, id: u64) {
        self.stir(id);
        self.release(id);
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.is_leaving = true;
            seat.makes_way.notify_one();
            self.leaving += 1;
        }
    }

    /// Ends a connection's counting for its source.
    fn release(&mut self, id: u64) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        for network in take(&mut seat.networks) {
            if let Some(source) = self.sources.get_mut(&network) {
                source.seats -= 1;
                if source.seats == 0 {
                    self.sources.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    fn share(source: &str, max: usize) -> Share {
        Share { source: Some(source.parse().unwrap()), max }
    }

    fn enter(places: &Arc<Places>, source: &str) -> Result<Place, Full> {
        places.try_enter(share(source, 2))
    }

    fn is_to_make_way(place: &Place) -> bool {
        pin!(place.makes_way()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_source_has_its_share_and_others_have_theirs() {
        let places = Places::new(8);
        let one = enter(&places, "192.0.2.1").unwrap();
        let _two = enter(&places, "::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(&places, "192.0.2.1").err(), Some(Full::Source));
        let _other = enter(&places, "192.0.2.2").unwrap();
        drop(one);
        assert!(!enter(&places, "192.0.2.1").unwrap().is_beyond_share);
        let unlimited: Vec<_> = (0..5).map(|_| places.try_enter(share("192.0.2.1", 0))).collect();
        assert!(unlimited.iter().all(Result::is_ok));
    }

    #[test]
    fn an_ipv6_source_is_a_64_and_a_48_has_four_shares() {
        let places = Places::new(100);
        let source =
            |subnet: u16, host: u16| enter(&places, &format!("2001:db8:1:{subnet:x}::{host:x}"));
        let taken: Vec<_> = (0..8).map(|n| source(n / 2, n).unwrap()).collect();
        assert_eq!(source(0, 99).err(), Some(Full::Source));
        assert_eq!(source(99, 1).err(), Some(Full::Source), "its /48 has all of its shares");
        enter(&places, "2001:db8:2::1").unwrap();
        taken[7].activity().set_idle(true);
        assert!(source(99, 1).unwrap().is_beyond_share, "an idle one of the /48 makes way");
        assert!(is_to_make_way(&taken[7]));
    }

    #[test]
    fn beyond_its_share_a_source_loses_the_connection_that_has_been_idle_longest() {
        let places = Places::new(8);
        let other = enter(&places, "192.0.2.2").unwrap();
        let [one, two] = [1, 2].map(|_| enter(&places, "192.0.2.1").unwrap());
        for place in [&other, &two, &one] {
            place.activity().set_idle(true);
        }
        assert!(enter(&places, "192.0.2.1").unwrap().is_beyond_share);
        assert_eq!([&other, &two, &one].map(is_to_make_way), [false, true, false]);
    }

    #[tokio::test]
    async fn when_all_are_taken_the_one_that_has_been_idle_longest_makes_way() {
        let places = Places::new(3);
        let taken =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|source| enter(&places, source).unwrap());
        let [one, two, three] = &taken;
        for place in [one, two, three] {
            place.activity().set_idle(true);
        }
        one.activity().set_idle(false);
        one.activity().set_idle(true);
        let mut entering = pin!(places.enter(share("192.0.2.4", 2)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(entering.as_mut().poll(&mut context).is_pending());
        assert_eq!([one, two, three].map(is_to_make_way), [false, true, false]);
        // It has a request at that moment, so another goes.
        two.activity().set_idle(false);
        assert_eq!([one, two, three].map(is_to_make_way), [false, false, true]);
        let [one, two, three] = taken;
        drop(three);
        entering.await.unwrap();
        assert_eq!([&one, &two].map(is_to_make_way), [false, false], "one is enough");
    }

    #[tokio::test]
    async fn who_waits_has_the_next_that_becomes_idle() {
        let places = Places::new(1);
        let busy = enter(&places, "192.0.2.1").unwrap();
        let mut entering = pin!(places.enter(share("192.0.2.2", 2)));
        assert!(entering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(!is_to_make_way(&busy));
        busy.activity().set_idle(true);
        assert!(is_to_make_way(&busy));
        drop(busy);
        entering.await.unwrap();
    }

    proptest! {
        /// Whatever comes, no bound is passed, and in the end nothing is kept.
        #[test]
        fn places_are_counted_right(steps in vec((0..5u8, 0..4u8, any::<prop::sample::Index>()), 0..200)) {
            let places = Places::new(5);
            let mut taken: Vec<Place> = Vec::new();
            for (what, source, which) in steps {
                match what {
                    0 | 1 => {
                        let source = format!("2001:db8:{}:{}::1", source / 2, source % 2);
                        match enter(&places, &source) {
                            Ok(place) => taken.push(place),
                            Err(Full::All) => {
                                prop_assert_eq!(taken.len(), 5);
                                let mut waiting = pin!(places.enter(share("192.0.2.1", 1)));
                                let context = &mut Context::from_waker(Waker::noop());
                                prop_assert!(waiting.as_mut().poll(context).is_pending());
                            }
                            Err(Full::Source) => {}
                        }
                    }
                    2 if !taken.is_empty() => drop(taken.swap_remove(which.index(taken.len()))),
                    3 | 4 if !taken.is_empty() => which.get(&taken).activity().set_idle(what == 3),
                    _ => {}
                }
                let state = places.state();
                prop_assert_eq!(state.seats.len(), taken.len());
                prop_assert!(taken.len() <= 5 && state.leaving <= taken.len());
                prop_assert_eq!(state.idle.len(), state.seats.values().filter(|s| s.idle_since.is_some()).count());
            }
            drop(taken);
            let state = places.state();
            prop_assert!(state.seats.is_empty() && state.idle.is_empty() && state.sources.is_empty());
            prop_assert_eq!((state.leaving, state.waiting), (0, 0));
        }
    }
}
