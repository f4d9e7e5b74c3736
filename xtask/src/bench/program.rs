//! What the kernel says of a loaded XDP program.

use anyhow::{Context as _, Result};
use aya::programs::{ProgramInfo, loaded_programs};
use serde_json::Value;
use tracker_tests::Namespace;

use super::cable::INTERFACE;

/// The program that is attached on a host, as it was when it was asked for.
pub struct AttachedProgram(ProgramInfo);

/// How often it has run, and how long in all.
#[derive(Clone, Copy)]
pub struct Runs {
    count: u64,
    ns: u128,
}

impl AttachedProgram {
    /// Finds it.
    ///
    /// # Errors
    /// There is none.
    pub fn on(host: &Namespace) -> Result<Self> {
        let links = host.run("ip", &["-json", "link", "show", INTERFACE])?;
        let links: Value = serde_json::from_str(&links)?;
        let id = links[0]["xdp"]["prog"]["id"].as_u64().context("no XDP program is attached")?;
        let program = loaded_programs()
            .filter_map(Result::ok)
            .find(|program| u64::from(program.id()) == id)
            .context("the XDP program is gone")?;
        Ok(Self(program))
    }

    /// Instructions that the verifier looked at.
    pub fn verified_instructions(&self) -> f64 {
        self.0.verified_instruction_count().map_or(f64::NAN, f64::from)
    }

    /// Bytes of BPF instructions, after the verifier's changes.
    pub fn translated_bytes(&self) -> f64 {
        self.0.size_translated().map_or(f64::NAN, f64::from)
    }

    /// Bytes of machine code.
    pub fn machine_code_bytes(&self) -> f64 {
        f64::from(self.0.size_jitted())
    }

    /// Its runs up to when this was asked; the kernel counts only while it is told to.
    pub fn runs(&self) -> Runs {
        Runs { count: self.0.run_count(), ns: self.0.run_time().as_nanos() }
    }
}

impl Runs {
    /// The mean duration of the runs since an earlier time, in ns.
    pub fn mean_ns_since(&self, before: &Self) -> f64 {
        (self.ns - before.ns) as f64 / (self.count - before.count) as f64
    }
}
