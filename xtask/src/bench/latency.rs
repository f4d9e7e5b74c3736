//! `bench latency`: how long a reply takes at half of the load that a tracker can bear, over a veth
//! pair.

use std::time::Duration;

use anyhow::{Context as _, Result};
use loadgen::Histogram;
use tempfile::TempDir;

use super::{
    contest::Contest,
    loadgen::Pace,
    or_all,
    profile::{Load, Profile},
    report::{self, Cell, Table},
    socket_memory::SocketMemory,
    stats::{Series, Turns},
    subject::Kind,
};
use crate::build;

/// What `cargo xtask bench latency` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The loads; hot and public when none is named
    #[arg(long = "profile", value_enum)]
    profiles: Vec<Profile>,
    /// Who is measured; all when none is named
    #[arg(long = "subject", value_enum)]
    subjects: Vec<Kind>,
    #[command(flatten)]
    turns: Turns,
}

impl Args {
    /// See [`super::Bench::shorten`].
    pub fn shorten(&mut self) {
        if self.profiles.is_empty() {
            self.profiles.push(Profile::Hot);
        }
        if self.subjects.is_empty() {
            self.subjects.extend([Kind::Kernel, Kind::Userspace]);
        }
        self.turns.shorten();
    }
}

const PERMILLES: [u64; 3] = [500, 990, 999];

/// Measures.
///
/// # Errors
/// There is no BPF toolchain, or a tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    let object = build::bpf("loadgen-ebpf")?.context("this benchmark needs a BPF toolchain")?;
    // An echo does not say which request it answers.
    let mut kinds = or_all(&args.subjects);
    kinds.retain(|kind| *kind != Kind::Echo);
    kinds.iter().try_for_each(|kind| kind.install())?;
    let _socket_memory = SocketMemory::raise()?;
    let mut table = Table::new(
        "Time to the reply at half load, over a veth pair, IPv4, one generator",
        &["profile", "subject", "requests/s", "p50 us", "p99 us", "p99.9 us", "answered"],
    );
    let profiles = match args.profiles.as_slice() {
        [] => &[Profile::Hot, Profile::Public],
        chosen => chosen,
    };
    for profile in profiles {
        let load = Load::new(profile.figures(), 0);
        let folder = TempDir::new()?;
        let mut contest = Contest::new(&object, &load, &kinds, folder.path())?;
        let rates = (0..kinds.len())
            .map(|index| Ok(contest.take_turn(index, 1, args.turns.time())?.rate() / 2.0))
            .collect::<Result<Vec<_>>>()?;
        let mut times = vec![[const { Series(Vec::new()) }; 3]; kinds.len()];
        let mut answered = vec![Series::default(); kinds.len()];
        for _ in 0..args.turns.rounds {
            for (index, rate) in rates.iter().enumerate() {
                let interval = Duration::from_secs_f64(1.0 / rate);
                let pace = Pace { interval, timed: true, ..Pace::FLAT_OUT };
                contest.loadgen.times();
                let outcome = contest.play(index, &pace, args.turns.time())?;
                let buckets = contest.loadgen.times();
                for (series, permille) in times[index].iter_mut().zip(PERMILLES) {
                    series.0.push(quantile_ns(&buckets, permille) / 1000.0);
                }
                answered[index].0.push(outcome.good() as f64 / outcome.sent as f64);
            }
        }
        for (index, kind) in kinds.iter().enumerate() {
            let [p50, p99, p999] = &times[index];
            table.push(vec![
                profile.name().into(),
                kind.name().into(),
                Cell::number(rates[index], 0),
                Cell::number(p50.median(), 1),
                Cell::number(p99.median(), 1),
                Cell::number(p999.median(), 1),
                Cell::ratio(answered[index].median()),
            ]);
        }
    }
    report::publish("latency", &[table])
}

/// The time that so many of 1,000 replies took at most, in ns.
fn quantile_ns(buckets: &[u64], permille: u64) -> f64 {
    let all: u64 = buckets.iter().sum();
    let mut sum = 0;
    let bucket = buckets.iter().position(|count| {
        sum += count;
        sum * 1000 >= all * permille
    });
    bucket.map_or(f64::NAN, |bucket| f64::from(Histogram::ns(bucket as u32 + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_end_of_the_bucket_that_reaches_it() {
        let mut buckets = vec![0; 100];
        (buckets[10], buckets[20]) = (990, 10);
        assert_eq!(quantile_ns(&buckets, 500), 11.0);
        assert_eq!(quantile_ns(&buckets, 990), 11.0);
        assert_eq!(quantile_ns(&buckets, 999), 21.0);
    }
}
