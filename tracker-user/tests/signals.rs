//! Signals, while a start or a reload waits for what does not come.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tempfile::TempDir;

/// Nothing takes that long unless the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// An issuer of keys that answers when it is told to.
struct Issuer(TcpListener);

impl Issuer {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The hook that asks it.
    fn hook(&self) -> String {
        format!(
            "  prehooks:\n  - name: jwt\n    options: {{ issuer: a, audience: b, jwk_set_url: 'http://{}/' }}\n",
            self.0.local_addr().unwrap()
        )
    }

    /// Waits until it is asked.
    fn asked(&self) -> TcpStream {
        self.0.set_nonblocking(true).unwrap();
        let asked = eventually(|| self.0.accept().ok()).0;
        asked.set_nonblocking(false).unwrap();
        asked
    }
}

/// Says that there are no keys.
fn fail(mut asked: TcpStream) {
    asked.write_all(b"HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
}

const LISTEN: &str = "chihaya:\n  control_socket: control.sock\n  udp: { addr: '127.0.0.1:0' }\n";

/// A tracker, which is killed where the test fails.
struct Tracker {
    folder: TempDir,
    child: Child,
    log: Receiver<String>,
}

impl Tracker {
    /// With what is to follow in its configuration.
    fn spawn(yaml: &str, environment: &[(&str, &Path)]) -> Self {
        let folder = TempDir::new().unwrap();
        configure(folder.path(), yaml);
        let mut child = command(folder.path())
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, log) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|it| send.send(it))
        });
        Self { folder, child, log }
    }

    /// Waits until it says so, and returns the line.
    fn says(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The status that it ends with.
    fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        eventually(|| child.try_wait().unwrap()).code()
    }

    /// Has it reload, by a process that waits for what comes of it.
    fn reload(&self) -> Child {
        let mut command = command(self.folder.path());
        command.arg("reload").stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"));
    command.current_dir(folder).args(["--config", "tracker.yaml", "--nocolors"]);
    command
}

fn configure(folder: &Path, yaml: &str) {
    fs::write(folder.join("tracker.yaml"), format!("{LISTEN}{yaml}")).unwrap();
}

/// What a command has said when it has failed.
fn failed(mut child: Child) -> String {
    assert_eq!(eventually(|| child.try_wait().unwrap()).code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

/// Whether the tracker at this address gives connection ids.
fn answers(address: &str) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(address).unwrap();
    socket
        .send(&[&[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80][..], &[0; 4], b"txid"].concat())
        .unwrap();
    socket.recv(&mut [0; 16]).is_ok_and(|length| length == 16)
}

#[test]
fn a_start_that_waits_ends_when_told_to_and_the_watchdog_hears_of_it_meanwhile() {
    let issuer = Issuer::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let environment = [("NOTIFY_SOCKET", &*socket), ("WATCHDOG_USEC", Path::new("100000"))];
        let mut tracker = Tracker::spawn(&issuer.hook(), &environment);
        let _silent = issuer.asked();
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"WATCHDOG=1");
        tracker.signal(signal);
        tracker.says("the start is broken off");
        assert_eq!(tracker.ends(), Some(0));
    }
}

#[test]
fn a_start_that_waits_for_redis_ends_when_told_to() {
    // The system accepts, and nothing answers.
    let redis = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = format!("redis://{}", redis.local_addr().unwrap());
    let storage = format!(
        "  storage: {{ name: redis, config: {{ redis_broker: '{broker}', redis_connect_timeout: 5m }} }}\n"
    );
    let mut tracker = Tracker::spawn(&storage, &[]);
    let _silent = redis.accept().unwrap();
    tracker.signal(Signal::SIGTERM);
    tracker.says("the start is broken off");
    // It was waited for before anything was started, so nothing is left.
    assert_eq!(tracker.ends(), Some(0));
}

#[test]
fn what_is_asked_for_while_a_reload_waits_is_one_more_and_the_tracker_answers_meanwhile() {
    let issuer = Issuer::new();
    let mut tracker = Tracker::spawn("", &[]);
    let serving = tracker.says("serving UDP on ");
    let address = serving.split_once("serving UDP on ").unwrap().1;
    tracker.says("ready");
    configure(tracker.folder.path(), &issuer.hook());
    let first = tracker.reload();
    let asked = issuer.asked();
    let second = tracker.reload();
    tracker.says("control socket: a reload is under way");
    tracker.signal(Signal::SIGHUP);
    tracker.says("SIGHUP: a reload is under way");
    assert!(answers(address));
    fail(asked);
    assert!(failed(first).contains("the tracker's configuration stays as it was"));
    fail(issuer.asked());
    let said = failed(second);
    assert!(said.contains("another reload was under way"), "{said}");

    // Nor does one that waits keep the tracker from its end.
    let third = tracker.reload();
    let _silent = issuer.asked();
    tracker.signal(Signal::SIGTERM);
    assert_eq!(tracker.ends(), Some(0));
    assert!(failed(third).contains("the tracker ended before it answered"));
}

#[test]
fn a_reload_finds_a_fifo_refuses_it_and_the_tracker_goes_on() {
    let mut tracker = Tracker::spawn("", &[]);
    tracker.says("ready");
    mkfifo(&tracker.folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
    for keys in [
        "  prehooks: [{ name: passkey, options: { files: [fifo] } }]\n",
        "  storage: { name: memory, config: { snapshot: { path: fifo } } }\n",
    ] {
        configure(tracker.folder.path(), keys);
        let said = failed(tracker.reload());
        assert!(said.contains("fifo: it is a FIFO, not a regular file"), "{said}");
    }
    configure(tracker.folder.path(), "");
    assert!(tracker.reload().wait().unwrap().success());
    tracker.signal(Signal::SIGTERM);
    assert_eq!(tracker.ends(), Some(0));
}
