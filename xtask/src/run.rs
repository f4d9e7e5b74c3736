//! `cargo xtask run`: the tracker, built from this tree.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};

use crate::{build, process};

/// What `cargo xtask run` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments for xdp-tracker
    #[arg(last = true, default_values_os_t = [OsString::from("--config"), OsString::from("config.yaml")])]
    arguments: Vec<OsString>,
}

/// Builds the tracker and becomes it.
///
/// # Errors
/// It does not compile or cannot be started.
pub fn run(args: &Args) -> Result<()> {
    let object = build::xdp_program()?;
    let daemon = build::daemon(false, object.as_deref())?;
    if object.is_some() && !process::is_root() {
        println!(
            "xtask: XDP needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; going on userspace-only"
        );
    }
    let error = Command::new(&daemon).args(&args.arguments).current_dir(process::root()).exec();
    Err(error).with_context(|| format!("cannot start {}", daemon.display()))
}
