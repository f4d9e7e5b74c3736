//! Swarms in this machine's memory: the table that the kernel shares, where there is XDP.
//!
//! * [`MappedMemory`]: the bytes;
//! * [`MemoryStorage`]: serves the frontends from them;
//! * `keeper`: the thread that makes room and sweeps.

mod keeper;
mod mapped;
mod size;

use std::{io, net::SocketAddr, sync::Arc};

use tracker_common::{
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    peers::PeerBuf,
    table::{index::TableShape, layout::Gate, owner::Table, swarm::Counts},
    time,
};

pub use keeper::Grace;
pub use mapped::MappedMemory;
pub use size::TableSize;

use super::Storage;
use crate::{
    clock::monotonic_ns,
    config::MemoryConfig,
    metrics::Metrics,
    pipeline::{AnnounceRequest, Refusal, SwarmStats},
};
use keeper::Keeper;

/// Serves announces and scrapes from the table.
pub struct MemoryStorage {
    table: Arc<Table<MappedMemory>>,
    keeper: Keeper,
}

impl MemoryStorage {
    /// Makes a table in zeroed memory of this size and starts its keeper. With `grace`, which
    /// returns when no kernel program that ran when it was called still runs, the kernel uses the
    /// table too.
    ///
    /// # Errors
    /// When the keeper's thread cannot be started.
    pub fn start(
        memory: MappedMemory,
        size: &TableSize,
        key: TableKey,
        config: &MemoryConfig,
        grace: Option<Grace>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let lifetime = time::lifetime_from_secs(config.peer_lifetime.as_secs());
        let shape = size.shape(key);
        let table = Table::new(memory, shape, lifetime, size.torrents_max, grace.is_some());
        let table = Arc::new(table);
        let keeper = Keeper::start(Arc::clone(&table), config, grace, Arc::clone(metrics))?;
        Ok(Arc::new(Self { table, keeper }))
    }

    /// Exchanges the options while running. A peer's new life counts at once.
    pub fn reload(&self, config: &MemoryConfig) {
        self.table.set_lifetime(time::lifetime_from_secs(config.peer_lifetime.as_secs()));
        self.keeper.reload(config.clone());
    }

    /// Stops the keeper and waits for it.
    pub fn stop(&self) {
        self.keeper.stop();
    }

    /// The shape of the table, for the kernel to find its way in it.
    #[must_use]
    pub fn shape(&self) -> &TableShape {
        self.table.shape()
    }

    /// Makes torrents known to the kernel in both address families, and what to do with them. `grace`
    /// is that of [`Table::grow`]. Returns for how many there is no room.
    #[must_use]
    pub fn list<'a>(
        &self,
        info_hashes: impl IntoIterator<Item = &'a InfoHash> + Clone,
        gate: Gate,
        mut grace: impl FnMut(),
    ) -> usize {
        let v4 = self.table.list::<V4>(info_hashes.clone(), gate, &mut grace);
        v4.max(self.table.list::<V6>(info_hashes, gate, grace))
    }

    /// What the kernel does with torrents that are on no list, when they are new and when they are
    /// taken off one.
    pub fn set_unlisted_gate(&self, gate: Gate) {
        self.table.set_unlisted_gate(gate);
    }

    /// Takes the torrents off the lists of which `is_unlisted` says so.
    pub fn unlist(&self, is_unlisted: impl Fn(&InfoHash) -> bool) {
        self.table.unlist::<V4>(&is_unlisted);
        self.table.unlist::<V6>(is_unlisted);
    }

    fn announce_in<F: Family>(
        &self,
        request: &AnnounceRequest,
        addr: F::Addr,
        peers: &mut PeerBuf,
    ) -> SwarmStats {
        let announce = request.for_table::<F>(addr);
        let counts = self.table.announce(&request.info_hash, &announce, monotonic_ns(), peers);
        if self.table.has_work() {
            self.keeper.wake();
        }
        counts.into()
    }
}

impl Storage for MemoryStorage {
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal> {
        Ok(match request.peer {
            SocketAddr::V4(peer) => self.announce_in::<V4>(request, peer.ip().octets(), peers),
            SocketAddr::V6(peer) => self.announce_in::<V6>(request, peer.ip().octets(), peers),
        })
    }

    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        let counts = match source {
            SocketAddr::V4(_) => self.table.scrape::<V4>(info_hash, monotonic_ns()),
            SocketAddr::V6(_) => self.table.scrape::<V6>(info_hash, monotonic_ns()),
        };
        Ok(counts.into())
    }
}

impl From<Counts> for SwarmStats {
    fn from(counts: Counts) -> Self {
        let Counts { seeders, leechers, completed } = counts;
        Self { seeders, leechers, completed }
    }
}

#[cfg(test)]
mod tests;
