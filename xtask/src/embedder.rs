//! The program outside the workspace that embeds the tracker (`tests/embedder`), and the cargo features that such
//! programs choose from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    build,
    cargo_test::Totals,
    process::{self, root},
};

/// The features of `tracker-user`, in sets that have to compile without the others, as the library has to without any.
/// Each set more costs half a minute, so two features share one.
const FEATURES: [&str; 3] = ["", "cli,redis", "webtorrent,xdp"];

/// Builds the program with the crates that the workspace is locked to, in the workspace's target folder, and runs its
/// tests. Nothing is downloaded: they are a part of what the workspace needs.
///
/// # Errors
/// The program has no folder to be built in, or cargo cannot be started.
pub fn test(filters: &[String]) -> Result<Totals> {
    let manifest = manifest();
    let lock = manifest.with_file_name("Cargo.lock");
    fs::copy(root().join("Cargo.lock"), &lock)
        .with_context(|| format!("cannot write {}", lock.display()))?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--offline", "--manifest-path"]).arg(manifest);
    Totals::of(cargo.arg("--target-dir").arg(root().join("target")).args(filters))
}

/// Checks that the library compiles without a warning with some of its features, and without any; and that the program
/// above is written as the rest is.
///
/// # Errors
/// cargo cannot be started.
pub fn lint(object: Option<&Path>) -> Totals {
    let mut totals = Totals::default();
    for features in FEATURES {
        let mut clippy = build::cargo(object);
        clippy.args(["clippy", "--package", "tracker-user", "--lib", "--no-default-features"]);
        clippy.args(["--features", features, "--", "--deny", "warnings"]);
        totals.count(process::run(&mut clippy));
    }
    let mut fmt = process::cargo();
    fmt.args(["fmt", "--check", "--manifest-path"]).arg(manifest());
    totals.count(process::run(&mut fmt));
    totals
}

fn manifest() -> PathBuf {
    root().join("tests/embedder/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_of_the_tracker_is_checked_without_others() {
        let manifest = fs::read_to_string(root().join("tracker-user/Cargo.toml")).unwrap();
        let default = manifest.lines().find_map(|line| line.strip_prefix("default = ")).unwrap();
        let checked = FEATURES.iter().flat_map(|set| set.split(','));
        let checked: Vec<_> = checked
            .filter(|feature| !feature.is_empty())
            .map(|feature| format!("\"{feature}\""))
            .collect();
        assert_eq!(default, format!("[{}]", checked.join(", ")));
    }
}
