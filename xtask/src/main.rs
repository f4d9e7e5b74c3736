//! Builds, runs and tests xdp-tracker.

mod apt;
mod bench;
mod build;
mod cargo_test;
mod deb;
mod demo;
mod fuzz;
mod process;
mod run;
mod sanitize;
mod setup;
mod simulate;
mod soak;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

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
    /// Build, and make a Debian package of it
    Deb,
    /// Build, and run with config.yaml or with the arguments after `--`
    Run(run::Args),
    /// Run the tests; installs what they need where root may
    Test(test::Args),
    /// Measure, beside other trackers: what was run, the median, the spread and ratios
    Bench(bench::Args),
    /// Feed parsers, table and kernel with what nobody would send
    Fuzz(fuzz::Args),
    /// Run the tests of unsafe code under the address sanitizer
    Sanitize(sanitize::Args),
    /// Search for races: kernel and daemon on one table, interleaved at random, and the daemon killed
    Simulate(simulate::Args),
    /// Play the public profile through the kernel for long, and count what is there in the end
    Soak(soak::Args),
    /// Show a file going between three clients, and how much of it the kernel answered
    Demo,
    /// Boot other kernels under emulation, and test the program in each
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match run(Verb::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup => setup::run(),
        Verb::Build(args) => build::run(&args),
        Verb::Deb => deb::run(),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Sanitize(args) => sanitize::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Demo => demo::run(),
        Verb::Vm(args) => vm::run(&args),
    }
}
