//! Debian's packages, where this is a Debian and we are root.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Result, ensure};

use crate::process;

/// A program, and the package that has it.
pub type Program = (&'static str, &'static str);

/// What namespaces are made of and entered with.
pub const NAMESPACE_PROGRAMS: [Program; 5] = [
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Installs those of `programs` that are missing, where that can be done.
///
/// # Errors
/// Some are missing and cannot be had; it names them.
pub fn provide(programs: &[Program]) -> Result<()> {
    let missing = || programs.iter().filter(|(program, _)| !process::on_path(program));
    if is_usable() {
        let packages: BTreeSet<_> = missing().map(|(_, package)| *package).collect();
        install(&Vec::from_iter(packages))?;
    }
    let names: Vec<_> = missing().map(|(program, _)| *program).collect();
    ensure!(names.is_empty(), "needs {}", names.join(", "));
    Ok(())
}

/// Whether packages can be installed.
pub fn is_usable() -> bool {
    process::is_root() && process::on_path("apt-get")
}

/// Installs those of `packages` that are missing.
///
/// # Errors
/// A package is not to be had, even after its list was updated.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("xtask: installing {}", missing.join(" "));
    process::run(&mut apt_get_install(&missing)).or_else(|_| {
        process::run(apt_get().args(["-q", "update"]))?;
        process::run(&mut apt_get_install(&missing))
    })
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", package]);
    process::output(&mut query).is_some_and(|status| status == "installed")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn apt_get_install(packages: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["-qq", "install", "--yes", "--no-install-recommends"]).args(packages);
    command
}
