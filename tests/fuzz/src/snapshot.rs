//! Snapshots on disk.

use std::io::Cursor;

use sha2::{Digest, Sha256};
use tracker_common::{
    family::{V4, V6},
    id::InfoHash,
    table::owner::{SavedPeer, Table},
};
use tracker_user::storage::memory::{
    MappedMemory,
    snapshot::format::{self, Restore},
};

use crate::table::{self, NOW_NS};

/// The bytes are the file but for its checksum, which is made to fit.
pub fn run(data: &[u8]) {
    let _ = format::check(&mut Cursor::new(data));
    let file = [data, &Sha256::digest(data)].concat();
    if format::check(&mut Cursor::new(&file)).is_err() {
        return;
    }
    let mut into = Into { table: table::new(false), peers: 0 };
    let _ = format::read(&file[..], 0, &mut into);
    let Into { table, peers } = into;
    let totals = table.sweep(NOW_NS, || ());
    let seeders_and_leechers = totals.seeders.into_iter().chain(totals.leechers);
    assert!(seeders_and_leechers.sum::<u64>() <= peers as u64, "more peers than were restored");
    table::assert_adoptable(table);
}

struct Into {
    table: Table<MappedMemory>,
    peers: usize,
}

impl Restore for Into {
    fn v4(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V4>]) {
        self.peers += self.table.restore(info_hash, completed, peers, NOW_NS);
    }

    fn v6(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V6>]) {
        self.peers += self.table.restore(info_hash, completed, peers, NOW_NS);
    }
}
