//! `cargo xtask vm`: the program in kernels other than this machine's.
//!
//! Debian's kernel packages are booted under emulation, each with the tests of the XDP program and
//! one of the whole daemon inside. Nothing of a guest outlives it, and it has no network but its own.

mod guest;
mod kernel;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use self::{guest::Guest, kernel::Kernel};
use crate::{apt, build};

/// What makes a guest and boots it.
const PACKAGES: &[&str] = &["busybox-static", "cpio", "qemu-system-x86", "xz-utils"];

/// The oldest kernels that the program is for, and what has come between these and this machine's.
const KERNELS: [&str; 2] = ["linux-image-6.1.*-cloud-amd64", "linux-image-6.12.*-cloud-amd64"];

/// What `cargo xtask vm` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// Patterns for the names of Debian's kernel packages; of each, the newest is taken
    #[arg(default_values = KERNELS)]
    kernels: Vec<String>,
    /// Requests of each differential test, and torrents of the daemon's
    #[arg(long, default_value_t = 300)]
    cases: u32,
    /// Seconds after which a guest is given up
    #[arg(long, default_value_t = 1800)]
    timeout: u32,
    /// Run only tests whose names contain one of these
    #[arg(last = true)]
    filters: Vec<String>,
}

/// Boots each kernel and prints a line for it.
///
/// # Errors
/// A tool or a kernel cannot be had, or a test failed in one.
pub fn run(args: &Args) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "guests are x86-64, as the tests they run must be");
    provide()?;
    let object = build::xdp_program()?.context("needs a BPF toolchain: `cargo xtask setup`")?;
    let daemon = build::daemon(false, Some(&object))?;
    let tests = [
        test_binary("tracker-user", "kernel", &object)?,
        test_binary("tracker-tests", "kernel_share", &object)?,
    ];
    boot_each(args, &tests, &[&object, &daemon])
}

/// Has the verifiers of the oldest kernels that the program is for look at it, which takes a minute. Each kernel's
/// verifier derives less than that of the next.
///
/// # Errors
/// As for [`run`].
pub fn verify(object: &Path) -> Result<()> {
    let args = Args {
        kernels: KERNELS.map(str::to_owned).into(),
        cases: 1,
        timeout: 600,
        filters: vec!["the_program_stays".to_owned()],
    };
    boot_each(&args, &[test_binary("tracker-user", "kernel", object)?], &[object])
}

/// Whether apt knows the packages that [`verify`] boots.
pub fn has_kernels() -> bool {
    cfg!(target_arch = "x86_64") && KERNELS.iter().all(|pattern| Kernel::name(pattern).is_some())
}

/// Installs what makes a guest and boots it.
///
/// # Errors
/// Something is missing and cannot be had.
pub fn provide() -> Result<()> {
    if apt::is_usable() {
        apt::install(PACKAGES)?;
    }
    apt::provide(&apt::NAMESPACE_PROGRAMS)
}

fn boot_each(args: &Args, tests: &[PathBuf], files: &[&Path]) -> Result<()> {
    let mut lines = Vec::new();
    let mut failed = false;
    for pattern in &args.kernels {
        let kernel = Kernel::fetch(pattern)?;
        println!("xtask: booting {}", kernel.release);
        let guest = Guest::build(&kernel, tests, files, &args.filters, args.cases)?;
        let mut outcome = guest.boot(&kernel, args.timeout)?;
        if !outcome.began {
            // Emulated processors now and then do not see code that another one has just patched.
            println!("{}\nxtask: it did not come as far as the tests; once more", outcome.output);
            outcome = guest.boot(&kernel, args.timeout)?;
        }
        if !outcome.succeeded {
            failed = true;
            println!("{}", outcome.output);
        }
        lines.push(format!("{}: {}", kernel.release, outcome.summary()));
    }
    for line in lines {
        println!("{line}");
    }
    ensure!(!failed, "a kernel did not pass");
    Ok(())
}

/// Compiles a test and returns its path.
fn test_binary(package: &str, name: &str, object: &Path) -> Result<PathBuf> {
    let mut cargo = build::cargo(Some(object));
    cargo.args(["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--package", package, "--test", name]);
    let output =
        cargo.stderr(std::process::Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the test {name} does not compile");
    let of_test = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    };
    let messages = String::from_utf8(output.stdout)?;
    messages.lines().find_map(of_test).context("cargo names no executable")
}
