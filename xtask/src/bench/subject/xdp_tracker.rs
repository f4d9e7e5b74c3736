//! Our own tracker.

use std::{fs, path::Path};

use anyhow::Result;
use tracker_tests::{Namespace, Program};

use super::{
    http::{Certificate, Mode},
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
    let udp = format!("udp: {{ addr: '[::]:{PORT}', max_numwant: 50, workers: 1 }}");
    start_with(host, &udp, mode, figures, folder)
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

fn start_with(
    host: &Namespace,
    frontend: &str,
    mode: &str,
    figures: &Figures,
    folder: &Path,
) -> Result<Program> {
    let config = folder.join(format!("xdp-tracker-{mode}.yaml"));
    fs::write(&config, configuration(frontend, mode, figures))?;
    let binary = process::root().join("target/release/xdp-tracker");
    let mut command = on_last_processor(host, &binary)?;
    command.arg("--config").arg(&config);
    let log = folder.join(format!("xdp-tracker-{mode}.log"));
    Program::start_until(&mut command, &log, || metrics::read(host))
}

fn configuration(frontend: &str, mode: &str, figures: &Figures) -> String {
    format!(
        r#"chihaya:
  metrics_addr: "{metrics}"
  {frontend}
  storage:
    name: memory
  xdp:
    interfaces: [{INTERFACE}]
    mode: {mode}
    # The load comes from few addresses.
    limits:
      misses_per_source: 0
      misses: 0
      peers_per_source: 0
      joins_per_source: 0
      torrents_per_source: 0
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
