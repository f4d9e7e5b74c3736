//! What a tracker under test is told.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::INTERFACE;

/// The port of both protocols.
const PORT: u16 = 6969;
/// Where metrics are served.
const METRICS_PORT: u16 = 6880;

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
    /// The key `xdp.reverse_path`.
    pub reverse_path: &'a str,
    /// The key `xdp.limits.egress`.
    pub egress: &'a str,
    /// The key `xdp.limits.misses_per_source`. Tests announce more torrents from one address than anybody.
    pub misses_per_source: u32,
    /// Room for torrents of either family.
    pub torrents: u32,
    /// The key `udp.private_key`, as YAML.
    pub private_key: &'a str,
    /// The key `announce_interval`.
    pub interval: &'a str,
    /// The key `prehooks`, as YAML in one line.
    pub prehooks: &'a str,
    /// The key `posthooks`, likewise.
    pub posthooks: &'a str,
    /// The key `xdp.orphan_limit`.
    pub orphan_limit: &'a str,
    /// The capabilities that the tracker runs with, as changes to those of root, in the words of
    /// `setpriv --bounding-set`.
    pub capabilities: &'a str,
    /// Another user than root for it to run as, with these capabilities all the same.
    pub user: Option<u32>,
    /// The binary that runs.
    pub build: Build,
    /// Which of several trackers on one host it is: each has ports, pins and a socket of its own.
    pub nth: u16,
    /// The key `peer_lifetime` of the storage.
    pub peer_lifetime: &'a str,
    /// Where the swarms are saved, once a second.
    pub snapshot: Option<&'a Path>,
    /// The Redis server that has the swarms too, looked at once a second.
    pub redis: Option<&'a str>,
    /// Further keys of the storage `redis`, as YAML in one line.
    pub redis_keys: &'a str,
    /// A file that says by how many seconds the wall clock is off, `+3600` for instance, and that may
    /// change. It needs Debian's libfaketime.
    pub clock: Option<&'a Path>,
}

/// Builds of the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The release build, or what `XDP_TRACKER_BINARY` says.
    Tested,
    /// The debug build, or what `XDP_TRACKER_OTHER_BINARY` says.
    Other,
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
            reverse_path: "off",
            egress: "0",
            misses_per_source: 0,
            torrents: 10_000,
            private_key: "a key that only the tests use",
            interval: "30m",
            prehooks: "[]",
            posthooks: "[]",
            orphan_limit: "10m",
            capabilities: "+all",
            user: None,
            build: Build::Tested,
            nth: 0,
            peer_lifetime: "31m",
            snapshot: None,
            redis: None,
            redis_keys: "",
            clock: None,
        }
    }

    /// Where metrics are served.
    pub(crate) fn metrics(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), METRICS_PORT + self.nth)
    }

    /// The port of HTTP, and of UDP where `udp_addr` does not say another.
    pub(crate) fn port(&self) -> u16 {
        PORT + self.nth
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
        let Self { interval, prehooks, posthooks, reverse_path, egress, misses_per_source, .. } =
            self;
        let mode = self.mode.name();
        let (metrics, port) = (self.metrics(), self.port());
        let nth = if self.nth == 0 { String::new() } else { format!("-{}", self.nth) };
        let storage = self.storage();
        let socket = folder.join("control.sock");
        let socket = socket.display();
        format!(
            r#"chihaya:
  announce_interval: {interval}
  min_announce_interval: 15m
  metrics_addr: "{metrics}"
  control_socket: "{socket}"
  http:
    addr: "[::]:{port}"
    announce_routes: ["/announce"]
    scrape_routes: ["/scrape"]
    webtorrent:
      routes: ["/announce"]
      announce_interval: 20s
  udp:
    addr: "{udp_addr}"
    private_key: {private_key}
    connection_id_lifetime: 30m
  storage: {storage}
  prehooks: {prehooks}
  posthooks: {posthooks}
  xdp:
    interfaces: [{interfaces}]
    mode: {mode}
    pin_path: /sys/fs/bpf/xdp-tracker{nth}
    reply: {reply}
    reverse_path: {reverse_path}
    orphan_limit: {orphan_limit}
    limits:
      misses_per_source: {misses_per_source}
      passes_per_source: 0
      peers_per_source: 0
      torrents_per_source: 0
      egress: {egress}
    table: {{ torrents_ipv4: {torrents}, torrents_ipv6: {torrents}, blocks: 16MiB }}
"#
        )
    }
    /// The key `storage`, as YAML in one line.
    fn storage(&self) -> String {
        let lifetime = format!("peer_lifetime: {}", self.peer_lifetime);
        if let Some(url) = self.redis {
            let keys = format!("redis_broker: '{url}', gc_interval: 1s, {}", self.redis_keys);
            return format!("{{ name: redis, config: {{ {lifetime}, {keys} }} }}");
        }
        let snapshot = self.snapshot.map_or_else(String::new, |path| {
            format!(", snapshot: {{ path: {}, interval: 1s }}", path.display())
        });
        format!("{{ name: memory, config: {{ {lifetime}{snapshot} }} }}")
    }
}
