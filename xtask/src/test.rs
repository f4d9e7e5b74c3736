//! `cargo xtask test`: every test there is, and what they need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use crate::{apt, build, cargo_test::Totals, deb, process, simulate};

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
    /// The simulation, always of the same worlds, and loom's models
    Search,
    /// The XDP program in this machine's kernel: needs root and a BPF toolchain
    Kernel,
    /// Namespaces, and programs that we did not write: needs root, a BPF toolchain, the clients and Redis
    E2e,
    /// Restarts, kills and shortages under load: needs root and a BPF toolchain
    Faults,
    /// What is installed: the unit, and a Debian package that is built for it
    Package,
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

/// What trackers share.
const SERVER_PROGRAMS: [(&str, &str); 1] = [("redis-server", "redis-server")];

/// What makes namespaces and faults.
const FAULT_PROGRAMS: [(&str, &str); 4] = [
    ("ethtool", "ethtool"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("prlimit", "util-linux"),
];

/// What reads the unit, and what looks into a package and finds what it depends on.
const PACKAGE_PROGRAMS: [(&str, &str); 3] =
    [("systemd-analyze", "systemd"), ("dpkg-deb", "dpkg"), ("dpkg-shlibdeps", "dpkg-dev")];

/// What npm installs: WebTorrent and its tracker client.
const NPM_PACKAGES: &str = "tests/scripts/package.json";

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
            Self::Search => "search",
            Self::Kernel => "kernel",
            Self::E2e => "e2e",
            Self::Faults => "faults",
            Self::Package => "package",
        }
    }

    /// What the group lacks even after an attempt to install it.
    fn missing(self, object: Option<&Path>) -> Option<String> {
        match self {
            Self::Lint | Self::Unit | Self::Search => None,
            Self::Package => install(&PACKAGE_PROGRAMS).err().map(|error| format!("{error:#}")),
            _ if !process::is_root() => Some("needs root".to_owned()),
            _ if object.is_none() => Some("needs a BPF toolchain: `cargo xtask setup`".to_owned()),
            Self::Kernel => None,
            Self::Faults => install(&FAULT_PROGRAMS).err().map(|error| format!("{error:#}")),
            Self::E2e => {
                let installed = install_clients().and_then(|()| install(&SERVER_PROGRAMS));
                installed.err().map(|error| format!("{error:#}"))
            }
        }
    }

    fn run(self, object: Option<&Path>, filters: &[String]) -> Result<Totals> {
        match self {
            Self::Lint => lint(object),
            Self::Unit => Totals::of(build::cargo(object).arg("test").args(filters)),
            Self::Search => search(filters),
            Self::Kernel => Totals::of(self.ignored_tests(object)?.args(filters)),
            Self::E2e | Self::Faults => {
                build::daemon(false, object)?;
                if self == Self::Faults {
                    // What is upgraded to.
                    build::daemon(true, object)?;
                }
                Totals::of(self.ignored_tests(object)?.args(filters))
            }
            Self::Package => {
                let package = deb::build(object)?;
                let mut tests = self.ignored_tests(object)?;
                Totals::of(tests.args(filters).env(deb::PACKAGE_VARIABLE, package))
            }
        }
    }

    fn skip(self, object: Option<&Path>, filters: &[String]) -> Result<Totals> {
        Totals::of_skipped(self.ignored_tests(object)?.arg("--list").args(filters))
    }

    /// The tests of the group, which are marked `#[ignore]`, for they need more than cargo.
    fn ignored_tests(self, object: Option<&Path>) -> Result<Command> {
        let targets = match self {
            Self::Kernel => vec!["kernel".to_owned()],
            Self::Package => vec!["packaging".to_owned()],
            Self::Faults => vec!["faults".to_owned()],
            // The faults have a folder of their own in there.
            _ => process::rust_files("tests/tests")?,
        };
        let package = match self {
            Self::Kernel | Self::Package => "tracker-user",
            _ => "tracker-tests",
        };
        let mut cargo = build::cargo(object);
        cargo.args(["test", "--no-fail-fast", "--package", package]);
        cargo.args(targets.iter().flat_map(|target| ["--test", target]));
        cargo.args(["--", "--ignored"]);
        Ok(cargo)
    }
}

fn lint(object: Option<&Path>) -> Result<Totals> {
    let mut totals = Totals::default();
    let clippy = ["clippy", "--all-targets", "--", "--deny", "warnings"];
    let simulate = ["clippy", "--package", "simulate", "--all-targets", "--", "--deny", "warnings"];
    let loom = ["clippy", "--package", "loom-models", "--tests", "--", "--deny", "warnings"];
    for check in [["fmt", "--check"].as_slice(), &clippy, &simulate, &loom] {
        totals.count(process::run(build::cargo(object).args(check)));
    }
    Ok(totals)
}

fn search(filters: &[String]) -> Result<Totals> {
    let mut totals = Totals::default();
    totals.count(simulate::run(&simulate::SMALL));
    for package in ["simulate", "loom-models"] {
        let mut tests = process::cargo();
        tests.args(["test", "--profile", "checked", "--package", package]).args(filters);
        totals += Totals::of(tests.env("RUST_BACKTRACE", "0"))?;
    }
    Ok(totals)
}

/// Installs programs by their packages; the error names what cannot be had.
fn install(programs: &[(&str, &str)]) -> Result<()> {
    if apt::is_usable() {
        let packages: Vec<_> = programs.iter().map(|(_, package)| *package).collect();
        apt::install(&packages)?;
    }
    let missing: Vec<_> = programs
        .iter()
        .map(|(program, _)| *program)
        .filter(|program| !process::on_path(program))
        .collect();
    ensure!(missing.is_empty(), "needs {}", missing.join(", "));
    Ok(())
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
    let packages = fs::read(process::root().join(NPM_PACKAGES))?;
    // Written last: what an interrupted installation leaves is not taken for whole, nor an older one.
    let installed = folder.join("installed.json");
    if fs::read(&installed).is_ok_and(|installed| installed == packages) {
        return Ok(());
    }
    println!("xtask: installing {NPM_PACKAGES} below {}", folder.display());
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("package.json"), &packages)?;
    let mut npm = Command::new("npm");
    // Scripts would compile or download; all that is native is in packages as well.
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]);
    process::run(npm.arg(&folder))?;
    Ok(fs::write(installed, packages)?)
}
