//! What an operator reads when the tracker cannot start: what is wrong, where, and what to do. The
//! failures that need network namespaces are among the end-to-end tests.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

/// What the tracker says before it ends in failure, without the folder and without times.
fn said(yaml: &str) -> String {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tracker.yaml"), yaml).unwrap();
    said_in(folder.path())
}

fn said_in(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"))
        .args(["--config", "tracker.yaml"])
        .current_dir(folder)
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let log = [output.stdout, output.stderr].concat();
    String::from_utf8(log).unwrap()
}

/// The error that it ends with: it is the last that is said.
fn error(yaml: &str) -> String {
    let said = said(yaml);
    said.split_once("ERROR ").expect(&said).1.to_owned()
}

#[test]
fn a_missing_configuration_is_named() {
    let folder = TempDir::new().unwrap();
    let said = said_in(folder.path());
    assert!(
        said.contains("ERROR cannot read the configuration tracker.yaml: No such file"),
        "{said}"
    );
}

#[test]
fn a_variable_that_is_not_set_is_named_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"))
        .args(["--config", "$XDP_TRACKER_UNSET/x", "check"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = "--config $XDP_TRACKER_UNSET/x: the environment variable XDP_TRACKER_UNSET is not set; set it, or write \
                 the path out\n";
    assert!(said.ends_with(error), "{said}");
}

#[test]
fn yaml_that_cannot_be_read_is_named_with_its_line() {
    assert_eq!(
        error("chihaya:\n  udp: { addr: ':6969'\n"),
        "the configuration cannot be used:\n  tracker.yaml:3: did not find expected ',' or '}' at \
         line 3 column 1, while parsing a flow mapping at line 2 column 8\n"
    );
}

#[test]
fn every_unknown_key_is_named_with_its_line() {
    assert_eq!(
        error("chihaya:\n  udp: { addr: ':6969' }\n  anounce_interval: 30m\n  moon: full\n"),
        "the configuration cannot be used:\n  \
         tracker.yaml:3: chihaya.anounce_interval: unknown key; did you mean `announce_interval`?\n  \
         tracker.yaml:4: chihaya.moon: unknown key\nChihaya ignores unknown keys without a word. \
         Correct them, or start with --lenient.\n"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_key() {
    assert_eq!(
        error("chihaya:\n  udp: { addr: ':6969' }\n  announce_interval: soon\n"),
        "the configuration cannot be used:\n  tracker.yaml:3: chihaya.announce_interval: `soon`: a \
         duration is written like 30m, 1h30m or 1.5s\n"
    );
}

#[test]
fn an_unknown_interface_is_named_with_those_that_there_are() {
    let error = error("chihaya:\n  udp: { addr: '127.0.0.1:0' }\n  xdp: { interfaces: [moon0] }\n");
    assert!(
        error.starts_with(
            "the configuration cannot be used:\n  tracker.yaml:3: chihaya.xdp.interfaces[0]: there is no \
             interface `moon0`; there are lo"
        ),
        "{error}"
    );
    assert_eq!(error.lines().count(), 2);
}

#[test]
fn a_tcp_port_in_use_is_named_with_its_key_and_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    for (key, yaml) in [
        ("metrics_addr", format!("metrics_addr: '{addr}'\n  udp: {{ addr: '127.0.0.1:0' }}")),
        ("http.addr", format!("http: {{ addr: '{addr}' }}")),
    ] {
        assert_eq!(
            error(&format!("chihaya:\n  {yaml}\n")),
            format!(
                "the configuration cannot be used:\n  tracker.yaml:2: chihaya.{key}: {addr}: cannot listen: another \
                 program listens there; `ss -tlpn` names it: Address already in use (os error 98)\n"
            )
        );
    }
}

#[test]
fn a_udp_port_in_use_is_named_with_its_key_and_what_to_do() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    assert_eq!(
        error(&format!("chihaya:\n  udp: {{ addr: '{addr}' }}\n")),
        format!(
            "the configuration cannot be used:\n  tracker.yaml:2: chihaya.udp.addr: cannot listen on udp {addr}: another program listens there, or it \
             is configured twice; `ss -ulpn` names it: Address already in use (os error 98)\n"
        )
    );
}
