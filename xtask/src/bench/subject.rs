//! What is measured: trackers, and the echo that they are held against.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tracker_tests::{Program, eventually};

use super::{
    cable::{Cable, INTERFACE, PORT},
    loadgen::Loadgen,
    metrics,
    profile::Figures,
};
use crate::process;

/// One of those that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// Sends each request back: what any reply must cost
    Echo,
    /// xdp-tracker, answering in the kernel
    Kernel,
    /// xdp-tracker from userspace only
    Userspace,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Kernel => "xdp-tracker (kernel)",
            Self::Userspace => "xdp-tracker (userspace)",
        }
    }

    /// Whether replies come from a process, which must not be overrun.
    pub fn is_userspace(self) -> bool {
        matches!(self, Self::Userspace)
    }
}

/// One that runs, at the far end of a cable of its own.
pub struct Subject {
    pub kind: Kind,
    pub cable: Cable,
    /// Killed when dropped.
    _program: Option<Program>,
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
        let program = match kind {
            Kind::Echo => {
                loadgen.attach_echo(&cable)?;
                None
            }
            Kind::Kernel => Some(xdp_tracker(&cable, "native", figures, folder)?),
            Kind::Userspace => Some(xdp_tracker(&cable, "off", figures, folder)?),
        };
        Ok(Self { kind, cable, _program: program })
    }
}

fn xdp_tracker(cable: &Cable, mode: &str, figures: &Figures, folder: &Path) -> Result<Program> {
    let torrents = figures.torrents.max(1024);
    let config = folder.join(format!("xdp-tracker-{mode}.yaml"));
    let text = format!(
        r#"chihaya:
  metrics_addr: "{metrics}"
  udp:
    addr: "[::]:{PORT}"
    max_numwant: 50
    workers: 1
  storage:
    name: memory
  xdp:
    interfaces: [{INTERFACE}]
    mode: {mode}
    table:
      torrents_ipv4: {torrents}
      torrents_ipv6: {torrents}
      blocks: {blocks}
"#,
        metrics = metrics::ADDRESS,
        blocks = figures.block_bytes(),
    );
    fs::write(&config, text)?;
    let binary = process::root().join("target/release/xdp-tracker");
    let mut command = cable.far.command(binary.to_str().context("path is not UTF-8")?);
    command.arg("--config").arg(&config);
    let mut program =
        Program::start(&mut command, &folder.join(format!("xdp-tracker-{mode}.log")))?;
    eventually(|| {
        program.ensure_running()?;
        metrics::read(&cable.far)
    })?;
    Ok(program)
}
