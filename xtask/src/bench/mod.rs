//! `cargo xtask bench`: figures, beside those of other trackers.
//!
//! * `profile`: what trackers carry, as lists of requests;
//! * `loadgen`, `mapped`, `cable`, `socket_memory`: play them from within the kernel, over veth pairs;
//! * `subject`: who is asked; `metrics`, `program`: what is known of ours;
//! * `contest`: takes turns among them; `check`: looks at their replies;
//! * `stats`, `report`: turns, medians, spreads and tables;
//! * `dataplane`, with `hostile` and `sweep`: one benchmark a module.

mod cable;
mod check;
mod contest;
mod dataplane;
mod hostile;
mod loadgen;
mod mapped;
mod metrics;
mod profile;
mod program;
mod report;
mod socket_memory;
mod stats;
mod subject;
mod sweep;

use anyhow::Result;

/// What `cargo xtask bench` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The benchmark; all when none is named
    #[command(subcommand)]
    bench: Option<Bench>,
    /// A short version, which shows that all works
    #[arg(long, global = true)]
    quick: bool,
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
pub fn run(args: Args) -> Result<()> {
    let benches = match args.bench {
        Some(bench) => vec![bench],
        None => vec![Bench::Dataplane(dataplane::Args::all())],
    };
    benches.into_iter().try_for_each(|bench| bench.run(args.quick))
}

impl Bench {
    fn run(self, quick: bool) -> Result<()> {
        match self {
            Self::Dataplane(mut args) => {
                if quick {
                    args.shorten();
                }
                dataplane::run(&args)
            }
        }
    }
}
