//! The files of the package are ones that their readers accept, and all of them are in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tracker_user::config::{UnknownKeys, parse};

fn packaging(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

/// What a program prints to both its outputs; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The package that xtask has built.
fn package() -> PathBuf {
    env::var_os("XDP_TRACKER_DEB").expect("`cargo xtask test package` sets it").into()
}

/// The package, unpacked.
fn unpacked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    output(Command::new("dpkg-deb").arg("--extract").arg(package()).arg(folder.path()));
    folder
}

/// A copy of the unit that starts the program of another folder, which is looked for.
fn unit(folder: &Path, program: &Path) -> PathBuf {
    let text = fs::read_to_string(packaging("xdp-tracker.service")).unwrap();
    let unit = folder.join("xdp-tracker.service");
    fs::write(&unit, text.replace("/usr/bin/xdp-tracker", program.to_str().unwrap())).unwrap();
    unit
}

#[test]
fn the_packaged_configuration_is_fine() {
    let text = fs::read_to_string(packaging("xdp-tracker.yaml")).unwrap();
    let loaded = parse("xdp-tracker.yaml", &text, UnknownKeys::Refuse).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
#[ignore = "needs systemd: `cargo xtask test package`"]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(folder.path(), Path::new("/bin/true"));
    let said = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(!said.contains("xdp-tracker.service"), "{said}");
}

#[test]
#[ignore = "needs systemd: `cargo xtask test package`"]
fn systemd_finds_little_to_be_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit(folder.path(), Path::new("/bin/true"));
    // In tenths; what is left are the network, root's name and the four capabilities.
    let security = ["security", "--offline=true", "--threshold=30", "--no-pager"];
    output(Command::new("systemd-analyze").args(security).arg(&unit));
}

#[test]
#[ignore = "needs dpkg: `cargo xtask test package`"]
fn the_package_has_all_that_is_installed() {
    let listing = output(Command::new("dpkg-deb").arg("--contents").arg(package()));
    for (mode, file) in [
        ("-rwxr-xr-x", "./usr/bin/xdp-tracker"),
        ("-rw-r--r--", "./etc/xdp-tracker.yaml"),
        ("-rw-r--r--", "./usr/lib/systemd/system/xdp-tracker.service"),
        ("-rw-r--r--", "./usr/share/man/man8/xdp-tracker.8.gz"),
        ("-rw-r--r--", "./usr/share/bash-completion/completions/xdp-tracker"),
        ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_xdp-tracker"),
        ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/xdp-tracker.fish"),
    ] {
        let is_file = |line: &str| line.starts_with(mode) && line.ends_with(&format!(" {file}"));
        assert!(listing.lines().any(is_file), "no {file} of mode {mode} in\n{listing}");
    }
    let conffiles = output(Command::new("dpkg-deb").arg("--info").arg(package()).arg("conffiles"));
    assert_eq!(conffiles.trim(), "/etc/xdp-tracker.yaml");
}

#[test]
#[ignore = "needs dpkg and systemd: `cargo xtask test package`"]
fn what_is_packaged_runs() {
    let root = unpacked();
    let installed = |path: &str| root.path().join(path);
    let binary = installed("usr/bin/xdp-tracker");
    output(
        // The unit makes the folders when it starts the tracker.
        Command::new(&binary)
            .args(["check", "--offline", "--config"])
            .arg(installed("etc/xdp-tracker.yaml")),
    );
    output(
        Command::new("bash")
            .arg("-n")
            .arg(installed("usr/share/bash-completion/completions/xdp-tracker")),
    );
    let unit = unit(root.path(), &binary);
    let said = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(!said.contains("xdp-tracker.service"), "{said}");
}
