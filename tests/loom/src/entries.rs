//! Announces that meet in an entry.

use tracker_common::{
    announce::Event::{None, Started, Stopped},
    family::{Family, V4, V6},
    table::Miss,
};

use crate::world::{HASH, Order, World, announce, explore, failure_of};

/// A torrent with these leechers.
fn torrent<F: Family>(peers: impl IntoIterator<Item = u32>) -> World<F> {
    let world = World::new();
    for peer in peers {
        world.daemon(&HASH, &announce(peer, false, Started));
    }
    world
}

/// Two newcomers and one slot: whoever is answered is there, once, and nobody else is.
fn newcomers_and_one_slot<F: Family>(order: Order) {
    let there = F::INLINE_PEERS - 1;
    let world = torrent::<F>(1..=there).share(1, 0);
    let runs = [101, 102].map(|peer| {
        let run = move |world: &World<F>| world.kernel(&HASH, &announce(peer, false, Started));
        (peer, world.processor(order, run))
    });
    let mut expected: Vec<_> = (1..=there).collect();
    for (peer, run) in runs {
        match run.join().unwrap() {
            Ok(_) => expected.push(peer),
            Err(miss) => assert!(matches!(miss, Miss::Full | Miss::Contended), "{miss:?}"),
        }
    }
    assert_eq!(expected.len() as u32, F::INLINE_PEERS, "one of the two has the slot");
    let peers: Vec<_> = world.peers(&HASH).into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(peers, expected);
}

#[test]
fn one_of_two_newcomers_gets_the_last_slot() {
    explore(3, || newcomers_and_one_slot::<V4>(Order::Strong));
}

#[test]
fn one_of_two_newcomers_gets_the_last_slot_over_ipv6() {
    explore(3, || newcomers_and_one_slot::<V6>(Order::Strong));
}

#[test]
fn one_of_two_newcomers_gets_the_last_slot_on_a_weak_processor() {
    explore(3, || newcomers_and_one_slot::<V4>(Order::Weak));
    explore(3, || newcomers_and_one_slot::<V6>(Order::Weak));
}

/// Two announces of a new peer: it is there, and nobody else is.
fn newcomer_on_two_processors<F: Family>(order: Order, most: usize) {
    let world = torrent::<F>([1]).share(1, 0);
    let runs = [(); 2].map(|()| {
        world.processor(order, |world| world.kernel(&HASH, &announce(100, false, Started)).is_ok())
    });
    let answers = runs.map(|run| run.join().unwrap());
    assert!(answers.contains(&true), "one of the two gets its slot");
    let peers: Vec<_> = world.peers(&HASH).into_iter().map(|(peer, _)| peer).collect();
    assert!(peers[0] == 1 && peers[1..].iter().all(|&peer| peer == 100), "{peers:?}");
    assert!((1..=most).contains(&(peers.len() - 1)), "{} slots for one peer", peers.len() - 1);
}

#[test]
fn a_newcomer_whose_announces_meet_is_there_once_or_twice() {
    explore(3, || newcomer_on_two_processors::<V4>(Order::Strong, 2));
    explore(2, || newcomer_on_two_processors::<V6>(Order::Strong, 2));
}

#[test]
fn a_newcomer_whose_announces_meet_may_be_there_twice() {
    let failure = failure_of(3, || newcomer_on_two_processors::<V4>(Order::Strong, 1));
    assert!(failure.contains("2 slots for one peer"), "{failure}");
}

/// A slot passes from one peer to another while a third peer is given peers of the entry.
fn slot_that_changes_hands(order: Order) {
    let world = torrent::<V6>([1, 2]).share(1, 0);
    let changes = world.processor(order, |world| {
        world.kernel(&HASH, &announce(1, false, Stopped)).expect("a slot");
        world.kernel(&HASH, &announce(3, false, Started)).expect("a slot");
    });
    let reader = world
        .processor(order, |world| world.kernel(&HASH, &announce(2, false, None)).expect("a slot"));
    changes.join().unwrap();
    let (_, list) = reader.join().unwrap();
    assert!(list.iter().all(|peer| [1, 2, 3].contains(peer)), "{list:?}");
    assert_eq!(world.peers(&HASH), [(2, false), (3, false)]);
}

#[test]
fn an_address_is_never_torn() {
    explore(3, || slot_that_changes_hands(Order::Strong));
}

#[test]
fn an_address_may_be_torn_where_loads_are_reordered() {
    let failure = failure_of(3, || slot_that_changes_hands(Order::Weak));
    assert!(failure.contains("an address is torn"), "{failure}");
}
