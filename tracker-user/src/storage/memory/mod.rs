//! Swarms in this machine's memory: the table that the kernel shares, where there is XDP.
//!
//! * [`MappedMemory`]: the bytes;
//! * [`MemoryStorage`]: serves the frontends from them;
//! * [`snapshot`]: on disk;
//! * `keeper`: the thread that makes room and sweeps.

mod fullness;
mod keeper;
mod mapped;
mod size;
pub mod snapshot;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tracker_common::{
    family::{Family, V4, V6},
    hash::TableKey,
    id::InfoHash,
    limit::Limits,
    peers::PeerBuf,
    table::{
        index::TableShape,
        layout::Gate,
        owner::{Adopted, SavedPeer, Table},
        swarm::{Announce, Counts},
    },
    time,
};

pub use keeper::Grace;
pub use mapped::MappedMemory;
#[cfg(feature = "xdp")]
pub(crate) use mapped::Region;
pub use size::TableSize;

use crate::{
    clock::monotonic_ns,
    config::MemoryConfig,
    metrics::Metrics,
    pipeline::{AnnounceRequest, Refusal, Storage, SwarmStats, nobody_in_the_other_family},
};
use arc_swap::ArcSwap;
use keeper::Keeper;
use snapshot::{Lock, Saver};

/// Where the memory comes from that a table is in, and the secret of its hashes.
#[derive(Clone, Copy)]
pub enum Origin {
    /// It is zeroed.
    New(TableKey),
    /// A process before has kept a table in it, which the kernel has gone on using.
    Adopted(TableKey),
}

/// Serves announces and scrapes from the table.
pub struct MemoryStorage {
    table: Arc<Table<MappedMemory>>,
    keeper: Keeper,
    saver: Saver,
    /// The indices of the interfaces by which what comes over UDP has been counted in the kernel.
    counted: ArcSwap<Vec<u32>>,
}

impl MemoryStorage {
    /// Makes a table of this size, or adopts the one that is there, and starts its keeper. With
    /// `grace`, which returns when no kernel program that ran when it was called still runs, the kernel
    /// uses the table too.
    ///
    /// # Errors
    /// When another tracker saves to the same snapshot, or a thread cannot be started.
    pub fn start(
        memory: MappedMemory,
        size: &TableSize,
        origin: Origin,
        config: &MemoryConfig,
        mut grace: Option<Grace>,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let lifetime = time::lifetime_from_secs(config.peer_lifetime.as_secs());
        let is_shared = grace.is_some();
        // Before the file is read, and set aside perhaps, and before another process could be saving it.
        let lock = config.snapshot.path.as_deref().map(Lock::take).transpose();
        let lock = lock
            .map_err(|error| io::Error::other(format!("storage.config.snapshot.path: {error}")))?;
        let table = match (origin, &mut grace) {
            (Origin::Adopted(key), Some(grace)) => {
                let shape = size.shape(key);
                let (table, found) =
                    Table::adopt(memory, shape, lifetime, size.torrents_max, grace);
                say(&found);
                table
            }
            (Origin::New(key) | Origin::Adopted(key), _) => {
                let mut table =
                    Table::new(memory, size.shape(key), lifetime, size.torrents_max, false);
                if let Some(path) = &config.snapshot.path {
                    snapshot::restore(&table, path);
                }
                if is_shared {
                    table.share_with_kernel();
                }
                table
            }
        };
        let table = Arc::new(table);
        let is_adopted = matches!(origin, Origin::Adopted(_));
        let keeper =
            Keeper::start(Arc::clone(&table), config, is_adopted, grace, Arc::clone(metrics))?;
        let saver = Saver::start(Arc::clone(&table), &config.snapshot, lock, Arc::clone(metrics))?;
        Ok(Arc::new(Self { table, keeper, saver, counted: ArcSwap::default() }))
    }

    /// Exchanges the options while running. A peer's new life counts at once.
    pub fn reload(&self, config: &MemoryConfig) {
        self.table.set_lifetime(time::lifetime_from_secs(config.peer_lifetime.as_secs()));
        self.keeper.reload(config.clone());
        self.saver.reload(config.snapshot.clone());
    }

    /// Changes what sources may have.
    pub fn set_limits(&self, limits: Limits) {
        self.table.set_limits(limits);
    }

    /// Says by which interfaces, as indices, requests over UDP have been counted in the kernel when they come here.
    pub fn set_counted(&self, interfaces: Vec<u32>) {
        if **self.counted.load() != interfaces {
            self.counted.store(Arc::new(interfaces));
        }
    }

    /// What sources may have, for the kernel to go by too.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.table.limits()
    }

    /// Stops the keeper, saves the table, and waits for both.
    pub fn stop(&self) {
        self.keeper.stop();
        self.saver.stop();
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

    /// Leaves to the daemon the torrents whose gate is not what it is going to be.
    pub fn hold_back(&self, coming: impl Fn(&InfoHash) -> Gate) {
        self.table.hold_back::<V4>(&coming);
        self.table.hold_back::<V6>(coming);
    }

    /// Takes the torrents off the lists of which `is_unlisted` says so.
    pub fn unlist(&self, is_unlisted: impl Fn(&InfoHash) -> bool) {
        self.table.unlist::<V4>(&is_unlisted);
        self.table.unlist::<V6>(is_unlisted);
    }

    /// Puts in a peer that announced to another tracker, `age` ticks ago; see [`Table::merge`].
    pub fn merge(&self, info_hash: &InfoHash, peer: SocketAddr, seeder: bool, age: u16) {
        let now_ns = monotonic_ns();
        match elsewhere(peer, seeder, age) {
            Elsewhere::V4(peer) => self.table.merge(info_hash, &peer, now_ns),
            Elsewhere::V6(peer) => self.table.merge(info_hash, &peer, now_ns),
        }
        self.see_to_room();
    }

    /// Removes a peer that left `age` ticks ago; see [`Table::depart`].
    pub fn depart(&self, info_hash: &InfoHash, peer: SocketAddr, age: u16) {
        let now_ns = monotonic_ns();
        match elsewhere(peer, false, age) {
            Elsewhere::V4(peer) => self.table.depart(info_hash, &peer, now_ns),
            Elsewhere::V6(peer) => self.table.depart(info_hash, &peer, now_ns),
        }
        self.see_to_room();
    }

    /// Counts a download that such a peer has completed; see [`Table::complete`].
    pub fn complete(&self, info_hash: &InfoHash, peer: &SocketAddr) -> bool {
        if peer.is_ipv4() {
            self.table.complete::<V4>(info_hash)
        } else {
            self.table.complete::<V6>(info_hash)
        }
    }

    /// Has room made for who found none.
    fn see_to_room(&self) {
        if self.table.has_work() {
            self.keeper.wake();
        }
    }

    /// Torrents in the table, with IPv4 swarms and with IPv6 swarms.
    #[must_use]
    pub fn torrents(&self) -> [u32; 2] {
        self.table.stats().torrents
    }

    /// Whether peers wait for room.
    #[must_use]
    pub fn makes_room(&self) -> bool {
        self.table.has_work()
    }

    fn announce_in<F: Family>(
        &self,
        request: &AnnounceRequest,
        addr: F::Addr,
        peers: &mut PeerBuf,
    ) -> SwarmStats {
        let announce = request.for_table::<F>(addr);
        let is_metered = !self.counted.load().contains(&request.interface);
        let now_ns = monotonic_ns();
        let counts =
            self.table.announce_metered(&request.info_hash, &announce, now_ns, peers, is_metered);
        self.see_to_room();
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

    fn look(&self, request: &AnnounceRequest, peers: &mut PeerBuf) -> Result<SwarmStats, Refusal> {
        let (hash, now_ns) = (&request.info_hash, monotonic_ns());
        let nobody = nobody_in_the_other_family(&request.peer);
        let port = nobody.port().to_be_bytes();
        let counts = match nobody.ip() {
            IpAddr::V4(addr) => {
                let announce = Announce { port, ..request.for_table::<V4>(addr.octets()) };
                self.table.look(hash, &announce, now_ns, peers)
            }
            IpAddr::V6(addr) => {
                let announce = Announce { port, ..request.for_table::<V6>(addr.octets()) };
                self.table.look(hash, &announce, now_ns, peers)
            }
        };
        Ok(counts.into())
    }

    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        let counts = match source {
            SocketAddr::V4(_) => self.table.scrape::<V4>(info_hash, monotonic_ns()),
            SocketAddr::V6(_) => self.table.scrape::<V6>(info_hash, monotonic_ns()),
        };
        Ok(counts.into())
    }
}

/// A peer of another tracker.
enum Elsewhere {
    V4(SavedPeer<V4>),
    V6(SavedPeer<V6>),
}

fn elsewhere(peer: SocketAddr, seeder: bool, age: u16) -> Elsewhere {
    let port = peer.port().to_be_bytes();
    match peer {
        SocketAddr::V4(peer) => {
            Elsewhere::V4(SavedPeer { addr: peer.ip().octets(), port, seeder, age })
        }
        SocketAddr::V6(peer) => {
            Elsewhere::V6(SavedPeer { addr: peer.ip().octets(), port, seeder, age })
        }
    }
}

fn say(found: &Adopted) {
    let [ipv4, ipv6] = found.torrents;
    tracing::info!("took over {ipv4} torrents over IPv4 and {ipv6} over IPv6");
    if found.damaged > 0 {
        tracing::warn!("{} torrents were damaged and have been dropped", found.damaged);
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
