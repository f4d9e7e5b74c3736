use super::*;
use bytesize::ByteSize;
use std::{
    thread,
    time::{Duration, Instant},
};
use tracker_common::{
    announce::Event,
    budget::{Budget, Kind},
    id::PeerId,
    limit::Rate,
};

use crate::{config::TableConfig, pipeline::Params};

fn storage() -> Arc<MemoryStorage> {
    storage_of(&TableConfig::default())
}

fn storage_of(table: &TableConfig) -> Arc<MemoryStorage> {
    storage_of_size(TableSize::of(table))
}

fn storage_of_size(size: TableSize) -> Arc<MemoryStorage> {
    let memory = MappedMemory::anonymous(&size).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    MemoryStorage::start(
        memory,
        &size,
        // A key of zeros would put all peers of a swarm into one block.
        Origin::New(TableKey([
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0x2545_f491_4f6c_dd1d,
        ])),
        &MemoryConfig::default(),
        None,
        &metrics,
    )
    .unwrap()
}

fn request(peer: &str, left: u64, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
        peer: peer.parse().unwrap(),
        event,
        left,
        downloaded: 0,
        uploaded: 0,
        numwant: 50,
        seed: 1,
        interface: 0,
        params: Params::default(),
    }
}

#[test]
fn a_peer_finds_those_that_came_before_it_in_its_own_family() {
    let storage = storage();
    let mut peers = PeerBuf::new();
    storage.announce(&request("192.0.2.1:1000", 0, Event::Started), &mut peers).unwrap();
    storage.announce(&request("[2001:db8::1]:1000", 0, Event::Started), &mut peers).unwrap();
    let swarm = storage.announce(&request("192.0.2.2:258", 9, Event::Started), &mut peers).unwrap();
    assert_eq!(swarm, SwarmStats { seeders: 1, leechers: 1, completed: 0 });
    assert_eq!(peers.as_bytes(), [192, 0, 2, 1, 3, 232]);
    let source = "[2001:db8::9]:1".parse().unwrap();
    let swarm = storage.scrape(&InfoHash([7; 20]), &source).unwrap();
    assert_eq!(swarm, SwarmStats { seeders: 1, leechers: 0, completed: 0 });
    storage.stop();
}

#[test]
fn a_swarm_outgrows_its_line() {
    let storage = storage();
    let mut peers = PeerBuf::new();
    for address in 1..=200 {
        let peer = format!("192.0.2.{address}:6881");
        let announced = |storage: &MemoryStorage, peers: &mut PeerBuf| {
            storage.announce(&request(&peer, 9, Event::None), peers).unwrap().leechers >= address
        };
        // A full torrent takes the peer when the keeper has made room.
        while !announced(&storage, &mut peers) {
            thread::yield_now();
        }
    }
    assert_eq!(peers.len(), 50 * 6);
    storage.stop();
}

#[test]
fn misses_are_metered_here_but_for_those_that_came_by_an_interface_with_the_program() {
    let size = TableSize::of(&TableConfig::default());
    let storage = storage_of_size(TableSize { meters_of_row: 1024, ..size });
    let budget = Budget { source: Rate::per(10, 60), wide: Rate::default() };
    let mut limits = storage.limits();
    limits.budgets[Kind::Misses as usize] = budget;
    limits.mask_v4 = u32::MAX;
    limits.meters_mask = 1023;
    storage.set_limits(limits);
    storage.set_counted(vec![3]);
    let mut peers = PeerBuf::new();
    let mut torrents = 0_u32;
    // How many of a hundred new torrents come into the table.
    let mut brought = |interface, addr: &str| {
        let mut is_in = |_: &u32| {
            torrents += 1;
            let mut request = request(addr, 9, Event::Started);
            request.info_hash.0[..4].copy_from_slice(&torrents.to_be_bytes());
            request.interface = interface;
            storage.announce(&request, &mut peers).unwrap();
            storage.scrape(&request.info_hash, &request.peer).unwrap().leechers == 1
        };
        (0..100).filter(|n| is_in(n)).count()
    };
    assert_eq!(brought(3, "192.0.2.1:1000"), 100);
    assert_eq!(brought(4, "192.0.2.1:1000"), 11);
    // By HTTP.
    assert_eq!(brought(0, "192.0.2.2:1000"), 11);
    // The program has gone from the interface.
    storage.set_counted(Vec::new());
    assert_eq!(brought(3, "192.0.2.3:1000"), 11);
    storage.stop();
}

#[test]
fn torrents_without_peers_make_room_when_the_table_is_full() {
    const ROOM: u32 = 1000;
    let storage = storage_of(&TableConfig { torrents_ipv4: ROOM, ..TableConfig::default() });
    let mut peers = PeerBuf::new();
    let mut announce = |torrent: u32, event| {
        let mut request = request("192.0.2.1:1000", 9, event);
        request.info_hash.0[..4].copy_from_slice(&torrent.to_be_bytes());
        storage.announce(&request, &mut peers).unwrap();
        storage.scrape(&request.info_hash, &request.peer).unwrap().leechers
    };
    for torrent in 0..ROOM {
        announce(torrent, Event::Started);
        announce(torrent, Event::Stopped);
    }
    assert_eq!(announce(ROOM, Event::Started), 0, "there is room");
    // Long before the next regular sweep.
    while announce(ROOM, Event::Started) == 0 {
        thread::yield_now();
    }
    storage.stop();
}

#[test]
fn without_blocks_it_is_blocks_that_are_full_and_not_torrents() {
    let table = TableConfig { blocks: ByteSize::kib(64), ..TableConfig::default() };
    let size = TableSize::of(&table);
    let memory = MappedMemory::anonymous(&size).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let key = Origin::New(TableKey([5, 6, 7, 8]));
    let storage =
        MemoryStorage::start(memory, &size, key, &MemoryConfig::default(), None, &metrics).unwrap();
    let mut peers = PeerBuf::new();
    for n in 0..40_000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let peer = format!("192.0.{high}.{low}:1000");
        storage.announce(&request(&peer, 9, Event::Started), &mut peers).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while metrics.limit_reached("blocks").get() == 0 {
        assert!(Instant::now() < deadline, "no announce is counted");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(metrics.limit_reached("torrents").get(), 0);
    storage.stop();
}
