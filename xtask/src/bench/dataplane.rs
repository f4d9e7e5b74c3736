//! `bench dataplane`: replies per second, counted where they arrive.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    loadgen::{Loadgen, Pace},
    metrics,
    profile::Profile,
    stats::Series,
    subject::{Kind, Subject},
};
use crate::{build, process};

/// What `cargo xtask bench dataplane` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The loads; all when none is named
    #[arg(long = "profile", value_enum)]
    profiles: Vec<Profile>,
    /// Who is measured, in turn; the first is what the others are compared to
    #[arg(long = "subject", value_enum, default_values_t = [Kind::Echo, Kind::Kernel])]
    subjects: Vec<Kind>,
    /// How often each one's turn comes
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Generator threads
    #[arg(long, default_value_t = 1)]
    generators: usize,
    /// The share of clients with an IPv6 address
    #[arg(long, default_value_t = 20)]
    ipv6_percent: u32,
}

/// Requests that may wait in a socket of 32 MiB: each keeps a page.
const WINDOW: u64 = 4096;

/// Measures.
///
/// # Errors
/// We are not root, there is no BPF toolchain, or a tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    ensure!(process::is_root(), "this benchmark makes network namespaces, which needs root");
    let object = build::xdp_program()?;
    build::daemon(false, object.as_deref())?;
    let loadgen = build::bpf("loadgen-ebpf")?.context("this benchmark needs a BPF toolchain")?;
    let profiles = if args.profiles.is_empty() {
        clap::ValueEnum::value_variants()
    } else {
        args.profiles.as_slice()
    };
    for profile in profiles {
        measure(args, *profile, &loadgen)?;
    }
    Ok(())
}

fn measure(args: &Args, profile: Profile, object: &std::path::Path) -> Result<()> {
    let figures = profile.figures();
    let list = figures.requests(args.ipv6_percent);
    let folder = TempDir::new()?;
    let mut loadgen =
        Loadgen::load(object, list.len().max(figures.clients as usize) as u32, figures.clients)?;
    let subjects: Vec<_> = (0u8..)
        .zip(&args.subjects)
        .map(|(number, kind)| {
            Subject::start(*kind, &mut loadgen, number, &figures, folder.path())
                .with_context(|| format!("starting {}", kind.name()))
        })
        .collect::<Result<_>>()?;
    for subject in &subjects {
        if subject.kind != Kind::Echo {
            populate(&loadgen, subject, &list)
                .with_context(|| format!("populating {}", subject.kind.name()))?;
        }
    }
    let mut series = vec![Series::default(); subjects.len()];
    for _ in 0..args.rounds {
        for (subject, series) in subjects.iter().zip(&mut series) {
            let pace = pace(args.generators, subject.kind);
            loadgen.prepare(&subject.cable, &list, &pace)?;
            loadgen.play(&subject.cable, list.len(), &pace, Duration::from_millis(200))?;
            let outcome = loadgen.play(
                &subject.cable,
                list.len(),
                &pace,
                Duration::from_secs_f64(args.seconds),
            )?;
            series.0.push(outcome.rate());
            eprintln!("{} {} {outcome:?}", profile.name(), subject.kind.name());
        }
    }
    println!("\n{:<12}{:<26}{:>14}{:>26}{:>12}", "profile", "", "replies/s", "spread", "ratio");
    for (subject, one) in subjects.iter().zip(&series) {
        println!(
            "{:<12}{:<26}{:>14.0}{:>26}{:>11.1}%",
            profile.name(),
            subject.kind.name(),
            one.median(),
            format!("{:.0}-{:.0}", one.min(), one.max()),
            100.0 * one.relative_to(&series[0]).median(),
        );
    }
    Ok(())
}

fn pace(generators: usize, kind: Kind) -> Pace {
    let window = kind.is_userspace().then_some(WINDOW);
    Pace { generators, window, faults: 0, interval: Duration::ZERO }
}

/// Announces every peer, again and again until the kernel answers no more of them than before.
fn populate(loadgen: &Loadgen, subject: &Subject, list: &[loadgen::Request]) -> Result<()> {
    let pace = Pace { generators: 1, window: Some(WINDOW), faults: 0, interval: Duration::ZERO };
    loadgen.prepare(&subject.cable, list, &pace)?;
    for lap in 0..3 {
        let outcome = loadgen.complete(&subject.cable, list.len(), &pace)?;
        eprintln!("populate {lap} {outcome:?}");
        let metrics = metrics::read(&subject.cable.far)?;
        eprintln!(
            "kernel {} user {}",
            metrics.requests(None, "kernel"),
            metrics.requests(None, "user")
        );
    }
    Ok(())
}
