//! The daemon's own path, from a datagram to its reply, over a table of any memory.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tracker_common::{
    connection::ConnectionIds,
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    table::owner::Table,
    time::lifetime_from_secs,
};
use tracker_user::{
    config::UdpConfig,
    pipeline::{AnnounceRequest, Pipeline, Refusal, SwarmStats},
    storage::{
        Storage,
        memory::{MappedMemory, TableSize},
    },
    udp::{Datagram, Scratch, UdpFrontend, UdpSettings},
};

use super::{PORT, TRACKER_V4, world::World};

/// The time that the program and the table go by.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A table behind the pipeline, with nobody to grow it but the announces themselves.
pub struct TableStorage(pub Table<MappedMemory>);

impl TableStorage {
    fn announce_in<F: Family>(
        &self,
        request: &AnnounceRequest,
        addr: F::Addr,
        peers: &mut PeerBuf,
    ) -> SwarmStats {
        let announce = request.for_table::<F>(addr);
        self.0.announce(&request.info_hash, &announce, now_ns(), peers).into()
    }
}

impl Storage for TableStorage {
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal> {
        Ok(match request.peer.ip() {
            IpAddr::V4(addr) => self.announce_in::<V4>(request, addr.octets(), peers),
            IpAddr::V6(addr) => self.announce_in::<V6>(request, addr.octets(), peers),
        })
    }

    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        Ok(match source {
            SocketAddr::V4(_) => self.0.scrape::<V4>(info_hash, now_ns()),
            SocketAddr::V6(_) => self.0.scrape::<V6>(info_hash, now_ns()),
        }
        .into())
    }
}

/// One table with its pipeline: the daemon's path.
pub struct Daemon {
    pub storage: Arc<TableStorage>,
    pipeline: Pipeline,
    frontend: UdpFrontend,
    scratch: Scratch,
}

impl Daemon {
    pub fn new(world: World, memory: MappedMemory, size: &TableSize, ids: ConnectionIds) -> Self {
        let key = TableKey([
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            0x5151_c0de_9797_aaaa,
            0x1357_9bdf_0246_8ace,
        ]);
        let table =
            Table::new(memory, size.shape(key), lifetime_from_secs(1800), size.torrents_max, false);
        table.set_limits(world.limits());
        let storage = Arc::new(TableStorage(table));
        let pipeline = Pipeline::new(storage.clone(), world.hooks(), vec![], 1800, 900);
        let addr = vec![SocketAddr::from((TRACKER_V4, PORT)).into()];
        let udp = UdpConfig { addr, ..UdpConfig::default() };
        let frontend = UdpFrontend::new(UdpSettings::new(udp, ids));
        Self { storage, pipeline, frontend, scratch: Scratch::default() }
    }

    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The reply to a datagram; none is empty.
    pub fn answer(&mut self, bytes: &[u8], source: SocketAddr) -> Vec<u8> {
        let mut reply = Vec::new();
        let datagram = Datagram { bytes, source, interface: 0, wall_ns: now_ns() };
        self.frontend.answer(&self.pipeline, &datagram, &mut self.scratch, &mut reply);
        reply
    }
}
