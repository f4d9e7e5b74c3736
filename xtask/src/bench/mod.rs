//! `cargo xtask bench`: figures, beside those of other trackers.
//!
//! * `profile`: what trackers carry, as lists of requests;
//! * `loadgen`, `mapped`, `cable`, `socket_memory`: play them from within the kernel, over veth pairs;
//! * `loader`, `datagrams`, `requests`: likewise from userspace, over loopback;
//! * `subject`: who is asked; `metrics`, `program`: what is known of ours;
//! * `contest`: takes turns among them; `check`: looks at their replies;
//! * `processor`, `stats`, `report`: processors, turns, medians, spreads and tables;
//! * `dataplane`, with `hostile` and `sweep`, `udp`, with `aquatic_load`, `latency` and
//!   `memory`: a benchmark each.

mod aquatic_load;
mod cable;
mod check;
mod contest;
mod datagrams;
mod dataplane;
mod hostile;
mod latency;
mod loader;
mod loadgen;
mod mapped;
mod memory;
mod metrics;
mod processor;
mod profile;
mod program;
mod report;
mod requests;
mod socket_memory;
mod stats;
mod subject;
mod sweep;
mod udp;

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
    /// Replies per second of processor time of the daemon, over loopback
    Udp(udp::Args),
    /// How long replies take at half load
    Latency(latency::Args),
    /// What torrents and peers take in memory
    Memory(memory::Args),
}

/// Measures.
///
/// # Errors
/// Something needed is missing, or a tracker answers wrongly.
pub fn run(args: Args) -> Result<()> {
    let _foreground = processor::Foreground::take();
    let benches = match args.bench {
        Some(bench) => vec![bench],
        None => vec![
            Bench::Dataplane(dataplane::Args::all()),
            Bench::Udp(udp::Args::all()),
            Bench::Latency(latency::Args::all()),
            Bench::Memory(memory::Args::all()),
        ],
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
            Self::Udp(mut args) => {
                if quick {
                    args.shorten();
                }
                udp::run(&args)
            }
            Self::Latency(mut args) => {
                if quick {
                    args.shorten();
                }
                latency::run(&args)
            }
            Self::Memory(mut args) => {
                if quick {
                    args.shorten();
                }
                memory::run(&args)
            }
        }
    }
}

/// What was chosen by name, or all that there is.
fn or_all<T: clap::ValueEnum>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}
