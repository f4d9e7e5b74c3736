//! `cargo xtask sanitize`: the tests of what has `unsafe` code, under LLVM's address sanitizer.
//!
//! Its runtime comes with the compiler, stable ones included; only the flag is one that they have to be
//! talked into.

use anyhow::Result;

use crate::process;

/// One of a host's names: flags given for it do not reach build scripts.
pub const HOST: &str = "x86_64-unknown-linux-gnu";

/// Turns the sanitizer on.
pub const ADDRESS: &str = "-Zsanitizer=address";

/// What `cargo xtask sanitize` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose names contain one of these
    #[arg(last = true)]
    filters: Vec<String>,
}

/// Runs the tests.
///
/// # Errors
/// A test failed, or touched memory that is none of its business.
pub fn run(args: &Args) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", "tracker-common", "--package", "tracker-user", "--lib"]);
    cargo.args(["--target", HOST, "--target-dir"]).arg(process::root().join("target/sanitize"));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", ADDRESS).env("RUSTC_BOOTSTRAP", "1");
    // Checks that are not optimised take minutes for a test.
    cargo.env("CARGO_PROFILE_TEST_OPT_LEVEL", "2");
    // What a test leaves behind is given back when its process ends.
    cargo.env("ASAN_OPTIONS", "detect_leaks=0");
    process::run(cargo.arg("--").args(&args.filters))
}
