//! aquatic_udp, with one worker over io_uring.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::Result;
use tracker_tests::{Namespace, Program, eventually};

use super::{on_last_processor, opentracker::answers};
use crate::{bench::cable::PORT, process};

/// Versions are pinned, for figures to be comparable.
const PACKAGES: [(&str, &[&str]); 2] = [
    // Its metrics need an older compiler than ours, and cost it a little.
    ("aquatic_udp@0.9.0", &["--no-default-features", "--features", "mimalloc,io-uring"]),
    ("aquatic_udp_load_test@0.9.0", &[]),
];

/// Compiles it and its load test, once.
///
/// # Errors
/// They do not compile.
pub fn install() -> Result<()> {
    let root = process::root().join("target/tools/aquatic");
    for (package, features) in PACKAGES {
        let name = package.split('@').next().unwrap_or(package);
        if root.join("bin").join(name).is_file() {
            continue;
        }
        println!("xtask: compiling {package}; this takes minutes, once");
        let mut cargo = process::cargo();
        cargo.args(["install", "--locked", package]).args(features);
        process::run(cargo.arg("--root").arg(&root))?;
    }
    Ok(())
}

/// Starts it.
///
/// # Errors
/// It does not serve.
pub fn start(host: &Namespace, address: Ipv4Addr, folder: &Path) -> Result<Program> {
    let config = folder.join("aquatic.toml");
    let text = format!(
        r#"socket_workers = 1
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
    let binary = process::root().join("target/tools/aquatic/bin/aquatic_udp");
    let mut command = on_last_processor(host, &binary)?;
    command.arg("-c").arg(&config);
    let mut program = Program::start(&mut command, &folder.join("aquatic.log"))?;
    eventually(|| {
        program.ensure_running()?;
        answers(host, address)
    })?;
    Ok(program)
}
