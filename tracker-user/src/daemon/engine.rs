//! The parts of a running tracker: storage, pipeline, frontends and data plane, and how they change together.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tracker_common::budget::meters_of_row;

use super::{
    announce_urls::announce_urls, control::Status, frontends::Frontends, hooks, kept::Grantors,
    prepared::Prepared, restart, secrets,
};
use crate::{
    config::{Config, OnExit, StorageConfig},
    dataplane::{self, DataPlane, Grants},
    metrics::Metrics,
    pipeline::{GrantSink as _, Pipeline},
    replication::Replica,
    storage::memory::{MappedMemory, MemoryStorage, Origin, TableSize},
};

/// How a tracker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The kernel goes on answering where `xdp.on_exit` says so: another tracker is to take over.
    AsConfigured,
    /// Nothing is left in the kernel.
    Whole,
}

/// All parts of a tracker.
pub(super) struct Engine {
    /// What it was started with: some keys count then only.
    started_with: Config,
    /// What it goes by.
    config: Config,
    connection_key: secrets::ConnectionKey,
    pub(super) storage: Arc<MemoryStorage>,
    /// What shares the table with other trackers.
    replica: Option<Replica>,
    pipeline: Arc<ArcSwap<Pipeline>>,
    pub(super) frontends: Frontends,
    grants: Arc<Grants>,
    /// The hooks whose grants count.
    grantors: Grantors,
    data_plane: Option<DataPlane>,
}

impl Engine {
    /// Starts all that the configuration asks for.
    ///
    /// # Errors
    /// What cannot be started, and what to do about it.
    pub(super) fn start(
        prepared: Prepared,
        grants: &Arc<Grants>,
        metrics: &Arc<Metrics>,
        runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let config = &prepared.config;
        let mut size = TableSize::of(&config.xdp.table);
        size.subnet = hooks::preferred_subnet(config);
        size.meters_of_row = meters_of_row(config.xdp.limits.sources);
        let kernel = dataplane::load(config, &size)?;
        let connection_key = connection_key(kernel.as_ref(), config)?;
        let storage = storage(kernel.as_ref(), config, &size, metrics)?;
        storage.set_limits(config.limits(config.xdp.limits.sources));
        let replica = match &config.storage {
            StorageConfig::Memory(_) => None,
            StorageConfig::Redis(redis) => Some(Replica::start(redis, &storage, metrics)?),
        };
        let feed = replica.as_ref().map(Replica::feed);
        let grantors = prepared.grantors();
        let (config, pipeline, settings) = prepared.split(storage.clone(), feed, &connection_key);
        let udp = settings.udp.clone();
        let pipeline = Arc::new(ArcSwap::from_pointee(pipeline));
        let frontends = {
            let _runtime = runtime.enter();
            Frontends::start(&config, settings, metrics, &pipeline)?
        };
        for (what, addr) in &frontends.addresses {
            tracing::info!("serving {what} on {addr}");
        }
        for url in announce_urls(&config.http, &frontends.addresses) {
            tracing::info!("announce URL: {url}");
        }
        let data_plane = kernel
            .map(|kernel| {
                DataPlane::start(kernel, &config, &udp, &storage, &pipeline, grants, metrics)
            })
            .transpose()?;
        Ok(Self {
            started_with: config.clone(),
            config,
            connection_key,
            storage,
            replica,
            pipeline,
            frontends,
            grants: Arc::clone(grants),
            grantors,
            data_plane,
        })
    }

    /// What it holds until it ends.
    pub(super) fn status(&self) -> Status {
        let serves = self.frontends.addresses.iter();
        let serves = serves.map(|(what, addr)| (what.to_string(), *addr)).collect();
        let pin_path = match self.data_plane {
            Some(_) => self.started_with.xdp.pin_path.clone(),
            None => PathBuf::new(),
        };
        // Which file it goes by is told by the control socket.
        Status { process: std::process::id(), serves, pin_path, config: PathBuf::new() }
    }

    /// What it goes by.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Goes by another configuration, and returns the keys that wait for a restart. No request is
    /// lost: each goes by the one or by the other.
    pub(super) fn reload(&mut self, prepared: Prepared) -> Vec<&'static str> {
        self.storage.reload(&prepared.config.storage.memory());
        // Their number waits for a restart.
        let sources = self.started_with.xdp.limits.sources;
        self.storage.set_limits(prepared.config.limits(sources));
        if let (Some(replica), StorageConfig::Redis(redis)) =
            (&self.replica, &prepared.config.storage)
        {
            replica.reload(redis);
        }
        let feed = self.replica.as_ref().map(Replica::feed);
        let grantors = prepared.grantors();
        let (config, pipeline, settings) =
            prepared.split(self.storage.clone(), feed, &self.connection_key);
        let udp = settings.udp.clone();
        let pipeline = Arc::new(pipeline);
        let change = || {
            self.pipeline.store(Arc::clone(&pipeline));
            // A hook that has gone, or has changed, would not admit all that it admitted.
            if !grantors.are(&self.grantors) {
                self.grants.revoke_all();
            }
            self.frontends.reload(settings);
        };
        match &self.data_plane {
            Some(kernel) => kernel.reload(&config, &udp, Arc::clone(&pipeline), change),
            None => change(),
        }
        (self.config, self.grantors) = (config, grantors);
        restart::needed(&self.started_with, &self.config, self.data_plane.is_some())
    }

    /// Stops everything, the kernel first: it answers in the stead of the others, and goes on to where that is
    /// wanted. Not to be called in the runtime.
    pub(super) fn stop(self, runtime: &Handle, ending: Ending) {
        let is_kernel_kept =
            ending == Ending::AsConfigured && self.config.xdp.on_exit == OnExit::Keep;
        match self.data_plane {
            Some(data_plane) if is_kernel_kept => data_plane.leave(),
            // Dropped at the end of this arm, it removes the program.
            _data_plane => {}
        }
        runtime.block_on(self.frontends.stop());
        if let Some(replica) = self.replica {
            replica.stop();
        }
        self.storage.stop();
    }
}

/// The table: that of the kernel, if it shares one.
fn storage(
    kernel: Option<&dataplane::Kernel>,
    config: &Config,
    size: &TableSize,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<MemoryStorage>> {
    let memory = match kernel {
        Some(kernel) => kernel.map_table(size),
        None => MappedMemory::anonymous(size),
    };
    let memory = memory.context("no memory for the table; make xdp.table smaller")?;
    let grace = kernel.map(dataplane::Kernel::grace);
    let origin = match kernel.and_then(dataplane::Kernel::inherited_table_key) {
        Some(key) => Origin::Adopted(key),
        None => Origin::New(secrets::table_key()?),
    };
    Ok(MemoryStorage::start(memory, size, origin, &config.storage.memory(), grace, metrics)?)
}

/// Makes connection ids: of the tracker before, where its table is taken over.
fn connection_key(
    kernel: Option<&dataplane::Kernel>,
    config: &Config,
) -> anyhow::Result<secrets::ConnectionKey> {
    if config.udp.private_key.is_none() && !config.udp.addr.is_empty() {
        tracing::info!(
            "udp.private_key is not set: connection ids end with the table that the kernel shares"
        );
    }
    match kernel.and_then(dataplane::Kernel::inherited_connection_key) {
        Some(key) => Ok(secrets::ConnectionKey::inherited(key)),
        None => secrets::ConnectionKey::new(),
    }
}
