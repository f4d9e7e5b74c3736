//! What the kernel says of a loaded XDP program.

use anyhow::{Context as _, Result};
use aya::programs::{ProgramInfo, loaded_programs};
use serde_json::Value;
use tracker_tests::Namespace;

use super::{
    cable::INTERFACE,
    contest::Contest,
    stats::{Series, Turns},
};

/// The program that is attached on a host, as it was when it was asked for.
pub struct AttachedProgram(ProgramInfo);

/// How often a program has run, and how long in all.
struct Runs {
    count: u64,
    ns: u128,
}

impl AttachedProgram {
    /// How long the program of a subject runs, in ns: the median of turns of their own, for the
    /// kernel's counting takes time.
    ///
    /// # Errors
    /// As [`Contest::take_turn`].
    pub fn run_ns(contest: &mut Contest<'_>, index: usize, turns: &Turns) -> Result<f64> {
        let _counting = aya::sys::enable_stats(aya::sys::Stats::RunTime)?;
        let mut series = Series::default();
        for _ in 0..turns.rounds {
            let before = Self::on(&contest.subject(index).cable.far)?.runs();
            contest.take_turn(index, 1, turns.time())?;
            let after = Self::on(&contest.subject(index).cable.far)?.runs();
            series.0.push((after.ns - before.ns) as f64 / (after.count - before.count) as f64);
        }
        Ok(series.median())
    }

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

    fn runs(&self) -> Runs {
        Runs { count: self.0.run_count(), ns: self.0.run_time().as_nanos() }
    }
}
