//! `cargo xtask bench`: figures, beside those of other trackers.
//!
//! * `profile`: what trackers carry, as lists of requests;
//! * `loadgen`, `mapped`, `cable`: play them from within the kernel, over a veth pair;
//! * `subject`: who is asked; `metrics`: what ours says of itself;
//! * `stats`: medians and spreads;
//! * `dataplane`: one benchmark a module.

mod cable;
mod dataplane;
mod loadgen;
mod mapped;
mod metrics;
mod profile;
mod stats;
mod subject;

use anyhow::Result;

/// What `cargo xtask bench` accepts.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Replies per second of the XDP program, over a veth pair
    Dataplane(dataplane::Args),
}

/// Measures.
///
/// # Errors
/// Something needed is missing, or a tracker answers wrongly.
pub fn run(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Dataplane(args) => dataplane::run(args),
    }
}
