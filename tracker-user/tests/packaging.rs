//! The files of the package are ones that their readers accept.

use std::{fs, path::PathBuf, process::Command};

use tracker_user::config::{UnknownKeys, parse};

fn packaging(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

#[test]
fn the_packaged_configuration_is_fine() {
    let text = fs::read_to_string(packaging("xdp-tracker.yaml")).unwrap();
    let loaded = parse("xdp-tracker.yaml", &text, UnknownKeys::Refuse).unwrap();
    assert_eq!(loaded.warnings, []);
}

/// Where systemd is not installed nobody can tell.
#[test]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    // It looks for the programs that the unit starts.
    let text = fs::read_to_string(packaging("xdp-tracker.service")).unwrap();
    let unit = folder.path().join("xdp-tracker.service");
    fs::write(&unit, text.replace("/usr/bin/xdp-tracker", "/bin/true")).unwrap();
    let Ok(output) =
        Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output()
    else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("xdp-tracker.service"), "{said}");
}
