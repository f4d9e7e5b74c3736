//! aquatic: its UDP tracker runs over io_uring.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tracker_tests::{Namespace, Program};

use super::{on_last_processors, opentracker::answers};
use crate::{bench::cable::PORT, process};

/// Versions are pinned, for figures to be comparable. The metrics of the trackers need an older
/// compiler than ours, and cost them a little.
const PACKAGES: [(&str, &str); 3] = [
    ("aquatic_udp@0.9.0", "mimalloc,io-uring"),
    ("aquatic_udp_load_test@0.9.0", ""),
    ("aquatic_http@0.9.0", "mimalloc"),
];

/// Compiles the trackers and the load test, once.
///
/// # Errors
/// They do not compile.
pub fn install() -> Result<()> {
    for (package, features) in PACKAGES {
        let name = package.split('@').next().unwrap_or(package);
        if binary(name).is_file() {
            continue;
        }
        println!("xtask: compiling {package}; this takes minutes, once");
        let mut cargo = process::cargo();
        cargo.args(["install", "--locked", "--no-default-features", "--features", features]);
        process::run(cargo.arg(package).arg("--root").arg(root()))?;
    }
    Ok(())
}

/// Where a program of these packages is.
pub fn binary(name: &str) -> PathBuf {
    root().join("bin").join(name)
}

fn root() -> PathBuf {
    process::root().join("target/tools/aquatic")
}

/// Starts it with so many workers.
///
/// # Errors
/// It does not serve.
pub fn start(
    host: &Namespace,
    address: Ipv4Addr,
    folder: &Path,
    workers: usize,
) -> Result<Program> {
    let config = folder.join(format!("aquatic-{workers}.toml"));
    let text = format!(
        r#"socket_workers = {workers}
[network]
address = "[::]:{PORT}"
socket_recv_buffer_size = 33554432
use_io_uring = true
[protocol]
max_response_peers = 50
peer_announce_interval = 1800
[cleaning]
max_peer_age = 1860
"#
    );
    fs::write(&config, text)?;
    let mut command = on_last_processors(host, &binary("aquatic_udp"), workers)?;
    command.arg("-c").arg(&config);
    Program::start_until(&mut command, &folder.join(format!("aquatic-{workers}.log")), || {
        answers(host, address)
    })
}
