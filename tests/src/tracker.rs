//! The tracker under test.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{Host, Metrics, Program, http, lan};

const PORT: u16 = 6969;
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6880);

/// How the tracker attaches its XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack, which every driver can do.
    Generic,
    /// Not at all.
    Off,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Native, Self::Generic, Self::Off];

    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        }
    }
}

/// What carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// BEP 15.
    Udp,
    /// BEP 3 and 48.
    Http,
}

/// Which addresses a request comes from and asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6 (BEP 7).
    Ipv6,
}

/// An xdp-tracker that runs on a host.
pub struct Tracker<'a> {
    host: &'a Host,
    program: Program,
}

impl<'a> Tracker<'a> {
    /// Starts one with its configuration and its log in `folder`, and waits until it serves.
    ///
    /// # Errors
    /// It has not been built, or ends, or attaches in another mode.
    pub fn start(host: &'a Host, mode: Mode, folder: &Path) -> Result<Self> {
        let config = folder.join("tracker.yaml");
        fs::write(&config, configuration(mode))?;
        let binary = binary()?;
        let mut command = host.namespace.command(binary.to_str().context("path is not UTF-8")?);
        command.arg("--config").arg(&config);
        let mut tracker =
            Self { host, program: Program::start(&mut command, &folder.join("tracker.log"))? };
        tracker.wait(mode)?;
        Ok(tracker)
    }

    fn wait(&mut self, mode: Mode) -> Result<()> {
        self.program.wait_for_output(" ready")?;
        if mode != Mode::Off {
            let labels = [("interface", lan::INTERFACE), ("mode", mode.name())];
            let attached = self.metrics()?.sum("xdp_tracker_attach_mode", &labels);
            ensure!(attached == 1.0, "not attached as {}:\n{}", mode.name(), self.program.output());
        }
        Ok(())
    }

    /// Where it serves, over UDP and HTTP alike.
    #[must_use]
    pub fn address(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.host.ip(family), PORT)
    }

    /// The URL for a torrent's metainfo file.
    #[must_use]
    pub fn url(&self, protocol: Protocol, family: Family) -> String {
        let name = self.host.name(family);
        match protocol {
            Protocol::Udp => format!("udp://{name}:{PORT}"),
            Protocol::Http => format!("http://{name}:{PORT}/announce"),
        }
    }

    /// What its metrics endpoint says now.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&http::get(self.host, METRICS, "/metrics")?))
    }
}

/// The release build, or what `XDP_TRACKER_BINARY` says.
fn binary() -> Result<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/xdp-tracker");
    let path = env::var_os("XDP_TRACKER_BINARY").map_or(built, PathBuf::from);
    path.canonicalize().with_context(|| format!("no {}: run `cargo xtask build`", path.display()))
}

fn configuration(mode: Mode) -> String {
    let (interface, mode) = (lan::INTERFACE, mode.name());
    format!(
        r#"chihaya:
  announce_interval: 30m
  min_announce_interval: 15m
  metrics_addr: "{METRICS}"
  http:
    addr: "[::]:{PORT}"
    announce_routes: ["/announce"]
    scrape_routes: ["/scrape"]
  udp:
    addr: "[::]:{PORT}"
    private_key: "a key that only the tests use"
  storage:
    name: memory
  xdp:
    interfaces: [{interface}]
    mode: {mode}
"#
    )
}
