//! `cargo xtask bench`: figures, beside those of other trackers.
//!
//! * `profile`: what trackers carry, as lists of requests;
//! * `loadgen`, `mapped`, `cable`, `socket_memory`: play them from within the kernel, over veth pairs;
//! * `loader`, `datagrams`, `requests`: likewise from userspace, over loopback;
//! * `subject`: who is asked; `metrics`, `program`: what is known of ours;
//! * `contest`: takes turns among them; `check`: looks at their replies;
//! * `processor`, `stats`, `report`: processors, turns, medians, spreads and tables;
//! * `dataplane`, with `hostile`, `attack` and `sweep`, `udp`, with `aquatic_load`, `latency`,
//!   `memory`, and `http`, with `wrk` and `web`: a benchmark each.

mod aquatic_load;
mod attack;
mod cable;
mod check;
mod contest;
mod datagrams;
mod dataplane;
mod hostile;
mod http;
mod latency;
mod loader;
mod loadgen;
mod mapped;
mod memory;
mod metrics;
mod processor;
pub mod profile;
mod program;
mod report;
mod requests;
mod socket_memory;
mod stats;
mod subject;
mod sweep;
mod udp;
mod web;
mod wrk;

use anyhow::{Result, ensure};
use clap::{CommandFactory as _, Parser as _};

use crate::{apt, build, process};

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

#[derive(clap::Parser)]
enum Bench {
    /// Replies per second of the XDP program, over a veth pair
    Dataplane(dataplane::Args),
    /// Replies per second of processor time of the daemon, over loopback
    Udp(udp::Args),
    /// Announces per second over HTTP
    Http(http::Args),
    /// What torrents and peers take in memory
    Memory(memory::Args),
    /// How long replies take at half load
    Latency(latency::Args),
}

/// Measures.
///
/// # Errors
/// We are not root, something needed is missing, or a tracker answers wrongly.
pub fn run(args: Args) -> Result<()> {
    ensure!(process::is_root(), "benchmarks make network namespaces, which needs root");
    apt::provide(&apt::NAMESPACE_PROGRAMS)?;
    let object = build::xdp_program()?;
    build::daemon(false, object.as_deref())?;
    let _foreground = processor::Foreground::take();
    let benches = args.bench.map_or_else(Bench::all, |bench| vec![bench]);
    for mut bench in benches {
        if args.quick {
            bench.shorten();
        }
        bench.run()?;
    }
    Ok(())
}

impl Bench {
    /// Every benchmark as it is when no more than its name is given.
    fn all() -> Vec<Self> {
        let command = Self::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        names.map(|name| Self::parse_from(["bench", name])).collect()
    }

    /// Makes it short: what was not asked for by name is left out.
    fn shorten(&mut self) {
        match self {
            Self::Dataplane(args) => args.shorten(),
            Self::Udp(args) => args.shorten(),
            Self::Http(args) => args.shorten(),
            Self::Memory(args) => args.shorten(),
            Self::Latency(args) => args.shorten(),
        }
    }

    fn run(&self) -> Result<()> {
        match self {
            Self::Dataplane(args) => dataplane::run(args),
            Self::Udp(args) => udp::run(args),
            Self::Http(args) => http::run(args),
            Self::Memory(args) => memory::run(args),
            Self::Latency(args) => latency::run(args),
        }
    }
}

/// What was chosen by name, or all that there is.
fn or_all<T: clap::ValueEnum>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}
