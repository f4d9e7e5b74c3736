//! In the stead of the data plane, where the cargo feature `xdp` is off: all is served from userspace.

use std::{io, sync::Arc};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tracker_common::hash::{SipKey, TableKey};

use crate::{
    config::{AttachMode, Config},
    metrics::Metrics,
    pipeline::{Grant, GrantSink, Pipeline},
    storage::memory::{Grace, MappedMemory, MemoryStorage, TableSize},
    udp::UdpSettings,
};

pub(crate) const USERSPACE: &str = "serving from userspace only";

pub(crate) const WITHOUT_PINS: &str = "there are none";

pub(crate) const INSISTS: &str = "xdp.mode insists on the kernel; `auto` would do without";

/// The interfaces that the kernel would answer on.
///
/// # Errors
/// When `auto` cannot be resolved.
pub(crate) fn interfaces(config: &Config) -> anyhow::Result<Vec<String>> {
    if config.xdp.mode == AttachMode::Off || config.udp.addr.is_empty() {
        return Ok(Vec::new());
    }
    let names = config.xdp.interface_names();
    Ok(names.context("xdp.interfaces: `auto` cannot be resolved")?.into_iter().collect())
}

/// None is missed, since none is used.
pub(crate) fn missing_interfaces(_: &Config) -> Vec<anyhow::Error> {
    Vec::new()
}

/// Says that this build cannot use the kernel.
///
/// # Errors
/// Always.
pub(crate) fn check_host() -> anyhow::Result<()> {
    bail!("this build has no XDP program: its cargo feature `xdp` is off")
}

/// Says so in the log where the configuration names interfaces, and loads nothing.
///
/// # Errors
/// When the configuration insists on the kernel.
pub(crate) fn load(config: &Config, _: &TableSize) -> anyhow::Result<Option<Kernel>> {
    let is_wanted = interfaces(config).is_ok_and(|names| !names.is_empty());
    match check_host() {
        Err(error) if is_wanted && config.xdp.mode == AttachMode::Auto => {
            tracing::warn!("{USERSPACE}: {error:#}");
            Ok(None)
        }
        Err(error) if is_wanted => Err(error.context(INSISTS)),
        _ => Ok(None),
    }
}

/// What is wrong with the folder of pins.
#[expect(dead_code, reason = "there are no pins, of which something could be wrong")]
pub(crate) enum PinsError {
    InUse(anyhow::Error),
    Unusable(anyhow::Error),
}

/// There are no pins.
///
/// # Errors
/// None.
pub(crate) fn check_pins(_: &std::path::Path) -> Result<(), PinsError> {
    Ok(())
}

/// There is none.
pub(crate) enum Kernel {}

impl Kernel {
    pub(crate) fn map_table(&self, _: &TableSize) -> io::Result<MappedMemory> {
        match *self {}
    }

    pub(crate) fn grace(&self) -> Grace {
        match *self {}
    }

    pub(crate) fn inherited_table_key(&self) -> Option<TableKey> {
        match *self {}
    }

    pub(crate) fn inherited_connection_key(&self) -> Option<SipKey> {
        match *self {}
    }
}

/// There is none.
pub(crate) enum DataPlane {}

impl DataPlane {
    pub(crate) fn start(
        kernel: Kernel,
        _: &Config,
        _: &UdpSettings,
        _: &Arc<MemoryStorage>,
        _: &Arc<ArcSwap<Pipeline>>,
        _: &Grants,
        _: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        match kernel {}
    }

    pub(crate) fn reload(&self, _: &Config, _: &UdpSettings, _: Arc<Pipeline>, _: impl FnOnce()) {
        match *self {}
    }

    pub(crate) fn leave(self) {
        match self {}
    }
}

/// Grants are for the kernel.
#[derive(Debug, Default)]
pub(crate) struct Grants;

impl GrantSink for Grants {
    fn grant(&self, _: Grant) {}

    fn revoke_all(&self) {}
}
