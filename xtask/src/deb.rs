//! `cargo xtask deb`: the Debian package, with the manual page and the completions that the daemon
//! prints.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{build, process};

/// What goes into the package beside the daemon: its file, and the command that prints it.
const PRINTED: [(&str, &[&str]); 4] = [
    ("xdp-tracker.8", &["man"]),
    ("xdp-tracker.bash", &["completions", "bash"]),
    ("_xdp-tracker", &["completions", "zsh"]),
    ("xdp-tracker.fish", &["completions", "fish"]),
];

/// Builds the daemon, and packs it: target/debian/*.deb.
///
/// # Errors
/// Something does not compile, or `cargo-deb` is missing.
pub fn run() -> Result<()> {
    ensure!(process::on_path("cargo-deb"), "needs cargo-deb: `cargo install cargo-deb`");
    let object = build::xdp_program()?;
    let daemon = build::daemon(false, object.as_deref())?;
    print_files(&daemon, &process::root().join("target/package"))?;
    process::run(process::cargo().args(["deb", "--no-build", "--package", "tracker-user"]))
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
