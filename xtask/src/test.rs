//! `cargo xtask test`: every test there is, and what they need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    apt::{self, NAMESPACE_PROGRAMS, Program},
    build,
    cargo_test::Totals,
    deb, embedder, process, simulate, vm,
};

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
    /// rustfmt, clippy, and clippy for each cargo feature alone
    Lint,
    /// What needs nothing but cargo, and the program that embeds the tracker
    Unit,
    /// The simulation, always of the same worlds, and loom's models
    Search,
    /// The XDP program in this machine's kernel, and before the verifiers of others: needs root and a BPF toolchain
    Kernel,
    /// Namespaces, and programs that we did not write: needs root, a BPF toolchain, the clients and Redis
    E2e,
    /// Restarts, kills and shortages under load: needs root and a BPF toolchain
    Faults,
    /// What is installed: the unit, and a Debian package that is built for it
    Package,
}

/// The clients, and what installs one of them.
const CLIENT_PROGRAMS: [Program; 7] = [
    ("aria2c", "aria2"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("transmission-create", "transmission-cli"),
    ("transmission-daemon", "transmission-daemon"),
    ("transmission-remote", "transmission-cli"),
    ("transmission-show", "transmission-cli"),
];

/// What trackers share.
const SERVER_PROGRAMS: [Program; 1] = [("redis-server", "redis-server")];

/// The firewall that the kernel's replies pass by.
const FIREWALL_PROGRAMS: [Program; 1] = [("nft", "nftables")];

/// What makes faults.
const FAULT_PROGRAMS: [Program; 2] = [("faketime", "faketime"), ("prlimit", "util-linux")];

/// What reads the unit, what looks into a package and finds what it depends on, and what finds its faults.
const PACKAGE_PROGRAMS: [Program; 4] = [
    ("systemd-analyze", "systemd"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("lintian", "lintian"),
];

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
        totals += match group.provide(object.as_deref()) {
            Ok(()) => group.run(object.as_deref(), &args.filters)?,
            Err(what) => {
                skipped.push(format!("xtask: SKIPPED group {}: {what:#}", group.name()));
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

    /// Installs what the group needs, where that can be done; the error names what it lacks.
    fn provide(self, object: Option<&Path>) -> Result<()> {
        match self {
            Self::Lint | Self::Unit | Self::Search => Ok(()),
            Self::Package => apt::provide(&PACKAGE_PROGRAMS),
            _ if !process::is_root() => bail!("needs root"),
            _ if object.is_none() => bail!("needs a BPF toolchain: `cargo xtask setup`"),
            Self::Kernel => vm::provide(),
            Self::E2e => install_clients()
                .and_then(|()| apt::provide(&SERVER_PROGRAMS))
                .and_then(|()| apt::provide(&FIREWALL_PROGRAMS)),
            Self::Faults => {
                apt::provide(&NAMESPACE_PROGRAMS).and_then(|()| apt::provide(&FAULT_PROGRAMS))
            }
        }
    }

    fn run(self, object: Option<&Path>, filters: &[String]) -> Result<Totals> {
        match self {
            Self::Lint => lint(object),
            Self::Unit => {
                let mut totals = Totals::of(build::cargo(object).arg("test").args(filters))?;
                totals += embedder::test(filters)?;
                Ok(totals)
            }
            Self::Search => search(filters),
            Self::Kernel => {
                let mut totals = Totals::of(self.ignored_tests(object)?.args(filters))?;
                if let Some(object) = object.filter(|_| filters.is_empty()) {
                    totals += verify_in_other_kernels(object);
                }
                Ok(totals)
            }
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
            // In there are files, and folders of several files with a `main.rs`; one of them is the faults'.
            _ => {
                let mut targets = process::rust_files("tests/tests")?;
                targets.extend(process::folders_with_main("tests/tests")?);
                targets.retain(|target| target != "faults");
                targets
            }
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

/// Before the verifiers of the oldest kernels that the program is for, where they can be had.
fn verify_in_other_kernels(object: &Path) -> Totals {
    let mut totals = Totals::default();
    if vm::has_kernels() {
        totals.count(vm::verify(object));
    } else {
        println!("xtask: SKIPPED other kernels' verifiers: apt knows no such packages of Debian");
        totals.skipped += 1;
    }
    totals
}

fn lint(object: Option<&Path>) -> Result<Totals> {
    let mut totals = Totals::default();
    let clippy = ["clippy", "--all-targets", "--", "--deny", "warnings"];
    let simulate = ["clippy", "--package", "simulate", "--all-targets", "--", "--deny", "warnings"];
    let loom = ["clippy", "--package", "loom-models", "--tests", "--", "--deny", "warnings"];
    for check in [["fmt", "--check"].as_slice(), &clippy, &simulate, &loom] {
        totals.count(process::run(build::cargo(object).args(check)));
    }
    totals += embedder::lint(object);
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

/// Installs the clients, and what makes the namespaces that they are in.
///
/// # Errors
/// A client is missing and cannot be had.
pub fn install_clients() -> Result<()> {
    apt::provide(&NAMESPACE_PROGRAMS)?;
    apt::provide(&CLIENT_PROGRAMS)?;
    if apt::is_usable() {
        apt::install(&["python3-libtorrent"])?;
    }
    // Debian's interpreter, to which Debian's bindings belong.
    let mut import = Command::new("/usr/bin/python3");
    let has_libtorrent = process::output(import.args(["-c", "import libtorrent"])).is_some();
    ensure!(has_libtorrent, "needs libtorrent for /usr/bin/python3");
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
