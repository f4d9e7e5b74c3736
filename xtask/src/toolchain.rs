//! What compiles the XDP program: a rustc with `core` for the BPF target, and bpf-linker.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process;

/// The Rust target of the XDP program.
pub const TARGET: &str = "bpfel-unknown-none";

/// The version of bpf-linker that objects are linked with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// A Rust compiler that has, or can build, `core` for the BPF target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// rustup's nightly with the component `rust-src`: cargo compiles `core` too.
    Nightly,
    /// The distribution's compiler with its package of a compiled `core`.
    System,
}

impl Compiler {
    /// The compilers that are installed, the preferred one first.
    pub fn find() -> Option<Self> {
        [Self::Nightly, Self::System].into_iter().find(|compiler| compiler.has_core())
    }

    fn has_core(self) -> bool {
        let (what, path) = match self {
            Self::Nightly => {
                (["--print", "sysroot"].as_slice(), "lib/rustlib/src/rust/library/core")
            }
            Self::System => (["--print", "target-libdir", "--target", TARGET].as_slice(), ""),
        };
        let folder = process::output(self.rustc().args(what));
        folder.is_some_and(|folder| Path::new(&folder).join(path).is_dir())
    }

    fn rustc(self) -> Command {
        match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "rustc"]);
                command
            }
            Self::System => Command::new(SYSTEM_RUSTC),
        }
    }

    /// A cargo that builds the XDP program with this compiler.
    pub fn cargo(self) -> Command {
        match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
                command.current_dir(process::root());
                command
            }
            Self::System => {
                let mut command = process::cargo();
                // The program uses intrinsics that only a nightly admits to.
                command.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        }
    }

    /// The major version of the LLVM within.
    ///
    /// # Errors
    /// The compiler does not tell.
    pub fn llvm_major(self) -> Result<u32> {
        let version = process::output(self.rustc().arg("--version").arg("--verbose"));
        version
            .as_deref()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("LLVM version: ")))
            .and_then(|version| version.split('.').next()?.parse().ok())
            .with_context(|| format!("{self} does not say which LLVM it has"))
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nightly => "rustup's nightly",
            Self::System => SYSTEM_RUSTC,
        })
    }
}

/// Where `cargo xtask setup` puts a bpf-linker for one LLVM, so that a compiler with another LLVM
/// never meets the wrong one.
pub fn linker_root(llvm_major: u32) -> PathBuf {
    process::root().join(format!("target/tools/llvm-{llvm_major}"))
}

/// A bpf-linker of the pinned version: ours for this LLVM, else one on `PATH`, whose LLVM cannot be
/// told and is trusted to be recent enough.
pub fn find_linker(llvm_major: u32) -> Option<PathBuf> {
    std::iter::once(linker_root(llvm_major).join("bin"))
        .chain(process::path_folders())
        .map(|folder| folder.join("bpf-linker"))
        .find(|program| {
            let version = process::output(Command::new(program).arg("--version"));
            version.is_some_and(|text| text.ends_with(&format!(" {BPF_LINKER_VERSION}")))
        })
}

/// A compiler and a linker that go together.
pub struct Toolchain {
    /// Compiles to LLVM bitcode.
    pub compiler: Compiler,
    /// Turns the bitcode into one BPF object. Its LLVM must not be older than the compiler's.
    pub linker: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} {BPF_LINKER_VERSION}", self.compiler, self.linker.display())
    }
}
