//! Our own tracker.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{Namespace, Program, eventually};

use super::{
    mode::{Certificate, Mode},
    on_last_processor,
};
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
    start_with(host, &udp(), mode, figures, folder)
}

/// Starts it over HTTP.
///
/// # Errors
/// It does not serve.
pub fn start_http(
    host: &Namespace,
    mode: Mode<'_>,
    figures: &Figures,
    folder: &Path,
) -> Result<Program> {
    let keeps = format!("max_numwant: 50, enable_keepalive: {}", mode.keeps);
    let http = match mode.certificate {
        None => format!("http: {{ addr: '[::]:{PORT}', {keeps} }}"),
        Some(Certificate { certificate, key }) => format!(
            "http: {{ https_addr: '[::]:{PORT}', tls_cert_path: {certificate:?}, \
             tls_key_path: {key:?}, {keeps} }}"
        ),
    };
    start_with(host, &http, "off", figures, folder)
}

/// Has a tracker that was started with an XDP program read a configuration with the limits that come with it.
/// With a hook, that wants the options of announces.
///
/// # Errors
/// It does not apply it.
pub fn use_default_limits(
    host: &Namespace,
    program: &Program,
    figures: &Figures,
    folder: &Path,
    with_hook: bool,
) -> Result<()> {
    let reloads = || -> Result<f64> {
        let metrics = metrics::read(host)?;
        Ok(metrics.sum("xdp_tracker_config_reloads_total", &[("outcome", "applied")]))
    };
    let hooks = if with_hook { HOOK } else { "" };
    let before = reloads()?;
    let config = configuration(&udp(), "native", figures, "", hooks);
    fs::write(config_path(folder, "native"), config)?;
    program.signal(Signal::SIGHUP)?;
    eventually(|| {
        ensure!(reloads()? > before, "the tracker has not reloaded");
        Ok(())
    })
}

fn udp() -> String {
    format!("udp: {{ addr: '[::]:{PORT}', max_numwant: 50, workers: 1 }}")
}

fn config_path(folder: &Path, mode: &str) -> PathBuf {
    folder.join(format!("xdp-tracker-{mode}.yaml"))
}

fn start_with(
    host: &Namespace,
    frontend: &str,
    mode: &str,
    figures: &Figures,
    folder: &Path,
) -> Result<Program> {
    let config = config_path(folder, mode);
    fs::write(&config, configuration(frontend, mode, figures, NO_LIMITS, ""))?;
    // Another build of the tracker can be measured, to compare with.
    let binary = std::env::var_os("XDP_TRACKER_BINARY")
        .map_or_else(|| process::root().join("target/release/xdp-tracker"), Into::into);
    let mut command = on_last_processor(host, &binary)?;
    command.arg("--config").arg(&config);
    let log = folder.join(format!("xdp-tracker-{mode}.log"));
    Program::start_until(&mut command, &log, || metrics::read(host))
}

/// The load comes from few addresses.
const NO_LIMITS: &str = "
    limits:
      misses_per_source: 0
      misses: 0
      passes_per_source: 0
      unproven_passes: 0
      peers_per_source: 0
      joins_per_source: 0
      torrents_per_source: 0";

/// Tells a service that is not there.
const HOOK: &str = "
  posthooks:
  - name: report
    options: { url: 'http://127.0.0.1:9/', parameters: [passkey] }";

fn configuration(
    frontend: &str,
    mode: &str,
    figures: &Figures,
    limits: &str,
    hooks: &str,
) -> String {
    format!(
        r#"chihaya:
  metrics_addr: "{metrics}"
  {frontend}
  storage:
    name: memory{hooks}
  xdp:
    interfaces: [{INTERFACE}]
    mode: {mode}{limits}
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
