//! `cargo xtask deb`: the Debian package, with the manual page, the schema and the completions that the
//! daemon prints.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{build, process};

/// The version of cargo-deb that packs.
const CARGO_DEB_VERSION: &str = "3.8.0";

/// The variable that tells the tests which package to look into.
pub const PACKAGE_VARIABLE: &str = "XDP_TRACKER_DEB";

/// What goes into the package beside the daemon: its file, and the command that prints it.
const PRINTED: [(&str, &[&str]); 5] = [
    ("xdp-tracker.8", &["man"]),
    ("schema.json", &["schema"]),
    ("xdp-tracker.bash", &["completions", "bash"]),
    ("_xdp-tracker", &["completions", "zsh"]),
    ("xdp-tracker.fish", &["completions", "fish"]),
];

/// Makes the package, and says where it is.
///
/// # Errors
/// As [`build`].
pub fn run() -> Result<()> {
    let object = build::xdp_program()?;
    println!("xtask: made {}", build(object.as_deref())?.display());
    Ok(())
}

/// Builds the daemon, and packs it. Returns the package.
///
/// # Errors
/// Something does not compile, or `cargo-deb` is missing and cannot be installed.
pub fn build(object: Option<&Path>) -> Result<PathBuf> {
    let cargo_deb = cargo_deb()?;
    let daemon = build::daemon(false, object)?;
    print_files(&daemon, &process::root().join("target/package"))?;
    let package = process::root().join("target/debian/xdp-tracker.deb");
    let mut pack = Command::new(cargo_deb);
    pack.current_dir(process::root());
    // Without the line tables the binary has 12 MB instead of 52; `target/release` keeps them.
    pack.args(["--no-build", "--strip", "--package", "tracker-user"]);
    if let Some(maintainer) = maintainer() {
        pack.args(["--maintainer", &maintainer]);
    }
    process::run(pack.arg("--output").arg(&package))?;
    Ok(package)
}

/// The maintainer by the variables that Debian's own tools read.
fn maintainer() -> Option<String> {
    let [name, address] = ["DEBFULLNAME", "DEBEMAIL"].map(std::env::var);
    Some(format!("{} <{}>", name.ok()?, address.ok()?))
}

/// A cargo-deb of the pinned version: ours, else one on `PATH`, else compiled now.
fn cargo_deb() -> Result<PathBuf> {
    let root = process::root().join("target/tools/cargo-deb");
    let ours = root.join("bin/cargo-deb");
    let on_path = process::path_folders().into_iter().map(|folder| folder.join("cargo-deb"));
    let is_pinned = |program: &PathBuf| {
        let version = process::output(Command::new(program).arg("--version"));
        version.is_some_and(|version| version.ends_with(CARGO_DEB_VERSION))
    };
    if let Some(program) = std::iter::once(ours.clone()).chain(on_path).find(is_pinned) {
        return Ok(program);
    }
    println!("xtask: compiling cargo-deb {CARGO_DEB_VERSION}; this takes minutes, once");
    let mut install = process::cargo();
    install.args(["install", "--locked", "--root"]).arg(root);
    process::run(install.arg(format!("cargo-deb@{CARGO_DEB_VERSION}")))?;
    Ok(ours)
}

fn print_files(daemon: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, arguments) in PRINTED {
        let text = process::output(Command::new(daemon).args(arguments))
            .with_context(|| format!("`xdp-tracker {}` fails", arguments.join(" ")))?;
        fs::write(folder.join(name), text + "\n")?;
    }
    Ok(())
}
