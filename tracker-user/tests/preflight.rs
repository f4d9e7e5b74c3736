//! `xdp-tracker check` and a start agree: what the one finds, the other refuses, in the same words.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

fn configured(settings: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), settings);
    folder
}

/// A file with these lines below `chihaya:`, of which the first is the third of the file.
fn write(folder: &Path, settings: &str) {
    let indented: String = settings.lines().map(|line| format!("  {line}\n")).collect();
    fs::write(
        folder.join("t.yaml"),
        format!("chihaya:\n  control_socket: control.sock\n{indented}"),
    )
    .unwrap();
}

fn tracker(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"));
    command.current_dir(folder).args(["--config", "t.yaml", "--nocolors"]).args(arguments);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    tracker(folder, arguments).output().unwrap()
}

/// What is said to standard error, and how it ended.
fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// The errors that a command ends with, which have no times.
fn errors(folder: &Path, arguments: &[&str]) -> String {
    let (status, said) = said(&run(folder, arguments));
    assert_eq!(status, Some(1), "{arguments:?}: {said}");
    said.split_once("ERROR ").expect(&said).1.to_owned()
}

/// A check that succeeds, and what it says.
fn fine(folder: &Path, arguments: &[&str]) -> String {
    let (status, said) = said(&run(folder, &[&["check"], arguments].concat()));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.ends_with("t.yaml: fine\n"), "{said}");
    said
}

/// A port that nothing listened on a moment ago, over TCP and UDP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp.local_addr().unwrap();
        if UdpSocket::bind(addr).is_ok() {
            return addr.port();
        }
    }
}

/// A tracker that runs, ended when this is dropped.
struct Running(Child);

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = tracker(folder, &[]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = Self(child);
        let is_ready = log.by_ref().any(|line| line.unwrap().ends_with(" ready"));
        assert!(is_ready, "it ended");
        // It must not be kept from going on by a log that is not read.
        std::thread::spawn(move || log.for_each(drop));
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_start_refuses_what_check_finds_in_the_same_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = taken.local_addr().unwrap();
    let taken_udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = taken_udp.local_addr().unwrap();
    let unreached = free_port();
    let port = free_port();
    let listens = "udp: { addr: '127.0.0.1:0' }\n";
    for (settings, expected) in [
        (
            format!("http: {{ addr: '{tcp}' }}"),
            format!("t.yaml:3: chihaya.http.addr: {tcp}: cannot listen: another program listens there"),
        ),
        (
            format!("udp: {{ addr: '{udp}' }}"),
            format!("t.yaml:3: chihaya.udp.addr: cannot listen on udp {udp}: another program"),
        ),
        (
            format!("metrics_addr: ':{port}'\nhttp: {{ addr: '127.0.0.1:{port}' }}"),
            format!("t.yaml:4: chihaya.http.addr: 127.0.0.1:{port}: metrics_addr has this port already"),
        ),
        (
            format!("udp:\n  addr:\n  - ':{port}'\n  - ':{port}'"),
            "t.yaml:6: chihaya.udp.addr[1]: ".to_owned(),
        ),
        (
            "http: { addr: '192.0.2.77:6969' }".to_owned(),
            "t.yaml:3: chihaya.http.addr: 192.0.2.77:6969: cannot listen: this machine has no such address"
                .to_owned(),
        ),
        (
            "udp: { addr: '192.0.2.77:6969' }".to_owned(),
            "t.yaml:3: chihaya.udp.addr: cannot listen on udp 192.0.2.77:6969: this machine has no such address"
                .to_owned(),
        ),
        (
            format!("{listens}xdp: {{ interfaces: [moon0] }}"),
            "t.yaml:4: chihaya.xdp.interfaces[0]: there is no interface `moon0`; there are ".to_owned(),
        ),
        (
            format!("{listens}storage: {{ name: memory, config: {{ snapshot: {{ path: no/swarms }} }} }}"),
            "t.yaml:4: chihaya.storage.config.snapshot.path: no/swarms: there is no folder no; create it"
                .to_owned(),
        ),
        (
            format!("{listens}storage: {{ name: memory, config: {{ snapshot: {{ path: /proc/swarms }} }} }}"),
            "t.yaml:4: chihaya.storage.config.snapshot.path: /proc/swarms: the folder /proc cannot be written"
                .to_owned(),
        ),
        (
            format!(
                "{listens}storage: {{ name: redis, config: {{ redis_broker: 'redis://127.0.0.1:{unreached}' }} }}"
            ),
            format!("t.yaml:4: chihaya.storage.config.redis_broker: cannot use Redis at 127.0.0.1:{unreached}/0: "),
        ),
        (
            format!("{listens}http: {{ https_addr: ':0', tls_cert_path: no.pem, tls_key_path: t.yaml }}"),
            "t.yaml:4: chihaya.http.tls_cert_path: cannot read no.pem: ".to_owned(),
        ),
        (
            format!(
                "{listens}prehooks:\n- name: ip approval\n  options:\n    deny_files:\n    - no.txt"
            ),
            "t.yaml:8: chihaya.prehooks[0].options.deny_files[0]: cannot read no.txt: ".to_owned(),
        ),
    ] {
        if settings.contains("/proc/") && !nix::unistd::geteuid().is_root() {
            // Another user's check does not tell what a tracker of root's may do.
            continue;
        }
        let folder = configured(&settings);
        let check = errors(folder.path(), &["check"]);
        assert!(check.contains(&expected), "{settings}: {expected} is not in\n{check}");
        assert_eq!(check, errors(folder.path(), &[]), "{settings}");
        assert_eq!(check.lines().count(), 2, "{check}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_pass() {
    let folder = configured(
        "moon: full\nmetrics_addr: '192.0.2.77:1'\nudp: { addr: ['192.0.2.77:2', '127.0.0.1:0'] }\n\
         storage: { name: memory, config: { snapshot: { path: no/swarms } } }\n\
         prehooks:\n- { name: ip approval, options: { deny_files: [one.txt] } }\n\
         - { name: passkey, options: { files: [two.txt] } }",
    );
    let said = errors(folder.path(), &["check"]);
    let keys = [
        "t.yaml:3: chihaya.moon: ",
        "t.yaml:4: chihaya.metrics_addr: ",
        "t.yaml:5: chihaya.udp.addr[0]: ",
        "t.yaml:6: chihaya.storage.config.snapshot.path: ",
        "t.yaml:8: chihaya.prehooks[0].options.deny_files[0]: ",
        "t.yaml:9: chihaya.prehooks[1].options.files[0]: ",
    ];
    for (line, key) in said.lines().skip(1).zip(keys) {
        assert!(line.trim_start().starts_with(key), "{key} is not where it should be in\n{said}");
    }
    assert_eq!(said, errors(folder.path(), &[]));
}

#[test]
fn a_wrong_value_keeps_neither_the_host_nor_warnings_from_being_told() {
    let folder = configured(
        "announce_interval: soon\nudp: { addr: ['moon', '192.0.2.77:2', '127.0.0.1:0'], max_numwant: 9999 }\n\
         xdp: { interfaces: [moon0] }\nmin_announce: 1\nmetrics_addr: 5\n\
         prehooks:\n- { name: moon }\n- { name: ip approval, options: { deny_files: [one.txt] } }",
    );
    let said = errors(folder.path(), &["check"]);
    let keys = [
        "t.yaml:3: chihaya.announce_interval: ",
        "t.yaml:4: chihaya.udp.addr[0]: ",
        "t.yaml:4: chihaya.udp.addr[1]: ",
        "t.yaml:5: chihaya.xdp.interfaces[0]: ",
        "t.yaml:7: chihaya.metrics_addr: ",
        "t.yaml:9: chihaya.prehooks[0].name: ",
        "t.yaml:10: chihaya.prehooks[1].options.deny_files[0]: ",
        "warnings:",
        "t.yaml:4: chihaya.udp.max_numwant: ",
        "t.yaml:6: chihaya.min_announce: is now `min_announce_interval`",
    ];
    assert_eq!(said.lines().count(), 1 + keys.len(), "{said}");
    for (line, key) in said.lines().skip(1).zip(keys) {
        assert!(line.trim_start().starts_with(key), "{key} is not where it should be in\n{said}");
    }
    assert_eq!(said, errors(folder.path(), &[]));
}

#[test]
fn what_a_running_tracker_of_the_same_configuration_holds_is_fine() {
    let [metrics, port] = [free_port(), free_port()];
    let folder = configured(&format!(
        "metrics_addr: '127.0.0.1:{metrics}'\nhttp: {{ addr: ':{port}' }}\nudp: {{ addr: ':{port}' }}\n\
         storage: {{ name: memory, config: {{ snapshot: {{ path: swarms }} }} }}"
    ));
    fine(folder.path(), &[]);
    let running = Running::start(folder.path());
    let said = fine(folder.path(), &[]);
    for key in ["metrics_addr", "http.addr", "udp.addr"] {
        let held = format!("chihaya.{key}: ");
        assert!(said.contains(&held) && said.contains("the running tracker (process "), "{said}");
    }
    // To start another one is in vain.
    assert!(errors(folder.path(), &[]).contains("another program listens there"));
    drop(running);
    fine(folder.path(), &[]);
}

#[test]
fn what_a_tracker_of_another_configuration_holds_is_refused_though_both_have_one_control_socket() {
    let port = free_port();
    let folder = configured(&format!(
        "udp: {{ addr: '127.0.0.1:{port}' }}\n\
         storage: {{ name: memory, config: {{ snapshot: {{ path: swarms }} }} }}"
    ));
    let path = |name: &str| folder.path().join(name);
    fs::copy(path("t.yaml"), path("first.yaml")).unwrap();
    let running = Running::start(folder.path());
    fine(folder.path(), &[]);
    // The same file by another name is the same configuration.
    fs::rename(path("t.yaml"), path("real.yaml")).unwrap();
    std::os::unix::fs::symlink("real.yaml", path("t.yaml")).unwrap();
    fine(folder.path(), &[]);
    let other = |command: &[&str]| {
        let mut tracker = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"));
        tracker.current_dir(folder.path()).args(["--config", "first.yaml", "--nocolors"]);
        said(&tracker.args(command).output().unwrap()).1
    };
    for command in [&["check"][..], &[]] {
        let said = other(command);
        for line in [
            format!(
                "first.yaml:3: chihaya.udp.addr: cannot listen on udp 127.0.0.1:{port}: another program"
            ),
            format!("swarms: process {} saves its swarms there; give each", running.0.id()),
        ] {
            assert!(said.contains(&line), "{line} is not in\n{said}");
        }
    }
    let warning = format!(
        "first.yaml:2: chihaya.control_socket: control.sock: the tracker of {} (process {}) listens there",
        path("t.yaml").canonicalize().unwrap().with_file_name("t.yaml").display(),
        running.0.id()
    );
    assert!(other(&["check"]).contains(&warning), "{warning} is not in\n{}", other(&["check"]));
}

#[test]
fn two_trackers_do_not_save_to_one_snapshot() {
    let settings = "udp: { addr: '127.0.0.1:0' }\n\
                    storage: { name: memory, config: { snapshot: { path: swarms } } }";
    let folder = configured(settings);
    let running = Running::start(folder.path());
    // Another control socket makes it another tracker.
    let yaml = fs::read_to_string(folder.path().join("t.yaml")).unwrap();
    fs::write(folder.path().join("t.yaml"), yaml.replace("control.sock", "other.sock")).unwrap();
    let expected = format!(
        "t.yaml:4: chihaya.storage.config.snapshot.path: swarms: process {} saves its swarms there; give each \
         tracker a snapshot.path of its own",
        running.0.id()
    );
    for arguments in [&["check"][..], &[]] {
        let said = errors(folder.path(), arguments);
        assert!(said.contains(&expected), "{said}");
    }
    // A lock that a tracker has left behind is none.
    drop(running);
    fine(folder.path(), &[]);
}

#[test]
fn a_lock_file_that_was_emptied_refuses_neither_a_reload_nor_a_check() {
    let settings = "udp: { addr: '127.0.0.1:0' }\n\
                    storage: { name: memory, config: { snapshot: { path: swarms } } }";
    let folder = configured(settings);
    let _running = Running::start(folder.path());
    fs::write(folder.path().join("swarms.lock"), "").unwrap();
    let (status, said) = said(&run(folder.path(), &["reload"]));
    assert_eq!(status, Some(0), "{said}");
    let said = fine(folder.path(), &[]);
    assert!(said.contains("not told: chihaya.storage.config.snapshot.path: swarms: "), "{said}");
}

#[test]
fn of_a_tracker_that_is_stopped_check_does_not_tell_whether_the_snapshot_is_its_own() {
    let settings = "udp: { addr: '127.0.0.1:0' }\n\
                    storage: { name: memory, config: { snapshot: { path: swarms } } }";
    let folder = configured(settings);
    let running = Running::start(folder.path());
    let process = Pid::from_raw(running.0.id().cast_signed());
    kill(process, Signal::SIGSTOP).unwrap();
    let said = fine(folder.path(), &[]);
    let expected = format!(
        "not told: chihaya.storage.config.snapshot.path: swarms: process {process} saves its swarms \
         there; control.sock: "
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn what_a_start_goes_on_without_is_a_warning_of_check() {
    let folder = configured("udp: { addr: '127.0.0.1:0' }");
    let yaml = fs::read_to_string(folder.path().join("t.yaml")).unwrap();
    fs::write(folder.path().join("t.yaml"), yaml.replace("control.sock", "no/control.sock"))
        .unwrap();
    let said = fine(folder.path(), &[]);
    assert!(said.contains("WARN") && said.contains("control_socket: no/control.sock: "), "{said}");
}

#[test]
fn what_another_user_cannot_tell_of_the_control_socket_is_a_note() {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = configured("udp: { addr: '127.0.0.1:0' }");
    let program = folder.path().join("xdp-tracker");
    // The folder of the build may be closed to others.
    fs::copy(env!("CARGO_BIN_EXE_xdp-tracker"), &program).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let check = || {
        let mut command = Command::new(&program);
        command.uid(NOBODY).current_dir(folder.path());
        let (status, said) =
            said(&command.args(["--config", "t.yaml", "--nocolors", "check"]).output().unwrap());
        assert_eq!(status, Some(0), "{said}");
        assert!(!said.contains("WARN"), "{said}");
        said
    };
    let said = check();
    assert!(
        said.contains("not told: chihaya.control_socket: control.sock: the folder . cannot be"),
        "{said}"
    );
    let running = Running::start(folder.path());
    let said = check();
    assert!(
        said.contains("not told: chihaya.control_socket: control.sock: a tracker of another user"),
        "{said}"
    );
    drop(running);
}

#[test]
fn offline_what_belongs_to_the_host_is_left_out_and_said() {
    let folder = configured(
        "http: { https_addr: '192.0.2.77:1', tls_cert_path: no.pem, tls_key_path: no.key }\n\
         storage: { name: memory, config: { snapshot: { path: no/swarms } } }\n\
         prehooks:\n- { name: ip approval, options: { deny_files: [no.txt] } }\n\
         xdp: { interfaces: [moon0] }",
    );
    errors(folder.path(), &["check"]);
    let said = fine(folder.path(), &["--offline"]);
    assert!(said.contains("not told: ports, addresses, interfaces, folders and Redis"), "{said}");
    assert!(said.contains("not told: prehooks[0] (ip approval): no.txt is not here"), "{said}");
    assert!(said.contains("not told: the certificate: no.pem is not here"), "{said}");
    // What is here is read, and what the file itself says counts.
    fs::write(folder.path().join("no.txt"), "moon\n").unwrap();
    assert!(errors(folder.path(), &["check", "--offline"]).contains("no.txt:1: "));
    write(folder.path(), "metrics_addr: ':7'\nhttp: { addr: ':7' }");
    assert!(errors(folder.path(), &["check", "--offline"]).contains("has this port already"));
}

/// A listener at `control.sock` in this folder that accepts nothing, with as many clients as the system keeps.
fn full_queue(folder: &Path) -> Vec<Socket> {
    let address = SockAddr::unix(folder.join("control.sock")).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let mut held = vec![listener];
    for _ in 0..16 {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&address).is_err() {
            return held;
        }
        held.push(client);
    }
    panic!("the queue does not fill");
}

#[test]
fn a_control_socket_with_a_full_queue_is_said_and_not_waited_for() {
    let folder = configured("udp: { addr: '127.0.0.1:0' }");
    let held = full_queue(folder.path());
    let said = fine(folder.path(), &[]);
    let note =
        "not told: chihaya.control_socket: control.sock: the tracker there accepts no connections";
    assert!(said.contains(note) && !said.contains("WARN"), "{said}");
    for command in ["status", "reload"] {
        let said = errors(folder.path(), &[command]);
        assert!(
            said.starts_with("control_socket: control.sock: the tracker there accepts no"),
            "{said}"
        );
    }
    // A start goes on without a socket of its own.
    let running = Running::start(folder.path());
    drop((running, held));
}

#[test]
fn a_tracker_that_is_stopped_is_said_and_not_waited_for() {
    let folder = configured("udp: { addr: '127.0.0.1:0' }");
    let running = Running::start(folder.path());
    let process = Pid::from_raw(running.0.id().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    let said = fine(folder.path(), &[]);
    assert!(said.contains("control.sock: the tracker there does not answer: "), "{said}");
}

#[test]
fn more_hooks_than_there_are_ranks_are_an_error() {
    let hook = "- { name: port approval, options: {} }\n";
    let settings = format!("udp: {{ addr: '127.0.0.1:0' }}\nprehooks:\n{}", hook.repeat(32));
    let folder = configured(&settings);
    for arguments in [&["check"][..], &[]] {
        let said = errors(folder.path(), arguments);
        assert!(said.contains("prehooks: 32 hooks are more than 31; leave some out"), "{said}");
    }
}
