//! The URLs that torrents name as their tracker. The daemon logs them at its start, so that the operator can copy them.

use std::net::SocketAddr;

use super::frontends::Frontend;
use crate::config::HttpConfig;

/// Stands for the host's name or address where the daemon serves all addresses.
const HOST: &str = "HOST";

/// One URL for each route of each frontend in `addresses`. Each element of that list has the frontend's name and where
/// it is served.
pub(super) fn announce_urls(
    http: &HttpConfig,
    addresses: &[(Frontend, SocketAddr)],
) -> Vec<String> {
    let announce = &http.announce_routes;
    let browsers = &http.webtorrent.routes;
    let mut urls: Vec<String> = Vec::new();
    for (frontend, address) in addresses {
        // The routes also count for the URL data of UDP announces (BEP 41).
        let schemes: &[(&str, &Vec<String>)] = match frontend {
            Frontend::Udp => &[("udp", announce)],
            Frontend::Http => &[("http", announce), ("ws", browsers)],
            Frontend::Https => &[("https", announce), ("wss", browsers)],
            Frontend::Metrics => &[],
        };
        let host = match address.ip() {
            ip if ip.is_unspecified() => format!("{HOST}:{}", address.port()),
            _ => address.to_string(),
        };
        for (scheme, routes) in schemes {
            for route in *routes {
                let url = format!("{scheme}://{host}{route}");
                // Two sockets, one of each address family, may serve one port.
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(http: &HttpConfig, addresses: &[(Frontend, &str)]) -> Vec<String> {
        let parsed: Vec<_> = addresses
            .iter()
            .map(|&(frontend, address)| (frontend, address.parse().unwrap()))
            .collect();
        announce_urls(http, &parsed)
    }

    #[test]
    fn each_route_of_each_frontend_has_a_url_and_an_unspecified_address_is_written_host() {
        let mut http = HttpConfig::default();
        let addresses = [
            (Frontend::Metrics, "127.0.0.1:6880"),
            (Frontend::Http, "[::]:6969"),
            (Frontend::Udp, "[2001:db8::1]:6969"),
        ];
        assert_eq!(
            urls(&http, &addresses),
            ["http://HOST:6969/announce", "udp://[2001:db8::1]:6969/announce"]
        );
        http.announce_routes = vec!["/announce".to_owned(), "/:passkey/announce".to_owned()];
        http.webtorrent.routes = vec!["/".to_owned()];
        assert_eq!(
            urls(&http, &[(Frontend::Https, "192.0.2.1:443")]),
            [
                "https://192.0.2.1:443/announce",
                "https://192.0.2.1:443/:passkey/announce",
                "wss://192.0.2.1:443/"
            ]
        );
    }

    #[test]
    fn two_sockets_of_one_port_have_one_url() {
        let announce_routes = vec!["/announce".to_owned(), "/:key/a".to_owned()];
        let http = HttpConfig { announce_routes, ..HttpConfig::default() };
        let addresses = [(Frontend::Udp, "[::]:6969"), (Frontend::Udp, "0.0.0.0:6969")];
        let expected = ["udp://HOST:6969/announce", "udp://HOST:6969/:key/a"];
        assert_eq!(urls(&http, &addresses), expected);
    }
}
