//! How the frontend is set up: the configuration, and what is derived from it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hyper::{
    HeaderMap,
    header::{HeaderName, InvalidHeaderName},
};

use super::{
    places::Share,
    proxies::{self, Named, parse_address, trusts},
};
use crate::{
    config::{HttpConfig, RouteError},
    routes::Router,
};

/// The most connections at a time, in all.
const CONNECTIONS_MAX: usize = 16 << 10;

/// Room for a request head without a long scrape in it.
const HEAD_BYTES: usize = 16 << 10;

/// More than the longest URL, which has 65,534 bytes.
const HEAD_BYTES_MAX: usize = 80 << 10;

/// A configuration that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// In `announce_routes`, `scrape_routes` or `webtorrent.routes`.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// In `real_ip_header`.
    #[error("real_ip_header {0:?} is not a header name")]
    RealIpHeader(String, #[source] InvalidHeaderName),
}

/// The configuration, checked, and what is derived from it once.
#[derive(Debug)]
pub struct Settings {
    pub(super) config: HttpConfig,
    pub(super) router: Arc<Router>,
    /// Where connections become WebSockets.
    #[cfg_attr(not(feature = "webtorrent"), allow(dead_code, reason = "for browsers alone"))]
    pub(super) webtorrent_router: Router,
    real_ip_header: Option<HeaderName>,
    /// The longest request head in bytes, URL included.
    pub(super) head_bytes_max: usize,
    /// The most connections at a time; at least 1.
    pub(super) connections_max: usize,
}

impl Settings {
    /// Checks the configuration. Its addresses and certificate do not matter here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(config: HttpConfig) -> Result<Self, SettingsError> {
        let router = Router::new(&config.announce_routes, &config.scrape_routes)?.into();
        let webtorrent_router = Router::new(&config.webtorrent.routes, &[])?;
        let real_ip_header = config
            .real_ip_header
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(|name| {
                name.parse().map_err(|error| SettingsError::RealIpHeader(name.to_owned(), error))
            })
            .transpose()?;
        let head_bytes_max = head_bytes_max(config.max_scrape_infohashes);
        let connections_max = CONNECTIONS_MAX;
        Ok(Self {
            config,
            router,
            webtorrent_router,
            real_ip_header,
            head_bytes_max,
            connections_max,
        })
    }

    /// The routes of announces and scrapes, for other frontends.
    #[must_use]
    pub fn routes(&self) -> Arc<Router> {
        Arc::clone(&self.router)
    }

    /// The client that sent the request: the other end of the connection, or the one that a trusted proxy there
    /// names. `None` when the proxy's header has no address where it counts.
    ///
    /// Without `trusted_proxies` the first line of the header has to be one address, as in Chihaya.
    pub(super) fn client(&self, remote: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let remote = remote.ip().to_canonical();
        let trusted = &self.config.trusted_proxies;
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
        let HttpConfig { trusted_proxies: trusted, max_connections_per_source: max, .. } =
            &self.config;
        let remote = remote.to_canonical();
        let may_be_proxy = self.real_ip_header.is_some() && trusted.is_empty();
        let source = (!may_be_proxy && !trusts(trusted, remote)).then_some(remote);
        Share { source, max: *max as usize }
    }

    /// The share of a browser's connection in those over WebSocket.
    #[cfg(feature = "webtorrent")]
    pub(super) fn browser_share(&self, client: IpAddr) -> Share {
        let HttpConfig { trusted_proxies: trusted, webtorrent, .. } = &self.config;
        let source = (!trusts(trusted, client)).then_some(client);
        Share { source, max: webtorrent.connections_per_source() as usize }
    }

    /// The client whose address family a scrape asks for. Where any proxy is believed, one that says nothing of
    /// use is itself the client, as in Chihaya.
    pub(super) fn scraper(&self, remote: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let is_needed = !self.config.trusted_proxies.is_empty();
        let client = self.client(remote, headers);
        client.or_else(|| (!is_needed).then(|| remote.ip().to_canonical()))
    }
}

/// Room for a scrape of so many info-hashes, each with all of its bytes escaped.
fn head_bytes_max(info_hashes: u32) -> usize {
    const OF_EACH: usize = "info_hash=&".len() + 3 * 20;
    HEAD_BYTES.max((HEAD_BYTES / 2 + OF_EACH * info_hashes as usize).min(HEAD_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind_proxy(trusted: &[&str]) -> Settings {
        Settings::new(HttpConfig {
            real_ip_header: Some("X-Real-IP".to_owned()),
            trusted_proxies: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            ..HttpConfig::default()
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
        let config =
            HttpConfig { real_ip_header: Some("X Real".to_owned()), ..HttpConfig::default() };
        let error = Settings::new(config).unwrap_err();
        assert_eq!(error.to_string(), "real_ip_header \"X Real\" is not a header name");
    }
}
