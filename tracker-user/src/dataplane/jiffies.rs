//! By which clock the program goes: [`Jiffies`].

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use nix::time::{ClockId, clock_getres};
use tracker_common::{
    abi::{Moment, name},
    time::Jiffies,
};

/// How the kernel's jiffies stand to its monotonic clock, by its own word.
///
/// # Errors
/// When [`name::CLOCK`] has not been loaded, or cannot be run.
pub fn jiffies(ebpf: &Ebpf) -> anyhow::Result<Jiffies> {
    // The coarse clocks are precise to a jiffy.
    let jiffy = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).context("clock_getres")?;
    let clock: &Xdp = ebpf.program(name::CLOCK).context("there is no xdp_clock")?.try_into()?;
    let mut moment = [0; size_of::<Moment>()];
    let frame = moment;
    clock.test_run(TestRunOptions {
        data_in: Some(&frame),
        data_out: Some(&mut moment),
        ..TestRunOptions::default()
    })?;
    let [counted, monotonic_ns] =
        [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|index| moment[at + index])));
    ensure!(counted != 0 && monotonic_ns != 0, "xdp_clock has not told the time");
    Ok(Jiffies::new(jiffy.tv_nsec() as u64, counted, monotonic_ns))
}
