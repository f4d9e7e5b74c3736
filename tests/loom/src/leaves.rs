//! Announces that meet in a spilled swarm.

use tracker_common::{
    announce::Event::{None, Started, Stopped},
    family::{Family, V4, V6},
    table::Miss,
};

use crate::world::{HASH, NOW, Order, World, announce, explore};

/// One processor has a newcomer, the other a leecher that completes its download and one that leaves.
fn changes_of_a_swarm<F: Family>(order: Order) {
    let peers = F::INLINE_PEERS + 1;
    let world = World::<F>::new();
    for peer in 1..=peers {
        world.daemon(&HASH, &announce(peer, false, Started));
    }
    world.table.grow(NOW, || {});
    let world = world.share(1, 2 * F::GROUP_UNITS as usize);
    let newcomer = world
        .processor(order, |world| world.kernel(&HASH, &announce(100, false, Started)).map(|_| ()));
    let others = world.processor(order, |world| {
        [announce(1, true, None), announce(2, false, Stopped)]
            .map(|announce| world.kernel(&HASH, &announce).map(|_| ()))
    });
    let newcomer = newcomer.join().unwrap();
    let others = others.join().unwrap();
    assert_eq!(others, [Ok(()), Ok(())], "nobody else changes their slots");
    let mut expected = vec![(1, true)];
    expected.extend((3..=peers).map(|peer| (peer, false)));
    match newcomer {
        Ok(()) => expected.push((100, false)),
        Err(miss) => assert_eq!(miss, Miss::Contended),
    }
    assert_eq!(world.peers(&HASH), expected);
    assert_eq!(world.counts(&HASH), [1, expected.len() as u32 - 1]);
}

#[test]
fn counts_of_a_spilled_swarm_add_up() {
    explore(3, || changes_of_a_swarm::<V4>(Order::Strong));
}

#[test]
fn counts_of_a_spilled_swarm_add_up_over_ipv6() {
    explore(2, || changes_of_a_swarm::<V6>(Order::Strong));
}

#[test]
fn counts_of_a_spilled_swarm_add_up_where_loads_are_reordered() {
    explore(3, || changes_of_a_swarm::<V4>(Order::Weak));
}
