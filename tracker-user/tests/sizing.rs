//! What swarms take in the table, as docs/operations.md tells for sizing it.

use bytesize::ByteSize;
use tracker_common::{
    announce::Event,
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    table::{owner::Table, swarm::Announce},
    time::lifetime_from_secs,
};
use tracker_user::{
    config::TableConfig,
    storage::memory::{MappedMemory, TableSize},
};

const NOW_NS: u64 = 3_600_000_000_000;

/// Peers of the swarms that one table is filled with.
const PEERS: u32 = 30_000;

/// A third of them seeds.
const ONE_SEEDER_IN: u32 = 3;

fn table() -> Table<MappedMemory> {
    let config =
        TableConfig { torrents_ipv4: 20_000, torrents_ipv6: 20_000, blocks: ByteSize::mib(64) };
    let size = TableSize::of(&config);
    let memory = MappedMemory::anonymous(&size).unwrap();
    let key = TableKey([
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0x2545_f491_4f6c_dd1d,
    ]);
    Table::new(memory, size.shape(key), lifetime_from_secs(1800), size.torrents_max, false)
}

/// Bytes of blocks for each peer of swarms of `size`, which grow one peer at a time.
fn bytes_a_peer<F: Family>(size: u32, address: impl Fn(u32) -> F::Addr) -> f64 {
    let (table, mut peers) = (table(), PeerBuf::new());
    let swarms = PEERS / size;
    for number in 0..swarms * size {
        let mut info_hash = InfoHash([0x5a; 20]);
        info_hash.0[..4].copy_from_slice(&(number % swarms).to_ne_bytes());
        let announce = Announce::<F> {
            // Addresses are no sequence.
            addr: address(number.wrapping_mul(0x9e37_79b1)),
            port: 6881u16.to_be_bytes(),
            seeder: (number / swarms).is_multiple_of(ONE_SEEDER_IN),
            event: Event::Started,
            numwant: 0,
            seed: number,
        };
        table.announce(&info_hash, &announce, NOW_NS, &mut peers);
        while table.has_work() {
            table.grow(NOW_NS, || {});
        }
    }
    // The second pass sees all of them, and gives back what grew out of use.
    table.sweep(NOW_NS, || {});
    let counted = table.sweep(NOW_NS, || {});
    let family = usize::from(F::IS_V6);
    let known = counted.seeders[family] + counted.leechers[family];
    assert_eq!(known, u64::from(swarms * size), "not all are in the table");
    table.stats().block_bytes as f64 / f64::from(swarms * size)
}

fn v4(size: u32) -> f64 {
    bytes_a_peer::<V4>(size, u32::to_be_bytes)
}

fn v6(size: u32) -> f64 {
    bytes_a_peer::<V6>(size, |number| (0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes())
}

#[test]
fn a_peer_takes_what_the_documentation_tells() {
    let document = include_str!("../../docs/operations.md");
    for size in [5, 6, 10, 20, 100, 1000, 30_000] {
        let row = format!("| {size} | {:.0} | {:.0} |", v4(size).ceil(), v6(size).ceil());
        assert!(document.lines().any(|line| line == row), "docs/operations.md has not: {row}");
    }
}
