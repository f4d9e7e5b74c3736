//! `cargo xtask test`: every test there is, and what they need.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use crate::{apt, build, cargo_test::Totals, process};

/// What `cargo xtask test` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The groups to run; all when none is named
    groups: Vec<Group>,
    /// Run only tests whose names contain one of these
    #[arg(last = true)]
    filters: Vec<String>,
}

/// Tests that need the same.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// rustfmt and clippy
    Lint,
    /// What needs nothing but cargo
    Unit,
    /// The XDP program in this machine's kernel: needs root and a BPF toolchain
    Kernel,
    /// Namespaces and clients that we did not write: needs root, a BPF toolchain and the clients
    E2e,
    /// Restarts and kills under load: needs root and a BPF toolchain
    Faults,
}

/// The Debian packages of the clients, and of what builds namespaces.
pub const CLIENT_PACKAGES: &[&str] = &[
    "aria2",
    "ethtool",
    "iproute2",
    "python3-libtorrent",
    "transmission-cli",
    "transmission-daemon",
];

const WEBTORRENT: &str = "bittorrent-tracker@10.0.12";

/// Runs the groups.
///
/// # Errors
/// A test failed, or, where the variable `CI` is `true`, was skipped.
pub fn run(args: &Args) -> Result<()> {
    let groups = if args.groups.is_empty() { Group::value_variants() } else { &args.groups };
    let object = build::xdp_program()?;
    let mut totals = Totals::default();
    let mut skipped = Vec::new();
    for &group in groups {
        let started = Instant::now();
        println!("xtask: group {}", group.name());
        totals += match group.missing(object.as_deref()) {
            None => group.run(object.as_deref(), &args.filters)?,
            Some(what) => {
                skipped.push(format!("xtask: SKIPPED group {}: {what}", group.name()));
                group.skip(object.as_deref(), &args.filters)?
            }
        };
        println!("xtask: group {} took {} s", group.name(), started.elapsed().as_secs());
    }
    // At the end, where it is read.
    for what in skipped {
        println!("{what}");
    }
    println!("{totals}");
    ensure!(totals.failed == 0, "tests failed");
    if std::env::var("CI").is_ok_and(|ci| ci == "true") && totals.skipped > 0 {
        bail!("tests were skipped, which CI does not accept");
    }
    Ok(())
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Kernel => "kernel",
            Self::E2e => "e2e",
            Self::Faults => "faults",
        }
    }

    /// What the group lacks even after an attempt to install it.
    fn missing(self, object: Option<&Path>) -> Option<String> {
        match self {
            Self::Lint | Self::Unit => None,
            _ if !process::is_root() => Some("needs root".to_owned()),
            _ if object.is_none() => Some("needs a BPF toolchain: `cargo xtask setup`".to_owned()),
            Self::Kernel | Self::Faults => None,
            Self::E2e => install_clients().err().map(|error| format!("{error:#}")),
        }
    }

    fn run(self, object: Option<&Path>, filters: &[String]) -> Result<Totals> {
        match self {
            Self::Lint => lint(object),
            Self::Unit => Totals::of(build::cargo(object).arg("test").args(filters)),
            Self::Kernel | Self::E2e | Self::Faults => {
                if self != Self::Kernel {
                    build::daemon(false, object)?;
                }
                Totals::of(self.ignored_tests(object).args(filters))
            }
        }
    }

    fn skip(self, object: Option<&Path>, filters: &[String]) -> Result<Totals> {
        Totals::of_skipped(self.ignored_tests(object).arg("--list").args(filters))
    }

    /// The tests of one package that are marked `#[ignore]`, for they need more than cargo.
    fn ignored_tests(self, object: Option<&Path>) -> Command {
        let package = if self == Self::Kernel { "tracker-user" } else { "tracker-tests" };
        let mut cargo = build::cargo(object);
        cargo.args(["test", "--no-fail-fast", "--package", package]);
        cargo.args(if self == Self::Faults { &["--test", "restart"][..] } else { &["--tests"] });
        cargo.args(["--", "--ignored"]);
        cargo
    }
}

fn lint(object: Option<&Path>) -> Result<Totals> {
    let mut totals = Totals::default();
    let clippy = ["clippy", "--all-targets", "--", "--deny", "warnings"];
    for check in [["fmt", "--check"].as_slice(), &clippy] {
        totals.count(process::run(build::cargo(object).args(check)));
    }
    Ok(totals)
}

/// Installs the clients; the error names what is missing and cannot be had.
///
/// # Errors
/// A client is missing.
pub fn install_clients() -> Result<()> {
    if apt::is_usable() {
        apt::install(CLIENT_PACKAGES)?;
        if !process::on_path("npm") {
            apt::install(&["nodejs", "npm"])?;
        }
    }
    let programs = [
        "aria2c",
        "ethtool",
        "ip",
        "node",
        "npm",
        "nsenter",
        "setpriv",
        "transmission-create",
        "transmission-daemon",
        "transmission-remote",
    ];
    let mut missing: Vec<_> =
        programs.into_iter().filter(|program| !process::on_path(program)).collect();
    // Debian's interpreter, to which Debian's bindings belong.
    let mut import = Command::new("/usr/bin/python3");
    if process::output(import.args(["-c", "import libtorrent"])).is_none() {
        missing.push("libtorrent for /usr/bin/python3");
    }
    ensure!(missing.is_empty(), "needs {}", missing.join(", "));
    install_webtorrent()
}

fn install_webtorrent() -> Result<()> {
    let folder: PathBuf = process::root().join("target/npm");
    if folder.join("node_modules/bittorrent-tracker").is_dir() {
        return Ok(());
    }
    println!("xtask: installing {WEBTORRENT} below {}", folder.display());
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]);
    process::run(npm.arg("--prefix").arg(folder).arg(WEBTORRENT))
}
