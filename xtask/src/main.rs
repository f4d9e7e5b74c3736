//! Builds, runs and tests xdp-tracker.

mod apt;
mod build;
mod process;
mod setup;
mod toolchain;

use anyhow::Result;
use clap::Parser;

/// Builds, runs and tests xdp-tracker.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Verb {
    /// Find or install what compiles the XDP program: a rustc for the BPF target, and bpf-linker
    Setup,
    /// Compile the XDP program, then the daemon with it inside: target/release/xdp-tracker
    Build(build::Args),
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Setup => setup::run(),
        Verb::Build(args) => build::run(&args),
    }
}
