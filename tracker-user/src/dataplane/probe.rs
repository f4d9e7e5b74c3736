//! What this host can do, asked before anything is loaded, so that the answer is one sentence.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, bail};

/// The oldest kernel that the program is made for.
const KERNEL_MIN: (u32, u32) = (6, 13);

/// Waiting this long stands in for `membarrier` where that is refused: no XDP program runs longer.
const GRACE_FALLBACK: Duration = Duration::from_millis(100);

/// Capabilities by their bits in `/proc/self/status` (`linux/capability.h`).
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// `CAP_SYS_ADMIN` stands for the two that were once a part of it.
const SYS_ADMIN: u32 = 21;

/// Whether this process can load and attach the program here.
///
/// # Errors
/// What is missing.
pub(super) fn check_host() -> anyhow::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot tell the version of the kernel")?;
    check_kernel(&release)?;
    let missing = missing_now();
    if !missing.is_empty() {
        bail!("run as root, or grant {}", missing.join(", "));
    }
    Ok(())
}

/// Whether the program is made for kernels of this release.
///
/// # Errors
/// Which is needed.
pub(super) fn check_kernel(release: &str) -> anyhow::Result<()> {
    if version(release).is_some_and(|version| version < KERNEL_MIN) {
        let (major, minor) = KERNEL_MIN;
        bail!("the kernel is {}, and {major}.{minor} is needed", release.trim());
    }
    Ok(())
}

/// The capabilities that this process lacks.
pub(super) fn missing_now() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_capabilities(effective_capabilities(&status).unwrap_or(0))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let may = |bit: u32| has(bit) || bit > SYS_ADMIN && has(SYS_ADMIN);
    CAPABILITIES.iter().filter(|(bit, _)| !may(*bit)).map(|(_, name)| *name).collect()
}

/// Waits until no XDP program that runs now still does.
///
/// `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for an RCU grace period, and XDP programs run inside
/// RCU read-side sections. Hosts with `nohz_full` refuse it.
pub(super) fn wait_for_kernel() {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        thread::sleep(GRACE_FALLBACK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare_as_numbers() {
        assert_eq!(version("6.18.44-generic\n"), Some((6, 18)));
        assert_eq!(version("5.15.0+"), Some((5, 15)));
        assert!(version("6.13.0").unwrap() >= KERNEL_MIN);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn missing_capabilities_are_named() {
        let status = "Name:\tx\nCapEff:\t0000000000001000\nSeccomp:\t0\n";
        let effective = effective_capabilities(status).unwrap();
        assert_eq!(missing_capabilities(effective), ["CAP_PERFMON", "CAP_BPF"]);
        assert!(missing_capabilities(effective | 1 << SYS_ADMIN).is_empty());
        assert_eq!(missing_capabilities(0).len(), 3);
    }
}
