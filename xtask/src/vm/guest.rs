//! A virtual machine without a disk: what it runs is in its initial file system.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::kernel::Kernel;
use crate::{apt::NAMESPACE_PROGRAMS, process};

const BEGIN: &str = "GUEST-BEGIN";
const END: &str = "GUEST-END ";

/// The first process of a guest. `@TESTS@`, `@FILTERS@` and `@CASES@` are replaced.
const INIT: &str = r#"#!/busybox/busybox sh
/busybox/busybox --install -s /busybox
export PATH=/usr/sbin:/usr/bin:/busybox HOME=/tmp XDP_TRACKER_CASES=@CASES@
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
# What is tested may be below /tmp.
chmod 1777 /tmp
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module"
done
ip link set lo up
# The line before is the firmware's.
printf '\nGUEST-BEGIN\n'
status=0
for test in @TESTS@; do
    "$test" --ignored --nocapture --test-threads 1 @FILTERS@ </dev/null 2>&1 || status=1
done
printf '\nGUEST-END %s\n' "$status"
poweroff -f
"#;

/// The initial file system of a guest.
pub struct Guest {
    folder: TempDir,
}

/// What came of a guest.
pub struct Outcome {
    /// Whether it came as far as the tests.
    pub began: bool,
    /// Whether all tests ran and passed.
    pub succeeded: bool,
    /// What they printed, or all that the guest did when it did not reach their end.
    pub output: String,
}

impl Guest {
    /// Lays out a file system with the tests and the files that they read, all where they are here. Tests whose
    /// names contain none of the filters are left out, if there is a filter.
    ///
    /// # Errors
    /// A tool is missing.
    pub fn build(
        kernel: &Kernel,
        tests: &[PathBuf],
        files: &[&Path],
        filters: &[String],
        cases: u32,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        for place in
            ["busybox", "dev", "modules", "proc", "run", "sys", "tmp", "usr/bin", "usr/sbin", "etc"]
        {
            fs::create_dir_all(root.join(place))?;
        }
        fs::copy(find("busybox")?, root.join("busybox/busybox"))?;
        // What names `/bin/sh`, or looks for a file that every machine has.
        symlink("/busybox", root.join("bin"))?;
        fs::write(root.join("etc/hosts"), "")?;
        symlink("/proc/self/mounts", root.join("etc/mtab"))?;
        kernel.copy_modules(&root.join("modules"))?;

        let programs =
            NAMESPACE_PROGRAMS.iter().map(|(name, _)| find(name)).collect::<Result<Vec<_>>>()?;
        for program in programs
            .iter()
            .map(PathBuf::as_path)
            .chain(tests.iter().map(PathBuf::as_path))
            .chain(files.iter().copied())
        {
            copy(&root, program)?;
            for library in libraries(program) {
                copy(&root, &library)?;
            }
        }
        // Tests are found relative to the package that they belong to.
        for package in ["tests", "tracker-user"] {
            fs::create_dir_all(at(&root, &process::root().join(package)))?;
        }
        let tests: Vec<_> = tests.iter().map(|test| test.to_string_lossy()).collect();
        let init = INIT
            .replace("@TESTS@", &tests.join(" "))
            .replace("@FILTERS@", &filters.join(" "))
            .replace("@CASES@", &cases.to_string());
        fs::write(root.join("init"), init)?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    /// Boots it and waits for its end.
    ///
    /// # Errors
    /// The emulator is missing.
    pub fn boot(&self, kernel: &Kernel, timeout: u32) -> Result<Outcome> {
        let initrd = self.folder.path().join("initrd");
        let mut pack = Command::new("sh");
        pack.args(["-c", r#"find . | cpio --quiet -o -H newc -R 0:0 >"$0""#]).arg(&initrd);
        process::run(pack.current_dir(self.folder.path().join("root")))?;

        // Under emulation, as /dev/kvm may be there and not work. A panic ends the guest.
        let mut qemu = Command::new("timeout");
        qemu.args(["--kill-after", "5", &timeout.to_string(), "qemu-system-x86_64"]);
        qemu.args(["-accel", "tcg", "-smp", "2", "-m", "3072", "-nographic", "-nodefaults"]);
        qemu.args(["-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 panic=-1 quiet"]);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initrd);
        let log = kernel.log();
        println!("xtask: its console goes to {}", log.display());
        qemu.stdin(Stdio::null()).stdout(fs::File::create(&log)?);
        // A guest that was given up is seen by what its log lacks.
        qemu.status().context("cannot start qemu")?;
        let serial = fs::read(log)?;
        Ok(Outcome::of(&String::from_utf8_lossy(&serial).replace('\r', "")))
    }
}

impl Outcome {
    fn of(serial: &str) -> Self {
        let tests = serial.split_once(BEGIN).map(|(_, rest)| rest);
        let began = tests.is_some();
        match tests.and_then(|tests| tests.split_once(END)) {
            Some((output, status)) => {
                Self { began, succeeded: status.starts_with('0'), output: output.to_owned() }
            }
            None => Self { began, succeeded: false, output: serial.to_owned() },
        }
    }

    /// A line: what the tests measured, and whether they passed.
    pub fn summary(&self) -> String {
        let lines = |mark: &str| -> Vec<_> {
            self.output
                .lines()
                .filter_map(|line| {
                    line.find(mark).map(|_| line.rsplit("... ").next().unwrap_or(line))
                })
                .collect()
        };
        let measured = [lines(" instructions verified"), lines(" answered in the kernel")].concat();
        let verdict = if self.succeeded { "all tests passed" } else { "FAILED" };
        [measured, vec![verdict]].concat().join("; ")
    }
}

fn find(program: &str) -> Result<PathBuf> {
    process::find(program).with_context(|| format!("{program} is not installed"))
}

/// Where an absolute path is in the guest's file system.
fn at(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy(root: &Path, path: &Path) -> Result<()> {
    ensure!(path.is_absolute(), "{} is not absolute", path.display());
    let target = at(root, path);
    fs::create_dir_all(target.parent().context("no folder")?)?;
    fs::copy(path, target).with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(())
}

/// The paths of the shared libraries that a program asks for, the loader among them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listing = process::output(Command::new("ldd").arg(program)).unwrap_or_default();
    let words = listing.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_not_reach_its_end_has_failed() {
        let outcome = Outcome::of("SeaBIOS\nGUEST-BEGIN\ntest a ... ok\n");
        assert!(outcome.began && !outcome.succeeded);
        assert!(!Outcome::of("SeaBIOS\nOops\n").began);
        assert!(outcome.summary().ends_with("FAILED"));
    }

    #[test]
    fn what_was_measured_is_in_the_summary() {
        let outcome = Outcome::of(
            "GUEST-BEGIN\ntest budget ... 7 instructions verified, 9 bytes\nok\n\nGUEST-END 0\n",
        );
        assert_eq!(outcome.summary(), "7 instructions verified, 9 bytes; all tests passed");
    }
}
