//! `cargo xtask fuzz`: libFuzzer on every parser and on the table, and mutated packets through the
//! kernel.
//!
//! The programs are built by a stable compiler: coverage comes from LLVM's pass, which needs no
//! nightly, and the address sanitizer from the runtime that the compiler ships.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    apt, build, process,
    sanitize::{ADDRESS, HOST},
};

/// What `cargo xtask fuzz` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// For how long, all targets together
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The targets; all, and as root the kernel, when none is named
    targets: Vec<String>,
}

/// What instruments the code: see libFuzzer's documentation. The address sanitizer is last.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    ADDRESS,
];

/// Where the targets are: a program each.
const TARGETS: &str = "tests/fuzz/fuzz_targets";

/// Packets that the kernel is given in one run of the test.
const KERNEL_PACKETS: u64 = 100_000;

/// Fuzzes, and prints what was tried and found.
///
/// # Errors
/// Something was found.
pub fn run(args: &Args) -> Result<()> {
    if apt::is_usable() {
        apt::install(&["g++"])?;
    }
    let targets =
        if args.targets.is_empty() { process::rust_files(TARGETS)? } else { args.targets.clone() };
    let folder = compile(&targets)?;
    let with_kernel = args.targets.is_empty() && process::is_root();
    let shares = targets.len() as u64 + u64::from(with_kernel);
    let share = Duration::from_secs(args.minutes * 60 / shares.max(1));
    let mut lines = Vec::new();
    let mut found = 0;
    for target in &targets {
        println!("xtask: fuzzing {target} for {} s", share.as_secs());
        let report = fuzz(&folder, target, share)?;
        found += report.crashes.len();
        lines.push(report.line(target));
    }
    if with_kernel {
        match kernel(share)? {
            Some(Ok(packets)) => {
                lines.push(format!("kernel    {packets:>12} packets, nothing found"));
            }
            Some(Err(error)) => {
                found += 1;
                lines.push(format!("kernel    FOUND: {error:#}"));
            }
            None => lines.push("kernel    SKIPPED: needs a BPF toolchain".to_owned()),
        }
    }
    lines.iter().for_each(|line| println!("{line}"));
    ensure!(found == 0, "found {found}");
    Ok(())
}

/// Compiles the programs. Returns the folder that they are in.
fn compile(targets: &[String]) -> Result<PathBuf> {
    let target_dir = process::root().join("target/fuzz");
    let mut cargo = process::cargo();
    cargo.args(["build", "--package", "fuzz", "--features", "libfuzzer", "--profile", "checked"]);
    cargo.args(["--target", HOST, "--target-dir"]).arg(&target_dir);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    // The sanitizer's flag is one that a stable compiler has to be talked into.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")).env("RUSTC_BOOTSTRAP", "1");
    process::run(&mut cargo)?;
    Ok(target_dir.join(HOST).join("checked"))
}

/// What was tried on a target, and found.
struct Report {
    runs: String,
    coverage: String,
    crashes: Vec<PathBuf>,
}

/// Fuzzes one target, from its corpus in the tree on. New inputs are kept below `target`, and those
/// that something was found with beside the corpus.
fn fuzz(folder: &Path, target: &str, share: Duration) -> Result<Report> {
    let tree = process::root().join("tests/fuzz");
    let (corpus, artifacts) =
        (tree.join("corpus").join(target), tree.join("artifacts").join(target));
    let work = process::root().join("target/fuzz/corpus").join(target);
    for folder in [&artifacts, &work] {
        fs::create_dir_all(folder)?;
    }
    let before = files(&artifacts)?;
    let mut fuzzer = Command::new(folder.join(target));
    fuzzer.arg(format!("-max_total_time={}", share.as_secs().max(1)));
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"]);
    // Mappings that outlive an input are seen as growth, not as leaks.
    fuzzer.args(["-detect_leaks=0"]).arg(&work).arg(&corpus);
    let output = fuzzer.stderr(Stdio::piped()).output().context("the fuzzer cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let crashes: Vec<_> =
        files(&artifacts)?.into_iter().filter(|file| !before.contains(file)).collect();
    if !output.status.success() {
        println!("{said}");
        for crash in &crashes {
            show(folder, target, crash)?;
        }
        ensure!(!crashes.is_empty(), "the fuzzer of {target} failed: {}", output.status);
    }
    let after = |line: &str, word: &str| {
        let rest = line.split_once(word)?.1;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let last = |word: &str| said.lines().rev().find_map(|line| after(line, word));
    Ok(Report {
        runs: last("stat::number_of_executed_units:").unwrap_or_default(),
        coverage: format!(
            "{} edges covered, corpus of {}",
            last(" cov: ").unwrap_or_default(),
            last(" corp: ").unwrap_or_default(),
        ),
        crashes,
    })
}

impl Report {
    fn line(&self, target: &str) -> String {
        let found = match self.crashes.len() {
            0 => "nothing found".to_owned(),
            n => format!("FOUND {n}"),
        };
        format!("{target:<9} {:>12} inputs, {}, {found}", self.runs, self.coverage)
    }
}

/// Prints an input that something was found with.
fn show(folder: &Path, target: &str, crash: &Path) -> Result<()> {
    println!("xtask: {target} fails on {}:", crash.display());
    println!("{}", fs::read(crash)?.escape_ascii());
    println!("xtask: again with `{} {}`", folder.join(target).display(), crash.display());
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

/// Mutated packets through the XDP program, by the test that knows what must hold. Returns how many, or
/// what was found; nothing where the program cannot be compiled.
fn kernel(share: Duration) -> Result<Option<Result<u64>>> {
    let Some(object) = build::xdp_program()? else { return Ok(None) };
    let (begun, mut packets) = (Instant::now(), 0);
    while packets == 0 || begun.elapsed() < share {
        let mut cargo = build::cargo(Some(&object));
        cargo.args(["test", "--quiet", "--package", "tracker-user", "--test", "kernel"]);
        cargo.args(["--", "--ignored", "any_packet"]);
        cargo.env("XDP_TRACKER_CASES", KERNEL_PACKETS.to_string());
        cargo.env("XDP_TRACKER_SEED", (packets / KERNEL_PACKETS + 8).to_string());
        if let Err(error) = process::run(cargo.stdout(Stdio::null())) {
            return Ok(Some(Err(error)));
        }
        packets += KERNEL_PACKETS;
    }
    Ok(Some(Ok(packets)))
}
