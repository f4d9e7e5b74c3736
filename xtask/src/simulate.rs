//! `cargo xtask simulate`: kernel and daemon at work on one table, one memory operation at a time.

use anyhow::Result;

use crate::process;

/// What `cargo xtask simulate` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The first world's seed; the others follow it. A world of the same seed comes out the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations on shared memory, at least
    #[arg(long, default_value_t = 100_000_000)]
    steps: u64,
}

/// What `cargo xtask test` does of it: always the same.
pub const SMALL: Args = Args { seed: 1, steps: 10_000_000 };

/// Simulates worlds until so many steps have been made.
///
/// # Errors
/// A peer was lost, doubled or torn: the seed of the world is printed.
pub fn run(args: &Args) -> Result<()> {
    let Args { seed, steps } = args;
    let seed_and_steps = [format!("--seed={seed}"), format!("--steps={steps}")];
    let mut cargo = process::cargo();
    cargo.args(["run", "--quiet", "--profile", "checked", "--package", "simulate", "--"]);
    // Shuttle's frames only.
    process::run(cargo.args(seed_and_steps).env("RUST_BACKTRACE", "0"))
}
