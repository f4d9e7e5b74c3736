//! What a tracker under test is told.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::INTERFACE;

/// The port of both protocols.
pub(crate) const PORT: u16 = 6969;
/// Where metrics are served.
pub(crate) const METRICS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6880);

/// How the tracker attaches its XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack, which every driver can do.
    Generic,
    /// Not at all.
    Off,
    /// As it finds best.
    Auto,
}

impl Mode {
    /// Every mode whose outcome is certain.
    pub const CERTAIN: [Self; 3] = [Self::Native, Self::Generic, Self::Off];

    /// Its name in the configuration and in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
            Self::Auto => "auto",
        }
    }
}

/// A configuration, and how to run with it.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// How the XDP program is attached.
    pub mode: Mode,
    /// The interfaces it is attached to.
    pub interfaces: &'a str,
    /// Where UDP is served.
    pub udp_addr: &'a str,
    /// The key `xdp.reply`.
    pub reply: &'a str,
    /// Room for torrents of either family.
    pub torrents: u32,
    /// The key `udp.private_key`, as YAML.
    pub private_key: &'a str,
    /// The key `announce_interval`.
    pub interval: &'a str,
    /// The key `prehooks`, as YAML in one line.
    pub prehooks: &'a str,
    /// The key `xdp.orphan_limit`.
    pub orphan_limit: &'a str,
    /// Whether the tracker runs without any capability.
    pub is_unprivileged: bool,
}

impl Options<'_> {
    /// All of it as the tests mostly need it.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            interfaces: INTERFACE,
            udp_addr: "[::]:6969",
            reply: "swap",
            torrents: 10_000,
            private_key: "a key that only the tests use",
            interval: "30m",
            prehooks: "[]",
            orphan_limit: "10m",
            is_unprivileged: false,
        }
    }

    /// Writes the configuration file of a tracker whose files are in `folder`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("tracker.yaml");
        fs::write(&path, self.yaml(folder))?;
        Ok(path)
    }

    fn yaml(&self, folder: &Path) -> String {
        let Self { interfaces, udp_addr, reply, torrents, private_key, orphan_limit, .. } = self;
        let Self { interval, prehooks, .. } = self;
        let mode = self.mode.name();
        let socket = folder.join("control.sock");
        let socket = socket.display();
        format!(
            r#"chihaya:
  announce_interval: {interval}
  min_announce_interval: 15m
  metrics_addr: "{METRICS}"
  control_socket: "{socket}"
  http:
    addr: "[::]:{PORT}"
    announce_routes: ["/announce"]
    scrape_routes: ["/scrape"]
  udp:
    addr: "{udp_addr}"
    private_key: {private_key}
  storage:
    name: memory
  prehooks: {prehooks}
  xdp:
    interfaces: [{interfaces}]
    mode: {mode}
    reply: {reply}
    orphan_limit: {orphan_limit}
    # Tests announce more torrents from one address than anybody.
    limits: {{ misses_per_source: 0 }}
    table: {{ torrents_ipv4: {torrents}, torrents_ipv6: {torrents}, blocks: 16MiB }}
"#
        )
    }
}
