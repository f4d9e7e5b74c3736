//! How the frontend is set up.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::{
    HeaderMap,
    header::{HeaderName, InvalidHeaderName},
};
use ipnet::IpNet;

use super::{
    places::Share,
    proxies::{self, Named, parse_address, trusts},
    router::{RouteError, Router},
    webtorrent::WebTorrentOptions,
};

/// What an operator can choose. The defaults are Chihaya's, where it has one.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Paths of announces, with `:name` and `*name` parameters.
    pub announce_routes: Vec<String>,
    /// Paths of scrapes, likewise.
    pub scrape_routes: Vec<String>,
    /// Whether the parameters `ip`, `ipv4` and `ipv6` say where a peer is.
    pub allow_ip_spoofing: bool,
    /// The header in which proxies name their client: a list of addresses that each appends to, or, where
    /// `trusted_proxies` is empty, one address.
    pub real_ip_header: Option<String>,
    /// The proxies whose header is believed; empty means any sender's, as in Chihaya.
    pub trusted_proxies: Vec<IpNet>,
    /// The most peers a client is given.
    pub max_numwant: u16,
    /// Whether a reply has the peers of both address families, and figures that are sums.
    pub gives_both_families: bool,
    /// How many it is given when it does not say.
    pub default_numwant: u16,
    /// Announces over WebSocket.
    pub webtorrent: WebTorrentOptions,
    /// The most info-hashes of one scrape; those beyond are left out.
    pub max_scrape_infohashes: usize,
    /// Whether the time that a request takes is measured.
    pub request_timing: bool,
    /// Whether a connection carries more than one request.
    pub keepalive: bool,
    /// From the first byte of a request, or from the accepted connection, to the end of its head.
    pub read_timeout: Duration,
    /// From the first to the last byte of a reply.
    pub write_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// The longest request head in bytes, URL included; at least 8192, the URL at most 65534.
    pub head_bytes_max: usize,
    /// The most connections at a time; at least 1.
    pub connections_max: usize,
    /// The most of one source (IPv4 address or IPv6 /64), a quarter of what an IPv6 /48 may have; 0 for no limit.
    /// Trusted proxies have none, nor has any source where each may be a proxy.
    pub connections_per_source_max: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            announce_routes: vec!["/announce".to_owned()],
            scrape_routes: vec!["/scrape".to_owned()],
            allow_ip_spoofing: false,
            real_ip_header: None,
            trusted_proxies: Vec::new(),
            max_numwant: 100,
            gives_both_families: false,
            default_numwant: 50,
            webtorrent: WebTorrentOptions::default(),
            max_scrape_infohashes: 50,
            request_timing: false,
            keepalive: false,
            read_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            head_bytes_max: 16 << 10,
            connections_max: 16 << 10,
            connections_per_source_max: 1 << 10,
        }
    }
}

/// Options that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// In `announce_routes`, `scrape_routes` or `webtorrent.routes`.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// In `real_ip_header`.
    #[error("real_ip_header {0:?} is not a header name")]
    RealIpHeader(String, #[source] InvalidHeaderName),
}

/// Options, checked and made ready for use.
#[derive(Debug)]
pub struct Settings {
    pub(super) options: HttpOptions,
    pub(super) router: Router,
    /// Where connections become WebSockets.
    #[cfg_attr(not(feature = "webtorrent"), allow(dead_code, reason = "for browsers alone"))]
    pub(super) webtorrent_router: Router,
    real_ip_header: Option<HeaderName>,
}

impl Settings {
    /// Checks the options.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(options: HttpOptions) -> Result<Self, OptionsError> {
        let router = Router::new(&options.announce_routes, &options.scrape_routes)?;
        let webtorrent_router = Router::new(&options.webtorrent.routes, &[])?;
        let real_ip_header = options
            .real_ip_header
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(|name| {
                name.parse().map_err(|error| OptionsError::RealIpHeader(name.to_owned(), error))
            })
            .transpose()?;
        Ok(Self { options, router, webtorrent_router, real_ip_header })
    }

    /// The client that sent the request: the other end of the connection, or the one that a trusted proxy there
    /// names. `None` when the proxy's header has no address where it counts.
    ///
    /// Without `trusted_proxies` the first line of the header has to be one address, as in Chihaya.
    pub(super) fn client(&self, remote: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let remote = remote.ip().to_canonical();
        let trusted = &self.options.trusted_proxies;
        let Some(name) = &self.real_ip_header else { return Some(remote) };
        if trusted.is_empty() {
            let value = headers.get(name).filter(|value| !value.is_empty());
            return value.map_or(Some(remote), |value| parse_address(value.as_bytes()));
        }
        if !trusts(trusted, remote) {
            return Some(remote);
        }
        match proxies::named(headers, name, trusted) {
            Named::Nobody => Some(remote),
            Named::Client(address) => Some(address),
            Named::Unreadable => None,
        }
    }

    /// The share of a connection from `remote` in the connections of HTTP.
    pub(super) fn connection_share(&self, remote: IpAddr) -> Share {
        let HttpOptions { trusted_proxies: trusted, connections_per_source_max: max, .. } =
            &self.options;
        let remote = remote.to_canonical();
        let may_be_proxy = self.real_ip_header.is_some() && trusted.is_empty();
        let source = (!may_be_proxy && !trusts(trusted, remote)).then_some(remote);
        Share { source, max: *max }
    }

    /// The share of a browser's connection in those over WebSocket.
    #[cfg(feature = "webtorrent")]
    pub(super) fn browser_share(&self, client: IpAddr) -> Share {
        let HttpOptions { trusted_proxies: trusted, webtorrent, .. } = &self.options;
        let source = (!trusts(trusted, client)).then_some(client);
        Share { source, max: webtorrent.connections_per_source_max }
    }

    /// The client whose address family a scrape asks for. Where any proxy is believed, one that says nothing of
    /// use is itself the client, as in Chihaya.
    pub(super) fn scraper(&self, remote: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let is_needed = !self.options.trusted_proxies.is_empty();
        let client = self.client(remote, headers);
        client.or_else(|| (!is_needed).then(|| remote.ip().to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind_proxy(trusted: &[&str]) -> Settings {
        Settings::new(HttpOptions {
            real_ip_header: Some("X-Real-IP".to_owned()),
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            ..HttpOptions::default()
        })
        .unwrap()
    }

    /// The client of a connection from `remote` with a header X-Real-IP.
    fn client(settings: &Settings, remote: &str, header: &str) -> Option<String> {
        let headers = [("x-real-ip".parse().unwrap(), header.parse().unwrap())];
        let remote = SocketAddr::new(remote.parse().unwrap(), 4711);
        Some(settings.client(remote, &HeaderMap::from_iter(headers))?.to_string())
    }

    #[test]
    fn without_a_list_every_proxy_is_trusted() {
        let settings = behind_proxy(&[]);
        assert_eq!(client(&settings, "10.0.0.1", "192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(client(&settings, "10.0.0.1", "::ffff:192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(client(&settings, "10.0.0.1", "2001:db8::7").unwrap(), "2001:db8::7");
    }

    #[test]
    fn a_header_from_outside_the_list_is_ignored() {
        let settings = behind_proxy(&["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(client(&settings, "10.1.2.3", "192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(client(&settings, "::ffff:10.1.2.3", "192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(client(&settings, "fd00::1", "192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(client(&settings, "198.51.100.1", "192.0.2.7").unwrap(), "198.51.100.1");
        assert_eq!(client(&settings, "198.51.100.1", "nonsense").unwrap(), "198.51.100.1");
    }

    #[test]
    fn without_a_list_the_first_line_holds_one_address_or_nothing() {
        let settings = behind_proxy(&[]);
        assert_eq!(client(&settings, "::ffff:10.0.0.1", "").unwrap(), "10.0.0.1");
        assert_eq!(client(&settings, "10.0.0.1", "192.0.2.7, 10.0.0.2"), None);
        let name: HeaderName = "x-real-ip".parse().unwrap();
        let lines = ["192.0.2.7", "192.0.2.8"].map(|line| (name.clone(), line.parse().unwrap()));
        let remote = "10.0.0.1:4711".parse().unwrap();
        let client = settings.client(remote, &HeaderMap::from_iter(lines));
        assert_eq!(client, Some("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn a_trusted_proxy_s_header_is_a_list() {
        let settings = behind_proxy(&["10.0.0.0/8"]);
        let list = "192.0.2.66, 203.0.113.5:4711, 10.0.0.2";
        assert_eq!(client(&settings, "10.0.0.1", list).unwrap(), "203.0.113.5");
        assert_eq!(client(&settings, "10.0.0.1", "192.0.2.66, nonsense"), None);
        assert_eq!(client(&settings, "10.0.0.1", " ").unwrap(), "10.0.0.1");
    }

    #[test]
    fn a_scrape_is_refused_where_a_trusted_proxy_s_word_is_unreadable() {
        let headers = [("x-real-ip".parse().unwrap(), "unknown".parse().unwrap())];
        let headers = HeaderMap::from_iter(headers);
        let remote = "10.0.0.1:4711".parse().unwrap();
        assert_eq!(behind_proxy(&["10.0.0.1/32"]).scraper(remote, &headers), None);
        assert_eq!(behind_proxy(&[]).scraper(remote, &headers), Some(remote.ip()));
    }

    #[test]
    fn a_bad_header_name_is_named() {
        let options =
            HttpOptions { real_ip_header: Some("X Real".to_owned()), ..HttpOptions::default() };
        let error = Settings::new(options).unwrap_err();
        assert_eq!(error.to_string(), "real_ip_header \"X Real\" is not a header name");
    }
}
