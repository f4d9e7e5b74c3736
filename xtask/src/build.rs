//! `cargo xtask build`: the XDP program, then the daemon with it inside.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    process, setup,
    toolchain::{TARGET, Toolchain},
};

/// The variable that tells the daemon's build script which object to embed: an absolute path.
const OBJECT_VARIABLE: &str = "XDP_TRACKER_BPF_OBJECT";

/// What `cargo xtask build` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// Compile the daemon without optimisation: target/debug/xdp-tracker
    #[arg(long)]
    pub debug: bool,
}

/// Builds both halves, or the daemon alone where there is no BPF toolchain.
///
/// # Errors
/// Either half does not compile.
pub fn run(args: &Args) -> Result<()> {
    let object = xdp_program()?;
    let daemon = daemon(args.debug, object.as_deref())?;
    let kind = if object.is_some() { "with the XDP program" } else { "userspace-only" };
    println!("xtask: built {} ({kind})", daemon.display());
    Ok(())
}

/// Compiles the XDP program; `None` without a toolchain for it.
///
/// # Errors
/// It does not compile.
pub fn xdp_program() -> Result<Option<PathBuf>> {
    bpf("tracker-ebpf")
}

/// Compiles the package of a BPF program; `None` without a toolchain for it.
///
/// # Errors
/// It does not compile.
pub fn bpf(package: &str) -> Result<Option<PathBuf>> {
    let Some(toolchain) = setup::ensure()? else { return Ok(None) };
    // A folder of its own: sharing one with the host's compiler would rebuild both at every turn.
    let target_dir = process::root().join("target/bpf");
    let mut cargo = toolchain.compiler.cargo();
    cargo
        .args(["build", "--release", "--package", package, "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain))
        .env_remove("RUSTFLAGS");
    // Optimised in another way it may be more than the verifier walks through.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("CARGO_PROFILE_") {
            cargo.env_remove(variable);
        }
    }
    process::run(&mut cargo)?;
    Ok(Some(target_dir.join(TARGET).join("release").join(package)))
}

/// Compiles the daemon and returns its path.
///
/// # Errors
/// It does not compile.
pub fn daemon(debug: bool, object: Option<&Path>) -> Result<PathBuf> {
    let mut cargo = cargo(object);
    cargo.args(["build", "--package", "tracker-user"]);
    if !debug {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    let profile = if debug { "debug" } else { "release" };
    Ok(process::root().join("target").join(profile).join("xdp-tracker"))
}

/// A cargo that embeds the object in whatever daemon it compiles. All of xtask builds with it, since a
/// changed variable would compile the daemon anew.
pub fn cargo(object: Option<&Path>) -> Command {
    let mut cargo = process::cargo();
    if let Some(object) = object {
        cargo.env(OBJECT_VARIABLE, object);
    }
    cargo
}

/// The flags of the XDP program, in cargo's encoding: separated by the unit separator.
fn rustflags(toolchain: &Toolchain) -> String {
    let linker = format!("-Clinker={}", toolchain.linker.display());
    [
        "-Cdebuginfo=2",
        &linker,
        "-Clink-arg=--btf",
        // The first with 32-bit jumps and atomics that return the old value; Linux has it since 5.12.
        "-Ctarget-cpu=v3",
        // Wire formats are packed; without it every field is loaded byte by byte.
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ]
    .join("\x1f")
}
