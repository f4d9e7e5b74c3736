//! Operations on the swarm table, beside a map of maps.

use std::collections::BTreeMap;

use tracker_common::{
    announce::Event,
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    table::{
        layout::Gate,
        owner::{Table, Totals},
        swarm::Announce,
    },
    time::ticks_ns,
};
use tracker_user::{
    pipeline::PreferredSubnet,
    storage::memory::{MappedMemory, TableSize},
};

/// When a table is made.
pub const NOW_NS: u64 = ticks_ns(5000);

/// In ticks.
const LIFETIME: u32 = 100;

/// Torrents, and peers of each; few, so that they meet.
const TORRENTS: u8 = 12;
const PEERS: u16 = 400;

const SIZE: TableSize = TableSize {
    buckets_v4: 4,
    buckets_v6: 4,
    chunks: 300,
    torrents_max: [TORRENTS as u32; 2],
    subnet: PreferredSubnet { ipv4_bits: 0, ipv6_bits: 0 },
    meters_of_row: 0,
};

const KEY: TableKey = TableKey([
    0x0123_4567_89ab_cdef,
    0x1111_2222_3333_4445,
    0x7777_1234_5678_9abd,
    0xfeed_f00d_dead_beef,
]);

/// An empty table.
#[must_use]
pub fn new(shared_with_kernel: bool) -> Table<MappedMemory> {
    let memory = MappedMemory::anonymous(&SIZE).expect("there is memory");
    Table::new(memory, SIZE.shape(KEY), LIFETIME, SIZE.torrents_max, shared_with_kernel)
}

/// Has another owner take the table over.
fn adopt(table: Table<MappedMemory>) -> Table<MappedMemory> {
    let shape = *table.shape();
    let (table, found) =
        Table::adopt(table.into_memory(), shape, LIFETIME, SIZE.torrents_max, || ());
    assert_eq!(found.damaged, 0, "a damaged torrent");
    table
}

/// Checks that another owner finds as much in use as the present one knows of.
pub fn assert_adoptable(table: Table<MappedMemory>) {
    // Gives back what directories have left behind.
    table.grow(NOW_NS, || ());
    let before = table.stats();
    let after = adopt(table).stats();
    assert_eq!((before.torrents, before.block_bytes), (after.torrents, after.block_bytes));
}

type Swarm = BTreeMap<u16, (bool, u64)>;

/// What the table should hold.
#[derive(Default)]
struct Model {
    /// By torrent and family.
    swarms: BTreeMap<(u8, bool), Swarm>,
    tick: u64,
}

/// Four bytes an operation: what, torrent, peer.
pub fn run(data: &[u8]) {
    let Some((&first, operations)) = data.split_first() else { return };
    let mut table = new(first & 1 != 0);
    let mut model = Model { tick: 5000, ..Model::default() };
    for &[what, torrent, low, high] in operations.as_chunks().0 {
        let peer = u16::from_le_bytes([low, high]) % PEERS;
        match what % 16 {
            0 => table = adopt(settled(table, &model)),
            1 => {
                table.sweep(model.now_ns(), || ());
                table.compact(model.now_ns(), || ());
            }
            2 => model.tick += u64::from(low % 60),
            3 => list(&table, torrent),
            4 => drop(table.grow(model.now_ns(), || ())),
            // A row of peers, so that swarms grow.
            5 => (0..u16::from(torrent)).for_each(|n| {
                model.announce(&table, what, torrent, (peer + n) % PEERS);
            }),
            _ => model.announce(&table, what, torrent, peer),
        }
    }
    let table = settled(table, &model);
    model.assert_holds(&table);
    model.assert_compact(&table);
    model.assert_holds(&table);
    assert_adoptable(table);
}

fn list(table: &Table<MappedMemory>, torrent: u8) {
    let info_hash = info_hash(torrent % TORRENTS);
    let _ = table.list::<V4>([&info_hash], Gate::Open, || ());
    let _ = table.list::<V6>([&info_hash], Gate::Open, || ());
}

/// Has all announces applied that wait for room.
fn settled(table: Table<MappedMemory>, model: &Model) -> Table<MappedMemory> {
    for _ in 0..100 {
        if !table.has_work() {
            return table;
        }
        table.grow(model.now_ns(), || ());
    }
    panic!("announces wait for ever");
}

fn info_hash(torrent: u8) -> InfoHash {
    InfoHash(std::array::from_fn(|i| torrent.wrapping_mul(101).wrapping_add(i as u8)))
}

fn v4(peer: u16) -> [u8; 4] {
    let [high, low] = peer.to_be_bytes();
    [10, 0, high, low]
}

fn v6(peer: u16) -> [u8; 16] {
    let [high, low] = peer.to_be_bytes();
    [0x20, 1, 0xd, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
}

impl Model {
    fn now_ns(&self) -> u64 {
        ticks_ns(self.tick)
    }

    fn announce(&mut self, table: &Table<MappedMemory>, what: u8, torrent: u8, peer: u16) {
        let (torrent, is_v6) = (torrent % TORRENTS, what & 16 != 0);
        let event = match what % 16 {
            6 => Event::Stopped,
            7 => Event::Completed,
            _ => Event::None,
        };
        let seeder = what & 32 != 0 || event == Event::Completed;
        let swarm = self.swarms.entry((torrent, is_v6)).or_default();
        if event == Event::Stopped {
            swarm.remove(&peer);
            // Not to be overtaken by an announce that still waits.
            while table.has_work() {
                table.grow(ticks_ns(self.tick), || ());
            }
        } else {
            swarm.insert(peer, (seeder, self.tick));
        }
        let info_hash = info_hash(torrent);
        if is_v6 {
            self.announce_in::<V6>(table, &info_hash, v6(peer), seeder, event);
        } else {
            self.announce_in::<V4>(table, &info_hash, v4(peer), seeder, event);
        }
        // Two announces of one peer apply in the order in which they came, if none waits.
        if table.has_work() {
            table.grow(self.now_ns(), || ());
        }
    }

    fn announce_in<F: Family>(
        &self,
        table: &Table<MappedMemory>,
        info_hash: &InfoHash,
        addr: F::Addr,
        seeder: bool,
        event: Event,
    ) {
        let mut list = PeerBuf::new();
        let port = [0x1a, 0xe1];
        let announce = Announce::<F> { addr, port, seeder, event, numwant: 50, seed: 7 };
        table.announce(info_hash, &announce, self.now_ns(), &mut list);
        let peers: Vec<_> = list.as_bytes().chunks(F::PEER_BYTES).collect();
        let own = [addr.as_ref(), &port].concat();
        assert!(peers.len() <= 50, "too many peers");
        assert!(peers.len() == 1 || !peers.contains(&&own[..]), "given itself among others");
    }

    /// Nothing is left of peers that are gone: the others take at most 1.3 times what they would in a table
    /// of their own.
    fn assert_compact(&self, table: &Table<MappedMemory>) {
        for _ in 0..4 {
            table.sweep(self.now_ns(), || ());
            while table.compact(self.now_ns(), || ()) {}
        }
        let stats = table.stats();
        if stats.admission_refused + stats.queue_dropped > 0 {
            return;
        }
        let afresh = new(false);
        for (&(torrent, is_v6), swarm) in &self.swarms {
            for (&peer, &(seeder, seen)) in swarm {
                if self.tick - seen > LIFETIME.into() {
                    continue;
                }
                let hash = info_hash(torrent);
                if is_v6 {
                    self.announce_in::<V6>(&afresh, &hash, v6(peer), seeder, Event::None);
                } else {
                    self.announce_in::<V4>(&afresh, &hash, v4(peer), seeder, Event::None);
                }
            }
        }
        let [used, needed] = [stats, afresh.stats()].map(|stats| stats.block_bytes);
        assert!(used * 10 <= needed * 13, "{used} bytes in use, {needed} afresh");
    }

    /// The peers that live, unless some found no room.
    fn assert_holds(&self, table: &Table<MappedMemory>) {
        let now = self.now_ns();
        let mut expected = Totals::default();
        for ((_, is_v6), swarm) in &self.swarms {
            let alive = swarm.values().filter(|(_, seen)| self.tick - seen <= LIFETIME.into());
            for (seeder, _) in alive {
                let role = if *seeder { &mut expected.seeders } else { &mut expected.leechers };
                role[usize::from(*is_v6)] += 1;
            }
        }
        let found = table.sweep(now, || ());
        let stats = table.stats();
        if stats.admission_refused + stats.queue_dropped == 0 {
            assert_eq!(
                (found.seeders, found.leechers),
                (expected.seeders, expected.leechers),
                "the table does not hold what was announced"
            );
        }
    }
}
