//! The commands of the binary, and its exit statuses.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

fn tracker(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"));
    command.current_dir(folder).args(["--config", "tracker.yaml", "--nocolors"]).args(arguments);
    command
}

/// A folder with this configuration.
fn configured(yaml: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tracker.yaml"), yaml).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    tracker(folder, arguments).output().unwrap()
}

/// What a command prints, if it succeeds.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says to standard error, if it fails.
fn error(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

const LISTENING: &str = "chihaya:\n  control_socket: control.sock\n  http: { addr: '[::]:0' }\n  udp: { addr: '[::]:0' }\n";

/// A tracker on ports that the system has chosen, of both families.
struct Running {
    folder: TempDir,
    child: Child,
    log: BufReader<ChildStderr>,
    http: u16,
    udp: u16,
}

impl Running {
    fn start() -> Self {
        Self::start_in(configured(LISTENING))
    }

    fn start_in(folder: TempDir) -> Self {
        let mut child = tracker(folder.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let [mut http, mut udp] = [0; 2];
        let mut line = String::new();
        while !line.ends_with(" ready\n") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            for (what, port) in [("HTTP", &mut http), ("UDP", &mut udp)] {
                if let Some((_, served)) = line.split_once(&format!("serving {what} on [::]:")) {
                    *port = served.trim_end().parse().unwrap();
                }
            }
        }
        Self { folder, child, log, http, udp }
    }

    /// Reads the log as far as a line that has this.
    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it ended without {text}");
        }
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        // It must not be kept from ending by a log that nobody reads.
        self.log.lines().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_start_logs_the_announce_url_of_each_frontend() {
    let folder = configured(LISTENING);
    let mut child = tracker(folder.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.ends_with(" ready\n") {
        assert_ne!(log.read_line(&mut text).unwrap(), 0, "it ended: {text}");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    log.lines().for_each(drop);
    child.wait().unwrap();
    for (what, scheme) in [("HTTP", "http"), ("UDP", "udp")] {
        let serving = format!("serving {what} on [::]:");
        let port = text.split_once(&serving).unwrap().1.lines().next().unwrap();
        let url = format!("announce URL: {scheme}://HOST:{port}/announce\n");
        assert_eq!(text.matches(&url).count(), 1, "{text}");
    }
}

#[test]
fn a_signal_to_stop_ends_it_with_status_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        assert_eq!(Running::start().end(signal), Some(0));
    }
}

#[test]
fn e2e_asks_over_http_and_udp_and_over_ipv4_and_ipv6() {
    let running = Running::start();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let http = format!("http://{host}:{}/announce", running.http);
        let udp = format!("udp://{host}:{}", running.udp);
        let arguments = ["e2e", "--httpaddr", &http, "--udpaddr", &udp, "--delay", "0s"];
        let output = run(running.folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("{http}: works")), "{said}");
        assert!(said.contains(&format!("{udp}: works")), "{said}");
    }
    running.end(Signal::SIGTERM);
}

#[test]
fn e2e_fails_where_it_is_not_answered_as_it_should_be() {
    let running = Running::start();
    let no_announce = format!("http://127.0.0.1:{}/elsewhere", running.http);
    let said = error(running.folder.path(), &["e2e", "--httpaddr", &no_announce, "--udpaddr", ""]);
    assert!(said.contains(&no_announce), "{said}");
    let said = error(running.folder.path(), &["e2e", "--httpaddr", "", "--udpaddr", ""]);
    assert!(said.contains("nothing to ask"), "{said}");
    running.end(Signal::SIGTERM);
}

#[test]
fn e2e_asks_for_a_torrent_that_the_tracker_approves_of() {
    const APPROVED: &str = "616e206578616d706c6520696e666f6861736821";
    let running = Running::start_in(configured(&format!(
        "{LISTENING}  prehooks:\n  - {{ name: torrent approval, options: {{ whitelist: [{APPROVED}] }} }}\n"
    )));
    let http = format!("http://127.0.0.1:{}/announce", running.http);
    let udp = format!("udp://127.0.0.1:{}", running.udp);
    let asking = ["e2e", "--httpaddr", &http, "--udpaddr", &udp, "--delay", "0s"];
    let refused = error(running.folder.path(), &asking);
    assert_eq!(refused.matches("unapproved torrent").count(), 2, "{refused}");
    assert_eq!(
        run(running.folder.path(), &[&asking[..], &["--info-hash", APPROVED]].concat())
            .status
            .code(),
        Some(0)
    );
    let no_hash = error(running.folder.path(), &["e2e", "--info-hash", "5a"]);
    assert!(no_hash.contains("--info-hash"), "{no_hash}");
    running.end(Signal::SIGTERM);
}

#[test]
fn e2e_goes_on_to_udp_where_http_fails() {
    let running = Running::start();
    let http = format!("http://127.0.0.1:{}/elsewhere", running.http);
    let udp = format!("udp://127.0.0.1:{}", running.udp);
    let said = error(
        running.folder.path(),
        &["e2e", "--httpaddr", &http, "--udpaddr", &udp, "--delay", "0s"],
    );
    assert!(said.contains(&format!("{udp}: works")), "{said}");
    assert!(
        said.contains(&format!("{http}: ")) && !said.contains(&format!("{http}: works")),
        "{said}"
    );
    running.end(Signal::SIGTERM);
}

#[test]
fn status_says_whether_a_tracker_serves() {
    let running = Running::start();
    assert_eq!(printed(running.folder.path(), &["status"]), "the tracker serves\n");
    running.end(Signal::SIGTERM);
    let stopped = configured(LISTENING);
    assert!(error(stopped.path(), &["status"]).contains("no tracker runs with this configuration"));
}

#[test]
fn reload_tells_what_came_of_it() {
    let running = Running::start();
    let folder = running.folder.path();
    printed(folder, &["reload"]);
    let yaml = fs::read_to_string(folder.join("tracker.yaml")).unwrap();
    fs::write(folder.join("tracker.yaml"), yaml.replace("udp: {", "udp: { workers: 2,")).unwrap();
    let output = run(folder, &["reload"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("WARN") && said.contains("udp.workers"), "{said}");
    running.end(Signal::SIGTERM);
    let other = configured("chihaya: { udp: { addr: ':1' }, control_socket: control.sock }\n");
    assert!(error(other.path(), &["reload"]).contains("no tracker runs with this configuration"));
}

#[test]
fn check_prints_what_the_configuration_amounts_to() {
    let folder = configured("chihaya:\n  udp: { addr: ':6969', private_key: s3cret }\n");
    let effective = printed(folder.path(), &["check"]);
    assert!(effective.contains("announce_interval: 30m"), "{effective}");
    assert!(!effective.contains("s3cret"), "{effective}");
}

#[test]
fn check_names_what_chihaya_had_ignored_with_its_line() {
    let folder = configured("chihaya:\n  udp: { addr: ':6969' }\n  anounce_interval: 5m\n");
    let line = "tracker.yaml:3: chihaya.anounce_interval: unknown key";
    assert!(error(folder.path(), &["check"]).contains(line));
    let lenient = run(folder.path(), &["check", "--lenient"]);
    assert_eq!(lenient.status.code(), Some(0), "{lenient:?}");
    let said = String::from_utf8(lenient.stderr).unwrap();
    assert!(said.contains("WARN") && said.contains(line), "{said}");
}

#[test]
fn a_certificate_that_has_expired_is_a_warning_of_check() {
    let folder = configured(
        "chihaya:\n  http: { https_addr: ':0', tls_cert_path: cert.pem, tls_key_path: key.pem }\n",
    );
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    fs::write(folder.path().join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let output = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let warning = "tracker.yaml:2: chihaya.http.tls_cert_path: the certificate in cert.pem has expired on Jan  1 ";
    assert!(said.contains("WARN") && said.contains(warning), "{said}");
}

#[test]
fn a_list_that_has_changed_tells_how_many_entries_came_and_went() {
    let yaml = format!(
        "{LISTENING}  prehooks:\n  - {{ name: ip approval, options: {{ deny_files: [list] }} }}\n"
    );
    let folder = configured(&yaml);
    let write = |path: &Path, list: &str| {
        fs::write(path.join("new"), list).unwrap();
        fs::rename(path.join("new"), path.join("list")).unwrap();
    };
    write(folder.path(), "192.0.2.1\n192.0.2.4 - 192.0.2.6\n");
    let mut running = Running::start_in(folder);
    write(running.folder.path(), "192.0.2.4 - 192.0.2.7\n2001:db8::/32\n");
    // Of the networks before, .1, .4/31 and .6, none is left.
    running.wait_for("has read its changed lists: 2 entries came, 3 went, 2 are there");
    write(running.folder.path(), "192.0.2.4 two words\n");
    running.wait_for("list:1: `two words`: a line has one entry; put a # before a comment");
    assert_eq!(running.end(Signal::SIGTERM), Some(0));
}

#[test]
fn what_packages_need_is_printed() {
    let folder = configured("");
    let schema = printed(folder.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["chihaya"].is_object(), "{schema}");
    assert!(printed(folder.path(), &["man"]).contains(".TH xdp-tracker 8"));
    assert!(printed(folder.path(), &["config-example"]).contains("\nchihaya:\n"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(folder.path(), &["completions", shell]).contains("config-example"));
    }
}

#[test]
fn mistakes_on_the_command_line_end_it_with_status_1() {
    let folder = configured("");
    assert!(error(folder.path(), &["--no-such"]).contains("--no-such"));
    assert!(printed(folder.path(), &["--help"]).contains("Usage"));
}
