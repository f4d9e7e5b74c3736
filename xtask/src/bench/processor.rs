//! Who runs where, and before whom.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};
use tracker_tests::Program;

/// Of loads and of trackers, over whatever else the machine does: niceness.
pub const PRIORITY: i32 = -20;

/// How many processors there are.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps this thread on one processor, before others.
///
/// # Errors
/// We are not root, or there is no such processor.
pub fn claim(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    // SAFETY: the call takes no pointers. It concerns this thread only.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, PRIORITY) };
    ensure!(result == 0, "cannot put a load before other programs");
    Ok(())
}

/// The group that the kernel schedules this terminal's programs in, where it has such: niceness
/// counts within groups only.
const GROUP: &str = "/proc/self/autogroup";

/// This terminal's programs come before those of others until it is dropped.
pub struct Foreground {
    niceness_before: Option<String>,
}

impl Foreground {
    /// Puts them there, if it can.
    pub fn take() -> Self {
        let before = fs::read_to_string(GROUP).ok();
        let niceness = before.as_deref().and_then(|group| group.split_whitespace().last());
        let is_set = fs::write(GROUP, PRIORITY.to_string()).is_ok();
        Self { niceness_before: niceness.filter(|_| is_set).map(str::to_owned) }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Some(niceness) = &self.niceness_before
            && let Err(error) = fs::write(GROUP, niceness)
        {
            eprintln!("xtask: {GROUP} stays at {PRIORITY}: {error}");
        }
    }
}

/// Processor time of a program, in userspace and in the kernel on its behalf.
pub struct CpuClock {
    clock: ClockId,
    start: Duration,
}

impl CpuClock {
    /// Starts at zero.
    ///
    /// # Errors
    /// The program has ended.
    pub fn of(program: &Program) -> Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(program.id() as i32))?;
        Ok(Self { clock, start: clock.now()?.into() })
    }

    /// Since this was made.
    ///
    /// # Errors
    /// The program has ended.
    pub fn elapsed(&self) -> Result<Duration> {
        Ok(Duration::from(self.clock.now()?) - self.start)
    }
}
