//! What this host can do, asked before anything is loaded, so that the answer is one sentence.

use std::fs;

use anyhow::{Context as _, bail};

use crate::privileges;

/// The oldest kernel that the program is made for.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Whether this process can load and attach the program here.
///
/// # Errors
/// What is missing.
pub(crate) fn check_host() -> anyhow::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot tell the version of the kernel")?;
    check_kernel(&release)?;
    check_capabilities()
}

/// Whether this process may load and attach the program.
///
/// # Errors
/// The capabilities that it lacks.
pub(super) fn check_capabilities() -> anyhow::Result<()> {
    let missing: Vec<_> = privileges::missing().iter().map(ToString::to_string).collect();
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

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_compare_as_numbers() {
        assert_eq!(version("6.18.44-generic\n"), Some((6, 18)));
        assert_eq!(version("5.15.0+"), Some((5, 15)));
        assert!(version("6.1.0").unwrap() >= KERNEL_MIN);
        assert_eq!(version("unknown"), None);
    }
}
