//! What is measured: trackers, and the echo that they are held against.

pub mod aquatic;
pub mod http;
pub mod mode;
mod opentracker;
mod xdp_tracker;

use std::{
    net::Ipv4Addr,
    ops::{AddAssign, Sub},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use tracker_tests::{Namespace, Program};

use super::{
    cable::{Cable, FAR_V4, INTERFACE},
    loadgen::Loadgen,
    metrics,
    processor::{self, PRIORITY},
    profile::Figures,
};

/// One of those that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// Sends each request back: what any reply must cost
    Echo,
    /// xdp-tracker, answering in the kernel
    Kernel,
    /// xdp-tracker from userspace only
    Userspace,
    /// Debian's opentracker
    Opentracker,
    /// aquatic_udp over io_uring
    Aquatic,
    /// The same with as many workers as processors
    AquaticWhole,
}

/// Requests that were answered, by whom.
#[derive(Clone, Copy, Default, Debug)]
pub struct Answered {
    /// By the XDP program.
    pub by_kernel: f64,
    /// By the daemon.
    pub by_daemon: f64,
}

impl Answered {
    /// The share that the kernel answered.
    pub fn in_kernel(self) -> f64 {
        self.by_kernel / (self.by_kernel + self.by_daemon)
    }
}

impl Sub for Answered {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            by_kernel: self.by_kernel - before.by_kernel,
            by_daemon: self.by_daemon - before.by_daemon,
        }
    }
}

impl AddAssign for Answered {
    fn add_assign(&mut self, more: Self) {
        self.by_kernel += more.by_kernel;
        self.by_daemon += more.by_daemon;
    }
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Kernel => "xdp-tracker, kernel",
            Self::Userspace => "xdp-tracker, userspace",
            Self::Opentracker => "opentracker",
            Self::Aquatic => "aquatic_udp",
            Self::AquaticWhole => "aquatic_udp, all processors",
        }
    }

    /// Whether replies come from a process, which must not be overrun.
    pub fn is_userspace(self) -> bool {
        !matches!(self, Self::Echo | Self::Kernel)
    }

    /// Whether it is another's tracker.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Opentracker | Self::Aquatic | Self::AquaticWhole)
    }

    /// Whether replies shall have checksums. Those that come down the stack leave them to the NIC
    /// else.
    pub fn sends_checksums(self) -> bool {
        self == Self::Kernel
    }

    /// Installs what is not ours.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn install(self) -> Result<()> {
        match self {
            Self::Opentracker => opentracker::install(),
            Self::Aquatic | Self::AquaticWhole => aquatic::install(),
            Self::Echo | Self::Kernel | Self::Userspace => Ok(()),
        }
    }
}

/// One that runs, at the far end of a cable of its own.
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// How it is reached.
    pub cable: Cable,
    /// Killed when dropped.
    program: Option<Program>,
    figures: Figures,
    folder: PathBuf,
}

impl Subject {
    /// Starts it, with room for this load.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        kind: Kind,
        loadgen: &mut Loadgen,
        number: u8,
        figures: &Figures,
        folder: &Path,
    ) -> Result<Self> {
        let cable = loadgen.lay_cable(number)?;
        let host = &cable.far;
        if kind.sends_checksums() {
            host.run("ethtool", &["-K", INTERFACE, "tx", "off"])?;
        }
        let program = match kind {
            Kind::Echo => {
                loadgen.attach_echo(&cable)?;
                None
            }
            Kind::Kernel => Some(xdp_tracker::start(host, "native", figures, folder)?),
            _ => Some(start_in_userspace(kind, host, FAR_V4, figures, folder)?),
        };
        Ok(Self { kind, cable, program, figures: *figures, folder: folder.to_owned() })
    }

    /// Has our own tracker hold sources to the limits that it comes with, and, if wanted, tell a hook of options
    /// (BEP 41). Others have none.
    ///
    /// # Errors
    /// It does not reload.
    pub fn use_default_limits(&self, with_hook: bool) -> Result<()> {
        match &self.program {
            Some(program) if self.kind == Kind::Kernel => {
                let Self { cable, figures, folder, .. } = self;
                xdp_tracker::use_default_limits(&cable.far, program, figures, folder, with_hook)
            }
            _ => Ok(()),
        }
    }

    /// How many requests our own tracker has answered so far; of others it is not known.
    ///
    /// # Errors
    /// It does not say.
    pub fn answered(&self) -> Result<Answered> {
        if !matches!(self.kind, Kind::Kernel | Kind::Userspace) {
            return Ok(Answered::default());
        }
        let metrics = metrics::read(&self.cable.far)?;
        Ok(Answered {
            by_kernel: metrics.requests(None, "kernel"),
            by_daemon: metrics.requests(None, "user"),
        })
    }
}

/// Starts a tracker in userspace on a host that has this IPv4 address.
///
/// # Errors
/// It does not start, or `kind` is none.
pub fn start_in_userspace(
    kind: Kind,
    host: &Namespace,
    address: Ipv4Addr,
    figures: &Figures,
    folder: &Path,
) -> Result<Program> {
    match kind {
        Kind::Userspace => xdp_tracker::start(host, "off", figures, folder),
        Kind::Opentracker => opentracker::start(host, address, figures, folder),
        Kind::Aquatic => aquatic::start(host, address, folder, 1),
        Kind::AquaticWhole => aquatic::start(host, address, folder, processor::count()),
        Kind::Echo | Kind::Kernel => bail!("{} does not run in userspace", kind.name()),
    }
}

/// A command on a host, for a tracker with one worker: it stays on the last processor, where no
/// generator runs unless there are as many as processors.
fn on_last_processor(host: &Namespace, program: &Path) -> Result<Command> {
    on_last_processors(host, program, 1)
}

/// The same, for one with more workers.
fn on_last_processors(host: &Namespace, program: &Path, workers: usize) -> Result<Command> {
    let all = processor::count();
    let processors = format!("{}-{}", all.saturating_sub(workers), all - 1);
    ensure!(program.is_file(), "there is no {}", program.display());
    let mut command = host.command("nice");
    command.arg(format!("--adjustment={PRIORITY}"));
    command.args(["taskset", "--cpu-list", &processors]).arg(program);
    Ok(command)
}
