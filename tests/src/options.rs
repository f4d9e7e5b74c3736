//! What a tracker under test is told.

use std::net::{Ipv4Addr, SocketAddr};

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
    /// The key `xdp.orphan_limit`.
    pub orphan_limit: &'a str,
    /// The capabilities that the tracker runs with, as changes to those of root, in the words of
    /// `setpriv --bounding-set`.
    pub capabilities: &'a str,
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
            orphan_limit: "10m",
            capabilities: "+all",
        }
    }

    /// The configuration file.
    pub(crate) fn yaml(&self) -> String {
        let Self { mode, interfaces, udp_addr, reply, torrents, private_key, orphan_limit, .. } =
            self;
        let mode = mode.name();
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
    addr: "{udp_addr}"
    private_key: {private_key}
  storage:
    name: memory
  xdp:
    interfaces: [{interfaces}]
    mode: {mode}
    reply: {reply}
    orphan_limit: {orphan_limit}
    table: {{ torrents_ipv4: {torrents}, torrents_ipv6: {torrents}, blocks: 16MiB }}
"#
        )
    }
}
