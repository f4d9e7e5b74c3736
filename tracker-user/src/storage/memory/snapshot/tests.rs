use std::{io::Cursor, net::Ipv6Addr, os::unix::fs::symlink};

use proptest::prelude::*;
use tracker_common::{
    announce::Event, hash::TableKey, peers::PeerBuf, table::swarm::Announce,
    time::lifetime_from_secs,
};

use super::*;
use crate::{
    files::tests::put_fifo,
    storage::memory::{MappedMemory, TableSize},
};

const HASH: InfoHash = InfoHash([9; 20]);

fn table() -> Table<MappedMemory> {
    let size = TableSize {
        buckets_v4: 50,
        buckets_v6: 50,
        chunks: 1000,
        torrents_max: [100; 2],
        subnet: Default::default(),
        meters_of_row: 0,
    };
    let memory = MappedMemory::anonymous(&size).unwrap();
    let key = TableKey([11, 22, 33, 44]);
    Table::new(memory, size.shape(key), lifetime_from_secs(1800), size.torrents_max, false)
}

/// Three hundred peers of each family, and a download that was completed.
fn filled() -> Table<MappedMemory> {
    let (table, mut list) = (table(), PeerBuf::new());
    for n in 1..=300_u16 {
        let event = if n == 300 { Event::Completed } else { Event::Started };
        let (port, seeder) = (n.to_be_bytes(), n % 3 == 0);
        let v4 = Announce::<V4> { addr: [192, 0, 2, 1], port, seeder, event, numwant: 0, seed: 0 };
        let addr = Ipv6Addr::LOCALHOST.octets();
        let v6 = Announce::<V6> { addr, port, seeder, event, numwant: 0, seed: 0 };
        table.announce(&HASH, &Announce { event: Event::Started, ..v4 }, monotonic_ns(), &mut list);
        table.announce(&HASH, &v4, monotonic_ns(), &mut list);
        table.announce(&HASH, &v6, monotonic_ns(), &mut list);
    }
    table
}

#[test]
fn what_is_saved_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    let (before, after) = (filled(), table());
    save(&before, &path, true).unwrap();
    restore(&after, &path);
    let figures = |table: &Table<MappedMemory>| {
        let now = monotonic_ns();
        (table.scrape::<V4>(&HASH, now), table.scrape::<V6>(&HASH, now))
    };
    assert_eq!(figures(&before).0.seeders, 100);
    assert_eq!(figures(&after), figures(&before));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_a_peer_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    let (before, after) = (table(), table());
    for addr in [[192, 0, 2, 1], [240, 0, 0, 1], [0, 1, 2, 3], [127, 0, 0, 1]] {
        let (port, event) = ([0x1a, 0xe1], Event::Started);
        let announce = Announce::<V4> { addr, port, seeder: false, event, numwant: 0, seed: 0 };
        before.announce(&HASH, &announce, monotonic_ns(), &mut PeerBuf::new());
        before.announce(&HASH, &announce, monotonic_ns(), &mut PeerBuf::new());
    }
    save(&before, &path, true).unwrap();
    restore(&after, &path);
    let leechers = |table: &Table<MappedMemory>| table.scrape::<V4>(&HASH, monotonic_ns()).leechers;
    assert_eq!((leechers(&before), leechers(&after)), (4, 2));
}

#[test]
fn without_peers_only_completed_downloads_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    let (before, after) = (filled(), table());
    save(&before, &path, false).unwrap();
    restore(&after, &path);
    let counts = after.scrape::<V4>(&HASH, monotonic_ns());
    assert_eq!((counts.seeders, counts.leechers), (0, 0));
    assert_eq!(counts.completed, before.scrape::<V4>(&HASH, monotonic_ns()).completed);
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside_and_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    save(&filled(), &path, true).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    let mut newer = whole.clone();
    newer[20] = 2;
    for bytes in [&damaged[..], &newer, &whole[..whole.len() - 1], b"chihaya:\n", b""] {
        fs::write(&path, bytes).unwrap();
        let table = table();
        restore(&table, &path);
        assert_eq!(table.stats().torrents, [0, 0]);
        assert!(!path.exists());
        assert_eq!(fs::read(beside(&path, "unusable")).unwrap(), bytes);
    }
}

#[test]
fn what_was_restored_before_a_fault_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    let peer = SavedPeer::<V4> { addr: [192, 0, 2, 1], port: [0, 1], seeder: true, age: 0 };
    // The checksum is right: a faulty tracker has written it.
    let mut writer = Writer::new(Vec::new(), wall_ns()).unwrap();
    writer.torrent(&HASH, 0, &[peer]).unwrap();
    let bytes = writer.end_with(&[5; 64]).unwrap();
    fs::write(&path, bytes).unwrap();
    assert_eq!(restore(&table(), &path), 1);
    assert!(beside(&path, "unusable").exists());
    assert_eq!(extent(1), "the 1 peers before the fault are restored");
    assert_eq!(extent(0), "nothing is restored");
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    fs::write(&path, "before").unwrap();
    fs::create_dir(beside(&path, "new")).unwrap();
    assert!(save(&filled(), &path, true).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"before");
}

struct Nowhere;

impl Restore for Nowhere {
    fn v4(&mut self, _: &InfoHash, _: u32, _: &[SavedPeer<V4>]) {}
    fn v6(&mut self, _: &InfoHash, _: u32, _: &[SavedPeer<V6>]) {}
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = format::check(&mut Cursor::new(&bytes));
        let _ = format::read(&bytes[..], 0, &mut Nowhere);
    }
}

#[test]
fn what_lies_in_the_place_of_a_new_snapshot_is_not_written_to_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, precious) = (folder.path().join("swarms"), folder.path().join("precious"));
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, beside(&path, "new")).unwrap();
    save(&filled(), &path, true).unwrap();
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    put_fifo(&beside(&path, "new"));
    save(&filled(), &path, true).unwrap();
    let table = table();
    restore(&table, &path);
    assert_eq!(table.stats().torrents, [1, 1]);
}

#[test]
fn a_snapshot_that_is_no_file_restores_nothing_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swarms");
    put_fifo(&path);
    let table = table();
    restore(&table, &path);
    assert_eq!(table.stats().torrents, [0, 0]);
}
