//! What a service manager is told by the tracker that it runs.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const CONFIG: &str = "
chihaya:
  udp: { addr: '127.0.0.1:0' }
  control_socket: /nonexistent/socket
";

/// A tracker, and the socket that it reports to.
struct Service {
    tracker: Child,
    manager: UnixDatagram,
    _folder: TempDir,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [config, socket] = ["config.yaml", "notify"].map(|name| folder.path().join(name));
        fs::write(&config, CONFIG).unwrap();
        let manager = UnixDatagram::bind(&socket).unwrap();
        // Far beyond what a loaded machine needs.
        manager.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let tracker = Command::new(env!("CARGO_BIN_EXE_xdp-tracker"))
            .arg("--config")
            .arg(config)
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "100000")
            .spawn()
            .unwrap();
        Self { tracker, manager, _folder: folder }
    }

    /// Waits until this is said. What the watchdog is told may come between.
    fn says(&self, state: &str) {
        let mut buffer = [0; 256];
        loop {
            let length = self.manager.recv(&mut buffer).unwrap();
            let said = str::from_utf8(&buffer[..length]).unwrap();
            if said.starts_with(state) {
                return;
            }
            assert_eq!(said, "WATCHDOG=1", "instead of {state}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.tracker.id() as i32), signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.tracker.kill();
        let _ = self.tracker.wait();
    }
}

#[test]
fn a_service_manager_is_told_of_the_start_of_life_of_reloads_and_of_the_end() {
    let mut service = Service::start();
    service.says("READY=1");
    service.says("WATCHDOG=1");
    service.signal(Signal::SIGUSR1);
    service.says("RELOADING=1\nMONOTONIC_USEC=");
    service.says("READY=1");
    service.signal(Signal::SIGTERM);
    service.says("STOPPING=1");
    assert!(service.tracker.wait().unwrap().success());
}
