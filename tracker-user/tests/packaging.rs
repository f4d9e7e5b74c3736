//! The files of the package are ones that their readers accept, and all of them are in it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser as _;
use tracker_user::{
    cli::{Cli, Command as Verb},
    config::{Config, UnknownKeys, parse},
};

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

/// The configuration that is installed.
fn configuration() -> Config {
    let text = fs::read_to_string(packaging("xdp-tracker.yaml")).unwrap();
    let loaded = parse("xdp-tracker.yaml", &text, UnknownKeys::Refuse).unwrap();
    assert_eq!(loaded.warnings, []);
    loaded.config
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
    configuration();
}

#[test]
fn the_changelog_begins_with_this_version() {
    let changelog = fs::read_to_string(packaging("changelog")).unwrap();
    let newest = concat!("xdp-tracker (", env!("CARGO_PKG_VERSION"), ") ");
    assert!(changelog.starts_with(newest), "{changelog}");
}

#[test]
fn the_image_is_made_of_what_there_is_and_asks_the_tracker_for_its_health() {
    let root = packaging("..");
    let text = fs::read_to_string(root.join("Dockerfile")).unwrap().replace("\\\n", "");
    let instructions: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.split_once(' ')).collect();
    let all = |name: &str| -> Vec<&str> {
        let those = instructions.iter().filter(|(instruction, _)| *instruction == name);
        those.map(|(_, arguments)| arguments.trim()).collect()
    };
    assert!(all("RUN").iter().any(|run| run.contains("ca-certificates")));

    let mut copied = Vec::new();
    for copy in all("COPY") {
        let (from, to) = copy.rsplit_once(' ').unwrap();
        // What an earlier stage has made is not looked for here.
        assert!(from.starts_with("--from=build ") || root.join(from).exists(), "no {from}");
        copied.push(to);
    }
    for command in [all("ENTRYPOINT")[0], all("HEALTHCHECK")[0].split_once("CMD ").unwrap().1] {
        let words: Vec<String> = serde_json::from_str(command).unwrap();
        assert!(copied.contains(&&*words[0]), "{command}");
        let config = words.iter().position(|word| word == "--config").unwrap() + 1;
        assert!(copied.contains(&&*words[config]), "{command}");
        let cli = Cli::try_parse_from(&words).unwrap();
        assert!(matches!(cli.command, None | Some(Verb::Status)), "{command}");
    }

    let config = configuration();
    let port = |addr: &str| addr.rsplit_once(':').unwrap().1.to_owned();
    let [udp, http] = [config.udp.addr[0].to_string(), config.http.addr.unwrap().to_string()];
    let exposed = format!("{}/udp {}/tcp", port(&udp), port(&http));
    assert_eq!(all("EXPOSE"), [exposed]);
    assert!(all("VOLUME").contains(&"/var/lib/xdp-tracker"));
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
        ("-rw-r--r--", "./usr/share/xdp-tracker/schema.json"),
        ("-rw-r--r--", "./usr/share/man/man8/xdp-tracker.8.gz"),
        ("-rw-r--r--", "./usr/share/doc/xdp-tracker/changelog.gz"),
        ("-rw-r--r--", "./usr/share/doc/xdp-tracker/copyright"),
        ("-rw-r--r--", "./usr/share/doc/xdp-tracker/README.md"),
        ("-rw-r--r--", "./usr/share/doc/xdp-tracker/docs/operations.md"),
        ("-rw-r--r--", "./usr/share/doc/xdp-tracker/examples/config.yaml"),
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

#[test]
#[ignore = "needs lintian: `cargo xtask test package`"]
fn lintian_finds_no_fault() {
    let mut lintian = Command::new("lintian");
    // Overrides that nothing needs any more are a fault of ours.
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--display-info"]);
    let said = output(lintian.arg(package()));
    assert!(!said.contains("unused-override"), "{said}");
}

/// What a maintainer script asks of systemd and of the tracker, if systemd runs.
fn asked_by(script: &str, arguments: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let text = output(Command::new("dpkg-deb").arg("--info").arg(package()).arg(script));
    let running = folder.path().join("systemd");
    fs::create_dir(&running).unwrap();
    let text = text.replace("/run/systemd/system", running.to_str().unwrap());
    let (script, log) = (folder.path().join("script"), folder.path().join("log"));
    fs::write(&script, text).unwrap();
    for name in ["deb-systemd-helper", "deb-systemd-invoke", "systemctl", "xdp-tracker"] {
        let stub = folder.path().join(name);
        fs::write(&stub, format!("#!/bin/sh\necho {name} \"$@\" >> {}\n", log.display())).unwrap();
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = env::join_paths([folder.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    output(Command::new("sh").arg(&script).args(arguments).env("PATH", path));
    let log = fs::read_to_string(log).unwrap_or_default();
    // Whether the unit is enabled stays as it was: what that takes is debhelper's.
    log.lines().filter(|line| !line.starts_with("deb-systemd-helper")).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs dpkg: `cargo xtask test package`"]
fn an_upgrade_restarts_the_service_where_it_runs_and_does_not_stop_it_before() {
    let reload = "systemctl --system daemon-reload";
    assert_eq!(asked_by("prerm", &["upgrade", "0.2.0"]), [""; 0]);
    assert_eq!(
        asked_by("postinst", &["configure", "0.0.1"]),
        [reload, "deb-systemd-invoke try-restart xdp-tracker.service"]
    );
    assert_eq!(asked_by("postinst", &["configure", ""]), [reload]);
}

#[test]
#[ignore = "needs dpkg: `cargo xtask test package`"]
fn a_removal_stops_the_service_and_detaches_what_it_has_left() {
    assert_eq!(
        asked_by("prerm", &["remove"]),
        [
            "deb-systemd-invoke stop xdp-tracker.service",
            "xdp-tracker detach --config /etc/xdp-tracker.yaml"
        ]
    );
}
