//! `cargo xtask setup`: a BPF toolchain, found or installed.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    apt, process,
    toolchain::{self, BPF_LINKER_VERSION, Compiler, Toolchain},
};

/// Debian's compiler, and `core` for BPF.
const COMPILER_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];

/// Finds or installs the toolchain, and says in one line what it took.
///
/// # Errors
/// An installation was tried and failed.
pub fn run() -> Result<()> {
    ensure()?;
    Ok(())
}

/// The toolchain; `None`, after saying how to get one, where none is to be had.
///
/// # Errors
/// As [`run`].
pub fn ensure() -> Result<Option<Toolchain>> {
    let Some(compiler) = find_or_install_compiler()? else {
        println!(
            "xtask: no BPF toolchain, so builds are userspace-only; get one with \
             `rustup toolchain install nightly --component rust-src`, or as root on Debian with \
             `apt-get install {}`, then `cargo xtask setup`",
            COMPILER_PACKAGES.join(" ")
        );
        return Ok(None);
    };
    let llvm_major = compiler.llvm_major()?;
    let linker = match toolchain::find_linker(llvm_major) {
        Some(linker) => linker,
        None => match install_linker(llvm_major)? {
            Some(linker) => linker,
            None => return Ok(None),
        },
    };
    let toolchain = Toolchain { compiler, linker };
    println!("xtask: the XDP program is compiled by {toolchain}");
    Ok(Some(toolchain))
}

fn find_or_install_compiler() -> Result<Option<Compiler>> {
    if let Some(compiler) = Compiler::find() {
        return Ok(Some(compiler));
    }
    if !apt::is_usable() {
        return Ok(None);
    }
    apt::install(COMPILER_PACKAGES)?;
    Ok(Compiler::find())
}

/// Compiles bpf-linker against the LLVM that the compiler has.
fn install_linker(llvm_major: u32) -> Result<Option<PathBuf>> {
    // g++ brings the C++ library, libpolly the one half of LLVM that its -dev package leaves out.
    let packages =
        ["g++", &format!("llvm-{llvm_major}-dev"), &format!("libpolly-{llvm_major}-dev")];
    if apt::is_usable() {
        apt::install(&packages)?;
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm_major}"));
    if !prefix.join("bin/llvm-config").is_file() {
        println!(
            "xtask: no bpf-linker {BPF_LINKER_VERSION} on PATH and no LLVM {llvm_major} to build it with, \
             so builds are userspace-only; get either, for instance as root on Debian with \
             `apt-get install {}`, then `cargo xtask setup`",
            packages.join(" ")
        );
        return Ok(None);
    }
    println!(
        "xtask: compiling bpf-linker {BPF_LINKER_VERSION} with LLVM {llvm_major}; this takes minutes, once"
    );
    let path =
        std::env::join_paths(std::iter::once(prefix.join("bin")).chain(process::path_folders()))?;
    process::run(
        process::cargo()
            .args(["install", "--locked", "--no-default-features", "--root"])
            .arg(toolchain::linker_root(llvm_major))
            .args(["--features", &format!("llvm-{llvm_major}")])
            .arg(format!("bpf-linker@{BPF_LINKER_VERSION}"))
            .env("LLVM_PREFIX", &prefix)
            .env("PATH", path),
    )?;
    toolchain::find_linker(llvm_major)
        .context("bpf-linker was installed and yet does not run")
        .map(Some)
}
