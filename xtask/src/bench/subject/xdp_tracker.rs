//! Our own tracker.

use std::{fs, path::Path};

use anyhow::Result;
use tracker_tests::{Namespace, Program, eventually};

use super::on_last_processor;
use crate::{
    bench::{
        cable::{INTERFACE, PORT},
        metrics,
        profile::Figures,
    },
    process,
};

/// Starts it with its XDP program attached in this mode.
///
/// # Errors
/// It does not serve.
pub fn start(host: &Namespace, mode: &str, figures: &Figures, folder: &Path) -> Result<Program> {
    let config = folder.join(format!("xdp-tracker-{mode}.yaml"));
    fs::write(&config, configuration(mode, figures))?;
    let binary = process::root().join("target/release/xdp-tracker");
    let mut command = on_last_processor(host, &binary)?;
    command.arg("--config").arg(&config);
    let log = folder.join(format!("xdp-tracker-{mode}.log"));
    let mut program = Program::start(&mut command, &log)?;
    eventually(|| {
        program.ensure_running()?;
        metrics::read(host)
    })?;
    Ok(program)
}

fn configuration(mode: &str, figures: &Figures) -> String {
    format!(
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
      torrents_ipv6: {torrents_v6}
      blocks: {blocks}
"#,
        metrics = metrics::ADDRESS,
        torrents = figures.torrents.max(1024),
        torrents_v6 = figures.torrents.clamp(1024, 1_000_000),
        blocks = figures.block_bytes(),
    )
}
