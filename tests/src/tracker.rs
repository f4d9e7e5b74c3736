//! The tracker under test.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::{
    Announce, Build, Host, INTERFACE, Metrics, Mode, Options, Program, UdpClient, eventually, http,
};

/// What carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3 and 48.
    Http,
    /// WebTorrent's: JSON messages over a connection that stays.
    WebSocket,
}

/// Which addresses a request comes from and asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6 (BEP 7).
    Ipv6,
}

/// An xdp-tracker that runs on a host, killed when dropped.
pub struct Tracker<'a> {
    host: &'a Host,
    program: Program,
    port: u16,
    metrics: SocketAddr,
}

impl<'a> Tracker<'a> {
    /// Starts one in this mode and waits until it serves; see [`Tracker::start_with`].
    ///
    /// # Errors
    /// It has not been built, or ends, or attaches in another mode.
    pub fn start(host: &'a Host, mode: Mode, folder: &Path) -> Result<Self> {
        let tracker = Self::start_with(host, &Options::new(mode), folder)?;
        if matches!(mode, Mode::Native | Mode::Generic) {
            let metrics = tracker.metrics()?;
            ensure!(
                metrics.is_attached(INTERFACE, mode.name()),
                "not attached as {}:\n{}",
                mode.name(),
                tracker.output()
            );
        }
        Ok(tracker)
    }

    /// Starts one with its configuration and its log in `folder`, and waits until it serves.
    ///
    /// # Errors
    /// It has not been built, or ends.
    pub fn start_with(host: &'a Host, options: &Options<'_>, folder: &Path) -> Result<Self> {
        let mut tracker = Self::launch(host, options, folder)?;
        tracker.wait_until_ready()?;
        Ok(tracker)
    }

    /// Starts one, and does not wait for it.
    ///
    /// # Errors
    /// It has not been built.
    pub fn launch(host: &'a Host, options: &Options<'_>, folder: &Path) -> Result<Self> {
        let mut command = command(host, options, folder)?;
        let program = Program::start(&mut command, &folder.join("tracker.log"))?;
        Ok(Self { host, program, port: options.port(), metrics: options.metrics() })
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It ends.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        self.program.wait_for_output(" ready")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// Starts one that cannot serve, and returns what it says before it ends.
    ///
    /// # Errors
    /// It does not end, or not with status 1.
    pub fn fail(host: &Host, options: &Options<'_>, folder: &Path) -> Result<String> {
        let mut command = command(host, options, folder)?;
        let mut program = Program::start(&mut command, &folder.join("failure.log"))?;
        let status = program.wait()?;
        ensure!(status.code() == Some(1), "it ended with {status}:\n{}", program.output());
        Ok(program.output())
    }

    /// Ends it by a signal, and returns what it has said.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(mut self, signal: Signal) -> Result<String> {
        self.program.signal(signal)?;
        let status = self.program.wait()?;
        let is_killed = signal == Signal::SIGKILL;
        ensure!(status.success() || is_killed, "it ended with {status}:\n{}", self.output());
        Ok(self.output())
    }

    /// Runs `xdp-tracker COMMAND` with the configuration that the last one in `folder` had, and returns
    /// what it prints.
    ///
    /// # Errors
    /// It fails.
    pub fn run(host: &Host, folder: &Path, command: &str) -> Result<String> {
        let binary = binary(Build::Tested)?;
        let config = folder.join("tracker.yaml");
        let [binary, config] =
            [&binary, &config].map(|path| path.to_str().context("path is not UTF-8"));
        host.namespace.run(binary?, &[command, "--config", config?])
    }

    /// Runs `xdp-tracker reload` with another configuration, and returns what that says.
    ///
    /// # Errors
    /// It fails: the configuration stays as it was.
    pub fn reload(&self, options: &Options<'_>, folder: &Path) -> Result<String> {
        let config = options.write(folder)?;
        let binary = binary(Build::Tested)?;
        let [binary, config] =
            [&binary, &config].map(|path| path.to_str().context("path is not UTF-8"));
        self.host.namespace.run(binary?, &["reload", "--config", config?])
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Where it serves, over whatever protocol.
    #[must_use]
    pub fn address(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.host.ip(family), self.port)
    }

    /// The URL for a torrent's metainfo file, or for a client that is told it.
    #[must_use]
    pub fn url(&self, protocol: Protocol, family: Family) -> String {
        let (name, port) = (self.host.name(family), self.port);
        match protocol {
            Protocol::Udp => format!("udp://{name}:{port}"),
            Protocol::Http => format!("http://{name}:{port}/announce"),
            Protocol::WebSocket => format!("ws://{name}:{port}/announce"),
        }
    }

    /// The body that it answers to `GET path` over HTTP.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, client: &Host, family: Family, path: &str) -> Result<Vec<u8>> {
        http::get(client, self.address(family), path)
    }

    /// What its metrics endpoint says now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        let text = http::get(self.host, self.metrics, "/metrics")?;
        Ok(Metrics::parse(&String::from_utf8(text)?))
    }

    /// Announces until the kernel answers.
    ///
    /// # Errors
    /// It never does.
    pub fn wait_for_kernel(&self, client: &mut UdpClient, announce: &Announce) -> Result<()> {
        let answered = || anyhow::Ok(self.metrics()?.requests(Some("announce"), "kernel"));
        eventually(|| {
            let before = answered()?;
            client.announce(announce)?;
            ensure!(answered()? > before, "the kernel has not answered");
            Ok(())
        })
    }

    /// Waits until its metrics show the interface in this mode. It answers a moment before it says so.
    ///
    /// # Errors
    /// They never do.
    pub fn wait_until_attached(&self, interface: &str, mode: &str) -> Result<()> {
        eventually(|| {
            ensure!(self.metrics()?.is_attached(interface, mode), "{}", self.output());
            Ok(())
        })
    }

    /// What it has logged so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.program.output()
    }
}

fn command(host: &Host, options: &Options<'_>, folder: &Path) -> Result<Command> {
    let config = options.write(folder)?;
    let mut command = host.namespace.command("setpriv");
    command.args(["--bounding-set", options.capabilities]);
    if let Some(user) = options.user {
        let id = user.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.args(["--inh-caps", options.capabilities, "--ambient-caps", options.capabilities]);
    } else {
        command.args(["--inh-caps", "-all"]);
    }
    command.arg("--");
    if let Some(clock) = options.clock {
        command.arg("env").args(fake_clock(clock));
    }
    command.arg(binary(options.build)?).arg("--config").arg(&config);
    Ok(command)
}

/// Variables that have libfaketime follow the file, for all clocks but the monotonic one.
fn fake_clock(file: &Path) -> [String; 4] {
    [
        "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1".to_owned(),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
}

/// Where a build is.
///
/// # Errors
/// It has not been built.
pub fn binary(build: Build) -> Result<PathBuf> {
    let (variable, profile) = match build {
        Build::Tested => ("XDP_TRACKER_BINARY", "release"),
        Build::Other => ("XDP_TRACKER_OTHER_BINARY", "debug"),
    };
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = target.join(profile).join("xdp-tracker");
    let path = env::var_os(variable).map_or(built, PathBuf::from);
    path.canonicalize().with_context(|| format!("no {}: run `cargo xtask build`", path.display()))
}
