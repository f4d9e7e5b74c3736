//! Loads the XDP program and creates its maps.

use std::{io, os::fd::AsFd};

use anyhow::{Context as _, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::Map,
    programs::{ProgramError, Xdp},
};
use tracker_common::abi::name;

use super::{
    grants::GRANTS_MAX,
    lists::{CLIENTS_MAX, NETWORKS_MAX},
    probe,
};
use crate::{
    config::{Config, HookConfig, LogLevel},
    storage::memory::{Grace, MappedMemory, TableSize},
};

/// The program, or nothing where the daemon was built without it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracker-ebpf.o"));

/// Bytes of the ring buffer where events are wanted: 10,000 announces.
const EVENTS_BYTES: u32 = 1 << 20;

/// The smallest ring buffer is a page.
const EVENTS_BYTES_MIN: u32 = 4096;

/// Lines of the verifier's log that are worth showing: the reason is at the end.
const VERIFIER_LINES: usize = 6;

/// The program in the kernel, attached nowhere yet.
pub struct Kernel {
    ebpf: Ebpf,
}

impl Kernel {
    /// Creates the maps for a table of this size and has the program verified.
    ///
    /// # Errors
    /// When the kernel refuses, or there is no program.
    pub(super) fn load(config: &Config, size: &TableSize) -> anyhow::Result<Self> {
        if OBJECT.is_empty() {
            bail!("this xdp-tracker was built without the XDP program; see `cargo xtask build`");
        }
        let log_level = log_level(config.xdp.log_level);
        let events = !config.posthooks.is_empty();
        let grants = config.prehooks.iter().any(|hook| matches!(hook, HookConfig::Jwt(_)));
        let mut ebpf = EbpfLoader::new()
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .map_max_entries(name::TORRENTS_V4, size.buckets_v4)
            .map_max_entries(name::TORRENTS_V6, size.buckets_v6)
            .map_max_entries(name::BLOCKS, size.chunks)
            .map_max_entries(name::CLIENTS, CLIENTS_MAX)
            .map_max_entries(name::NETWORKS_V4, NETWORKS_MAX)
            .map_max_entries(name::NETWORKS_V6, NETWORKS_MAX)
            .map_max_entries(name::GRANTS, if grants { GRANTS_MAX } else { 1 })
            .map_max_entries(name::EVENTS, if events { EVENTS_BYTES } else { EVENTS_BYTES_MIN })
            .load(OBJECT)
            .context("the kernel refuses the XDP program's maps; is xdp.table too large?")?;
        program(&mut ebpf)?.load().map_err(|error| match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                anyhow!("the kernel refuses the XDP program: {io_error}\n{}", last_lines(&log))
            }
            error => anyhow!(error).context("the kernel refuses the XDP program"),
        })?;
        Ok(Self { ebpf })
    }

    /// Maps the table's three maps into this process.
    ///
    /// # Errors
    /// When that fails.
    pub fn map_table(&self, size: &TableSize) -> io::Result<MappedMemory> {
        let fd = |name| match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok(map.fd().as_fd()),
            _ => Err(io::Error::other(format!("the XDP program has no array {name}"))),
        };
        let (v4, v6) = (fd(name::TORRENTS_V4)?, fd(name::TORRENTS_V6)?);
        MappedMemory::of_maps(size, v4, v6, fd(name::BLOCKS)?)
    }

    /// How to wait until the kernel has let go of an address in the table.
    #[must_use]
    pub fn grace(&self) -> Grace {
        Box::new(probe::wait_for_kernel)
    }

    /// Takes a map out, for one user to own it.
    ///
    /// # Errors
    /// When it is not there, or not what it should be.
    pub(super) fn take<T>(&mut self, name: &'static str) -> anyhow::Result<T>
    where
        T: TryFrom<Map>,
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        let map = self.ebpf.take_map(name).with_context(|| missing(name))?;
        map.try_into().with_context(|| missing(name))
    }

    /// The program, to be attached.
    pub(super) fn program(&mut self) -> anyhow::Result<&mut Xdp> {
        program(&mut self.ebpf)
    }

    /// All of it, for the logger.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

fn program(ebpf: &mut Ebpf) -> anyhow::Result<&mut Xdp> {
    let program = ebpf.program_mut(name::PROGRAM).with_context(|| missing(name::PROGRAM))?;
    program.try_into().with_context(|| missing(name::PROGRAM))
}

fn missing(name: &str) -> String {
    format!("the embedded XDP program is of another version: it has no {name}")
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(VERIFIER_LINES)..].join("\n")
}

/// As aya-log numbers them.
fn log_level(level: LogLevel) -> u8 {
    match level {
        LogLevel::Off => 0,
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}
