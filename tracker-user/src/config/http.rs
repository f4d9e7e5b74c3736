//! The HTTP frontend's keys.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::{GoDuration, ListenAddr, Network};

/// As many as clients ever made.
const OFFERS_MAX: u32 = 100;

/// The kernel's default limit of file descriptors of a process (`fs.nr_open`): each connection needs one.
const BROWSERS_MAX: u32 = 1 << 20;

/// However small `max_connections` is, a household has some browsers.
const BROWSERS_OF_SOURCE_MIN: u32 = 16;

/// HTTP and HTTPS (BEP 3). Listens only where an address is given.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpConfig {
    /// Where to serve HTTP. Unset: no HTTP.
    /// An unspecified address (`[::]`, `0.0.0.0` or none) serves IPv4 and IPv6.
    #[schemars(example = "[::]:6969")]
    pub addr: Option<ListenAddr>,
    /// Where to serve HTTPS (TLS 1.2 or newer). Unset: no HTTPS. Needs a certificate and its key.
    #[schemars(example = "[::]:6970")]
    pub https_addr: Option<ListenAddr>,
    /// The PEM file of the certificate chain.
    #[schemars(example = "/etc/xdp-tracker/fullchain.pem")]
    #[schemars(extend("x-reads" = "file"))]
    pub tls_cert_path: Option<PathBuf>,
    /// The PEM file of the private key.
    #[schemars(example = "/etc/xdp-tracker/privkey.pem")]
    #[schemars(extend("x-reads" = "file"))]
    pub tls_key_path: Option<PathBuf>,
    /// How long a request may take to arrive.
    #[default(GoDuration::from_secs(2))]
    pub read_timeout: GoDuration,
    /// How long the reply may take to leave.
    #[default(GoDuration::from_secs(2))]
    pub write_timeout: GoDuration,
    /// How long a kept connection may wait for its next request.
    #[default(GoDuration::from_secs(30))]
    pub idle_timeout: GoDuration,
    /// Whether connections stay open after a reply. Clients announce rarely, so it seldom pays.
    pub enable_keepalive: bool,
    /// Whether to measure the time of each reply. Off, replies are counted as taking no time.
    pub enable_request_timing: bool,
    /// Paths that take announces. `:name` stands for one segment, `*name` for the rest of the
    /// path; hooks read both by their names.
    #[default(vec!["/announce".to_owned()])]
    #[schemars(inner(regex(pattern = "^/")))]
    pub announce_routes: Vec<String>,
    /// Paths that take scrapes (BEP 48), written like the above.
    #[default(vec!["/scrape".to_owned()])]
    #[schemars(inner(regex(pattern = "^/")))]
    pub scrape_routes: Vec<String>,
    /// Whether a client may name its address in the parameters `ip`, `ipv4` and `ipv6`.
    pub allow_ip_spoofing: bool,
    /// The header in which proxies name the client's address, like `X-Real-IP`, `X-Forwarded-For` or `Forwarded`.
    /// Of a list the last address counts that is in none of `trusted_proxies`.
    #[schemars(regex(pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), example = "X-Real-IP")]
    pub real_ip_header: Option<String>,
    /// The proxies whose header is believed: addresses or networks. Empty: any sender's, as Chihaya does, and
    /// the header has to be one address.
    #[schemars(example = ["192.0.2.1", "2001:db8::/32"])]
    pub trusted_proxies: Vec<Network>,
    /// The most connections of one source at a time: an IPv4 address or an IPv6 /64. An IPv6 /48 has four times as
    /// many. 0: no limit. `trusted_proxies` have none.
    #[default(1024)]
    #[schemars(extend("x-no-limit" = 0))]
    pub max_connections_per_source: u32,
    /// Whether a reply has the peers of the client's own address family (`own`), as with Chihaya, or of both
    /// (`both`), up to `max_numwant` of each, with figures that are sums, as with opentracker. Scrapes likewise.
    pub dual_stack: DualStack,
    /// The most peers a reply carries, whatever the client asks for. One has room for 242 over
    /// IPv4, for 79 over IPv6.
    #[default(100)]
    pub max_numwant: u32,
    /// The peers a reply carries when the client does not say.
    #[default(50)]
    pub default_numwant: u32,
    /// The most torrents one scrape may ask for; the rest is left out. A URL has room for 900.
    #[default(50)]
    pub max_scrape_infohashes: u32,
    /// WebTorrent: announces of browsers over WebSocket, where HTTP and HTTPS are served.
    pub webtorrent: WebTorrentConfig,
}

/// Of which address families a reply tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DualStack {
    /// The one by which the request came.
    #[default]
    Own,
    /// Both: a client that has the other one too learns of all peers by one announce.
    Both,
}

/// Announces of browsers.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebTorrentConfig {
    /// Paths that take such connections, written like `announce_routes`. Empty: there are none.
    #[schemars(inner(regex(pattern = "^/")), example = ["/", "/announce"])]
    pub routes: Vec<String>,
    /// How often browsers shall announce. They find peers by no other means, so it should be often.
    #[default(GoDuration::from_mins(2))]
    #[schemars(extend("minimum" = 1_000_000_000, "maximum" = 86_400_000_000_000_i64))]
    pub announce_interval: GoDuration,
    /// The most offers of one announce that are passed on, each to another peer.
    #[default(10)]
    #[schemars(range(max = OFFERS_MAX))]
    pub max_offers: u32,
    /// The most torrents that one connection announces.
    #[default(200)]
    pub max_torrents: u32,
    /// The most connections at a time, which do not count among those of HTTP.
    #[default(16_384)]
    #[schemars(range(max = BROWSERS_MAX))]
    pub max_connections: u32,
    /// The most of them of one source: an IPv4 address or an IPv6 /64. An IPv6 /48 has four times as many. 0: no
    /// limit. Unset: an eighth of `max_connections`, at least 16.
    #[schemars(extend("x-no-limit" = 0), example = 2048)]
    pub max_connections_per_source: Option<u32>,
}

impl WebTorrentConfig {
    /// The most connections of one source; 0 for no limit.
    #[must_use]
    pub fn connections_per_source(&self) -> u32 {
        let default = (self.max_connections / 8).max(BROWSERS_OF_SOURCE_MIN);
        self.max_connections_per_source.unwrap_or(default)
    }
}
