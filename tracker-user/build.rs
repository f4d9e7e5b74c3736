//! Finds the XDP program's object file, to be embedded.
//!
//! `XDP_TRACKER_BPF_OBJECT` names it; else it is taken from where `cargo xtask build` leaves it. Without
//! one the daemon is built all the same, and serves from userspace only.

use std::{env, fs, path::PathBuf};

/// Below the root of the workspace.
const BUILT_BY_XTASK: &str = "target/bpf/bpfel-unknown-none/release/tracker-ebpf";

fn main() {
    println!("cargo::rerun-if-env-changed=XDP_TRACKER_BPF_OBJECT");
    let object = match env::var_os("XDP_TRACKER_BPF_OBJECT") {
        Some(object) => PathBuf::from(object),
        None => PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join("..")
            .join(BUILT_BY_XTASK),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("tracker-ebpf.o");
    let bytes = fs::read(&object).unwrap_or_default();
    fs::write(&embedded, bytes).unwrap();
}
