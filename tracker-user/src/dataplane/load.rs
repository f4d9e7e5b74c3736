//! Loads the XDP program and creates its maps.

use std::{io, os::fd::AsFd};

use anyhow::{Context as _, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::Map,
    programs::{
        ProgramError, Xdp,
        links::FdLink,
        xdp::{XdpLink, XdpLinkId, XdpMode},
    },
};
use tracker_common::{
    abi::name,
    hash::{SipKey, TableKey},
    time::Jiffies,
};

use super::{
    grace,
    grants::GRANTS_MAX,
    jiffies::jiffies,
    link,
    lists::{LISTED_MAX, NETWORKS_MAX},
    pins::Pins,
    plan::NATIVE,
    refusal,
    state::State,
};
use crate::{
    config::{Config, LogLevel},
    storage::memory::{Grace, MappedMemory, TableSize},
};

/// The program, or nothing where the daemon was built without it.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracker-ebpf.o"));

/// Bytes of the ring buffer: 10,000 announces.
const EVENTS_BYTES: u32 = 1 << 20;

/// The maps that outlive the daemon, where anything does.
const PINNED: [&str; 7] = [
    name::STATE,
    name::COUNTERS,
    name::TORRENTS_V4,
    name::TORRENTS_V6,
    name::BLOCKS,
    name::BUDGETS,
    name::EVENTS,
];

/// Lines of the verifier's log that are worth showing: the reason is at the end.
const VERIFIER_LINES: usize = 6;

/// The program in the kernel, attached nowhere yet.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Option<Pins>,
    inherited: Option<State>,
}

/// Takes a map out of a loaded program, for one user to own it.
///
/// # Errors
/// When it is not there, or not what it should be.
pub(super) fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> anyhow::Result<T>
where
    T: TryFrom<Map>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| missing(name))?;
    map.try_into().with_context(|| missing(name))
}

/// The program's hold on an interface.
pub(super) enum Hold {
    /// It ends with this process.
    Own(XdpLinkId),
    /// It ends when its pin, named after the mode, is removed.
    Pinned(&'static str),
}

impl Kernel {
    /// Creates the maps for a table of this size, or takes those that are pinned, and has the program
    /// verified.
    ///
    /// # Errors
    /// When the kernel refuses, or there is no program.
    pub(super) fn load(
        config: &Config,
        size: &TableSize,
        pins: Option<Pins>,
    ) -> anyhow::Result<Self> {
        if OBJECT.is_empty() {
            bail!("this xdp-tracker was built without the XDP program; see `cargo xtask build`");
        }
        let log_level = log_level(config.xdp.log_level);
        let inherited = pins.as_ref().and_then(|pins| inherit(pins, size));
        let mut loader = EbpfLoader::new();
        for (pins, name) in pins.iter().flat_map(|pins| PINNED.map(|name| (pins, name))) {
            loader.map_pin_path(name, pins.map(name));
        }
        // Loading writes to the program's variables, those that are pinned too, by which the program before
        // still goes.
        if let Some(state) = &inherited {
            loader.override_global(name::STATE_VARIABLE, state, true);
        }
        let mut ebpf = loader
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .map_max_entries(name::TORRENTS_V4, size.buckets_v4)
            .map_max_entries(name::TORRENTS_V6, size.buckets_v6)
            .map_max_entries(name::BLOCKS, size.chunks)
            .map_max_entries(name::LISTED, LISTED_MAX)
            .map_max_entries(name::NETWORKS_V4, NETWORKS_MAX)
            .map_max_entries(name::NETWORKS_V6, NETWORKS_MAX)
            .map_max_entries(name::GRANTS, GRANTS_MAX)
            .map_max_entries(name::BUDGETS, size.meters())
            .map_max_entries(name::EVENTS, EVENTS_BYTES)
            .load(OBJECT)
            .context("the kernel refuses the XDP program's maps; is xdp.table too large?")?;
        for name in [name::PROGRAM, name::CLOCK] {
            program(&mut ebpf, name)?.load().map_err(|error| explain(name, error))?;
        }
        grace::prepare();
        Ok(Self { ebpf, pins, inherited })
    }

    /// The key of the table, where it is that of a daemon before.
    #[must_use]
    pub fn inherited_table_key(&self) -> Option<TableKey> {
        self.inherited.map(|state| state.config().shape.key)
    }

    /// And that of its connection ids.
    #[must_use]
    pub fn inherited_connection_key(&self) -> Option<SipKey> {
        self.inherited.map(|state| state.config().connection_ids.key())
    }

    /// Maps the table's maps, and the meters of sources, into this process.
    ///
    /// # Errors
    /// When that fails.
    pub fn map_table(&self, size: &TableSize) -> io::Result<MappedMemory> {
        let fd = |name| match self.ebpf.map(name) {
            Some(Map::Array(map)) => Ok(map.fd().as_fd()),
            _ => Err(io::Error::other(format!("the XDP program has no array {name}"))),
        };
        let (v4, v6) = (fd(name::TORRENTS_V4)?, fd(name::TORRENTS_V6)?);
        MappedMemory::of_maps(size, v4, v6, fd(name::BLOCKS)?, fd(name::BUDGETS)?)
    }

    /// How to wait until the kernel has let go of an address in the table.
    #[must_use]
    pub fn grace(&self) -> Grace {
        Box::new(grace::wait_for_kernel)
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
        take_map(&mut self.ebpf, name)
    }

    /// How the program is to tell the time.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn jiffies(&self) -> anyhow::Result<Jiffies> {
        jiffies(&self.ebpf).context("cannot tell the clock by which the XDP program goes")
    }

    /// The number by which the system knows the program.
    ///
    /// # Errors
    /// When it does not tell.
    pub(super) fn program_id(&mut self) -> anyhow::Result<u32> {
        Ok(program(&mut self.ebpf, name::PROGRAM)?.info()?.id())
    }

    /// Attaches the program to an interface that has none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn attach(&mut self, index: u32, mode: &'static str) -> anyhow::Result<Hold> {
        let xdp_mode = if mode == NATIVE { XdpMode::Driver } else { XdpMode::Skb };
        let program = program(&mut self.ebpf, name::PROGRAM)?;
        let id = program.attach_to_if_index(index, xdp_mode)?;
        let Some(pins) = &self.pins else { return Ok(Hold::Own(id)) };
        pins.pin(program.take_link(id)?.try_into()?, mode, index)?;
        Ok(Hold::Pinned(mode))
    }

    /// The kernel's words for why [`Kernel::attach`] has failed, where it has any.
    pub(super) fn refusal(&mut self, index: u32, mode: &str) -> Option<String> {
        let program = program(&mut self.ebpf, name::PROGRAM).ok()?.fd().ok()?;
        refusal::words(index, program.as_fd(), mode)
    }

    /// Puts the program in the place of that of a daemon before, which does not miss a packet. `None`
    /// when it had been attached in another mode, or not at all.
    pub(super) fn take_over(&mut self, index: u32, mode: &'static str) -> Option<Hold> {
        let pins = self.pins.as_ref()?;
        let link = pins.pinned(mode, index)?;
        let taken = replace(program(&mut self.ebpf, name::PROGRAM).ok()?, link.into(), index);
        match taken {
            Ok(()) => Some(Hold::Pinned(mode)),
            Err(error) => {
                tracing::debug!("a pinned link cannot be used: {error:#}");
                pins.unpin(mode, index);
                None
            }
        }
    }

    /// Detaches the program from an interface.
    pub(super) fn release(&mut self, hold: Hold, index: u32) {
        match hold {
            // It fails for an interface that is gone, and then there is nothing to detach from.
            Hold::Own(id) => {
                let _ = program(&mut self.ebpf, name::PROGRAM).map(|program| program.detach(id));
            }
            Hold::Pinned(mode) => {
                self.pins.iter().for_each(|pins| pins.unpin(mode, index));
            }
        }
    }

    /// Removes what is pinned and not used: links of other interfaces, tables of other versions.
    pub(super) fn tidy(&self, indices: &[u32]) {
        if let Some(pins) = &self.pins {
            pins.unpin_others(indices);
            pins.drop_other_versions();
        }
    }

    /// Leaves nothing behind.
    pub(super) fn remove(self) {
        if let Some(pins) = self.pins {
            pins.remove();
        }
    }

    /// All of it, for the logger.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// What belongs to the table that is pinned; or nothing, and no pins either.
fn inherit(pins: &Pins, size: &TableSize) -> Option<State> {
    let inherited = pins.inherited(size);
    match &inherited {
        Ok(Some(_)) => pins.check_others(EVENTS_BYTES, size.meters()),
        Ok(None) => pins.drop_maps(),
        Err(reason) => {
            tracing::warn!(
                "the table of the tracker before cannot be used, and its swarms are dropped: \
                 {reason}; has xdp.table been changed?"
            );
            pins.drop_maps();
        }
    }
    inherited.ok().flatten()
}

/// Exchanges the program of a link, and sees that the interface runs it.
fn replace(program: &mut Xdp, link: FdLink, index: u32) -> anyhow::Result<()> {
    let id = program.attach_to_link(XdpLink::try_from(link)?)?;
    // Not ours to detach: the pin keeps it.
    drop(program.take_link(id)?);
    if link::attached_program(index) != Some(program.info()?.id()) {
        bail!("it is that of another interface");
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| missing(name))?;
    program.try_into().with_context(|| missing(name))
}

fn missing(name: &str) -> String {
    format!("the embedded XDP program is of another version: it has no {name}")
}

fn explain(name: &str, error: ProgramError) -> anyhow::Error {
    let refused = format!("the kernel refuses the XDP program {name}");
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            anyhow!("{refused}: {io_error}\n{}", last_lines(&verifier_log.to_string()))
        }
        error => anyhow!(error).context(refused),
    }
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
