//! Puts the parts together: from a configuration to a running tracker, and back down.

mod frontends;
mod hooks;
mod observe;
mod secrets;

use std::{io, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracker_common::connection::ConnectionIds;

use crate::{
    config::{Config, StorageConfig},
    dataplane::{self, DataPlane},
    metrics::Metrics,
    pipeline::Pipeline,
    storage::memory::{MappedMemory, MemoryStorage, TableSize},
};
use frontends::Frontends;

/// Tracks until SIGINT or SIGTERM.
///
/// # Errors
/// When something cannot be started; the message says what, and what to do about it.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("cannot start the threads of the async runtime")?;
    let metrics = Arc::new(Metrics::new()?);
    let StorageConfig::Memory(memory_config) = &config.storage else {
        anyhow::bail!("storage.name: only `memory` is supported");
    };

    let (pre_hooks, post_hooks) = (hooks::pre_hooks(config)?, hooks::post_hooks(config));
    let size = TableSize::of(&config.xdp.table);
    let kernel = dataplane::load(config, &size)?;
    let memory = match &kernel {
        Some(kernel) => kernel.map_table(&size),
        None => MappedMemory::anonymous(&size),
    };
    let memory = memory.context("no memory for the table; make xdp.table smaller")?;
    let grace = kernel.as_ref().map(dataplane::Kernel::grace);
    let storage =
        MemoryStorage::start(memory, &size, secrets::table_key()?, memory_config, grace, &metrics)?;

    let pipeline = Arc::new(ArcSwap::from_pointee(Pipeline::new(
        storage.clone(),
        pre_hooks,
        post_hooks,
        frontends::seconds(&config.announce_interval),
        frontends::seconds(&config.min_announce_interval),
    )));
    let connection_ids = ConnectionIds::new(
        secrets::connection_id_key(config.udp.private_key.as_ref())?,
        config.udp.connection_id_lifetime.as_secs(),
        config.udp.max_clock_skew.as_secs(),
    );

    let (stop, stopped) = watch::channel(());
    let frontends = {
        let _runtime = runtime.enter();
        Frontends::start(config, connection_ids, &metrics, &pipeline, &stopped)?
    };
    let data_plane = kernel
        .map(|kernel| {
            DataPlane::start(kernel, config, connection_ids, &storage, &pipeline, &metrics)
        })
        .transpose()?;
    tracing::info!("ready");

    let signal = runtime.block_on(wait_for_signal()).context("cannot wait for signals")?;
    tracing::info!("{signal}: shutting down");
    // The kernel first: it answers in the stead of those below.
    drop(data_plane);
    drop(stop);
    runtime.block_on(frontends.stop());
    storage.stop();
    Ok(())
}

async fn wait_for_signal() -> io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
