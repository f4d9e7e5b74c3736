//! Files that the configuration names and that are something else: a FIFO would be waited for, a device read
//! without end.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

/// No process runs that long unless the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a tracker, or of a command, which must come to an end by itself.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"))
        .current_dir(folder)
        .args(["--config", "tracker.yaml", "--nocolors"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// A folder with a FIFO and this configuration.
fn folder(yaml: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), pair.cert.pem()).unwrap();
    mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
    fs::write(folder.path().join("tracker.yaml"), yaml).unwrap();
    folder
}

#[test]
fn a_fifo_in_the_place_of_any_file_is_refused_and_named() {
    let hook = |name: &str, options: &str| {
        format!("udp: {{ addr: ':0' }}\n  prehooks: [{{ name: {name}, options: {{ {options} }} }}]")
    };
    let redis = |files: &str| {
        format!(
            "udp: {{ addr: ':0' }}\n  storage: {{ name: redis, config: {{ redis_broker: \
             'rediss://127.0.0.1:1', {files} }} }}"
        )
    };
    for keys in [
        "http: { https_addr: ':0', tls_cert_path: fifo, tls_key_path: fifo }",
        "http: { https_addr: ':0', tls_cert_path: cert.pem, tls_key_path: fifo }",
        "udp: { addr: ':0' }\n  storage: { name: memory, config: { snapshot: { path: fifo } } }",
        &hook("torrent approval", "whitelist_files: [fifo]"),
        &hook("ip approval", "deny_files: [fifo]"),
        &hook("passkey", "files: [fifo]"),
        &redis("redis_ca_path: fifo"),
        &redis("redis_cert_path: fifo, redis_key_path: fifo"),
    ] {
        let folder = folder(&format!("chihaya:\n  control_socket: sock\n  {keys}\n"));
        for arguments in [&[][..], &["check"]] {
            let output = run(folder.path(), arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{keys}: {said}");
            assert!(said.contains("fifo: "), "{keys}: {said}");
            assert!(said.contains("it is a FIFO, not a regular file"), "{keys}: {said}");
        }
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_and_named() {
    let folder = folder("");
    for (name, kind) in [("fifo", "a FIFO"), ("/dev/zero", "a character device")] {
        fs::remove_file(folder.path().join("tracker.yaml")).unwrap();
        symlink(name, folder.path().join("tracker.yaml")).unwrap();
        for arguments in [&[][..], &["check"], &["reload"]] {
            let output = run(folder.path(), arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            let expected = format!("tracker.yaml: it is {kind}, not a regular file");
            assert!(said.contains(&expected), "{said}");
        }
    }
}
