//! Builds, runs and tests xdp-tracker.

mod apt;
mod bench;
mod build;
mod cargo_test;
mod deb;
mod demo;
mod embedder;
mod fuzz;
mod plot;
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
    /// Draw the figures of a benchmark as an SVG bar chart: docs/figures.svg
    Plot(plot::Args),
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
        Verb::Plot(args) => plot::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Sanitize(args) => sanitize::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Demo => demo::run(),
        Verb::Vm(args) => vm::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether a command line is understood. One letter stands for a number, `[A|B]` for either.
    fn is_understood(line: &str) -> bool {
        let line = line.split(" # ").next().unwrap_or_default();
        let (start, choices) = line.split_once('[').unwrap_or((line, ""));
        choices.trim_end_matches(']').split('|').all(|choice| {
            let words = start.split_whitespace().chain(choice.split_whitespace()).map(|word| {
                let is_number = word.len() == 1 && word.as_bytes()[0].is_ascii_uppercase();
                if is_number { "1" } else { word }
            });
            Verb::try_parse_from(words.skip(1)).is_ok()
        })
    }

    #[test]
    fn every_command_in_the_documents_is_understood() {
        let root = process::root();
        let mut files = vec![root.join("README.md"), root.join("Dockerfile")];
        files.extend(["CHANGELOG.md", "CONTRIBUTING.md"].map(|file| root.join(file)));
        files.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
        files.retain(|file| file.extension().is_none_or(|extension| extension == "md"));
        let mut shown = 0;
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
            let lines = text.lines().flat_map(|line| line.trim_start_matches("RUN ").split(" && "));
            let lines = lines.filter(|line| !line.contains('`')).map(|line| line.trim().to_owned());
            for line in quoted.chain(lines) {
                if line.starts_with("cargo xtask ") {
                    assert!(is_understood(&line), "{}: {line}", file.display());
                    shown += 1;
                }
            }
        }
        assert!(shown > 20, "only {shown} commands were found");
    }

    #[test]
    fn a_command_that_there_is_not_is_noticed() {
        assert!(is_understood("cargo xtask simulate --seed S --steps N"));
        assert!(is_understood("cargo xtask test    # every test"));
        assert!(
            !is_understood("cargo xtask tests") && !is_understood("cargo xtask bench [udp|tea]")
        );
    }
}
