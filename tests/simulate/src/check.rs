//! What must hold when all has come to rest.

use std::collections::BTreeMap;

use tracker_common::{
    family::{Family, V4, V6},
    table::owner::Table,
    time::ticks_ns,
};

use crate::{
    heap::Heap,
    model::Name,
    world::{LIFETIME, World, locked},
};

/// Panics if a peer is lost, there twice or torn, or if memory is.
pub fn all(world: &World, table: &Table<Heap>) {
    peers(world, table);
    counts(world, table);
    memory(world, table);
    expiry(world, table);
}

type Found = BTreeMap<(u32, u32), [u32; 2]>;

/// How often each peer is there as a leecher, and as a seeder.
fn found<F: Family>(world: &World, table: &Table<Heap>) -> Found {
    let mut found = Found::new();
    let _ = table.save::<F, ()>(world.now_ns(), |info_hash, _, peers| {
        for peer in peers {
            let Some(name) = Name::of::<F>(F::words(&peer.addr), peer.port) else {
                panic!("a torn peer in the table");
            };
            assert_eq!(name.torrent.info_hash(), *info_hash, "a peer of another torrent");
            found.entry((name.torrent.number, name.number)).or_default()
                [usize::from(peer.seeder)] += 1;
        }
        Ok(())
    });
    found
}

fn peers(world: &World, table: &Table<Heap>) {
    let [v4, v6] = [found::<V4>(world, table), found::<V6>(world, table)];
    for peer in world.peers() {
        let found = if peer.name.torrent.is_v6 { &v6 } else { &v4 };
        let key = (peer.name.torrent.number, peer.name.number);
        let [leecher, seeder] = found.get(&key).copied().unwrap_or_default();
        if let Some(complaint) = peer.complaint(leecher, seeder, world.tick(), LIFETIME.into()) {
            panic!("{:?} {complaint}: {peer:?}", peer.name);
        }
        let mut figures = locked(&world.figures);
        if peer.is_certain() {
            figures.certain += 1;
        } else {
            figures.uncertain += 1;
        }
    }
}

/// Tallies agree with the slots: at once where no daemon died, and else after a sweep.
fn counts(world: &World, table: &Table<Heap>) {
    let died = locked(&world.figures).deaths > 0;
    for sweep in [false, true] {
        if sweep {
            table.sweep(world.now_ns(), || ());
            while table.compact(world.now_ns(), || ()) {}
        }
        if sweep || !(died || world.has_time()) {
            counts_of::<V4>(world, table);
            counts_of::<V6>(world, table);
        }
    }
}

fn counts_of<F: Family>(world: &World, table: &Table<Heap>) {
    let mut sums = BTreeMap::<u32, [u32; 2]>::new();
    for ((torrent, _), [leecher, seeder]) in found::<F>(world, table) {
        let sum = sums.entry(torrent).or_default();
        sum[0] += leecher;
        sum[1] += seeder;
    }
    for torrent in world.torrents(F::IS_V6) {
        let counts = table.scrape::<F>(&torrent.info_hash(), world.now_ns());
        let sum = sums.get(&torrent.number).copied().unwrap_or_default();
        assert_eq!([counts.leechers, counts.seeders], sum, "the tally of {torrent:?}");
    }
}

/// Who takes the table over finds as much in use as its owner knows of.
fn memory(world: &World, table: &Table<Heap>) {
    // What a directory left behind is given back after the next grace period.
    table.grow(world.now_ns(), || ());
    let before = table.stats();
    let (after, adopted) =
        Table::adopt(world.heap.clone(), world.shape, LIFETIME, world.torrents_max(), || ());
    assert_eq!(adopted.damaged, 0, "damaged torrents");
    let after = after.stats();
    assert_eq!(before.torrents, after.torrents, "torrents in use");
    assert_eq!(before.block_bytes, after.block_bytes, "bytes of the arena in use");
}

fn expiry(world: &World, table: &Table<Heap>) {
    let later = world.now_ns() + ticks_ns(2 * u64::from(LIFETIME));
    let totals = table.sweep(later, || ());
    assert_eq!((totals.seeders, totals.leechers), ([0; 2], [0; 2]), "peers that never expire");
    assert_eq!(table.stats().block_bytes, 0, "bytes of the arena that nobody uses");
}
