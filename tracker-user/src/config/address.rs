//! Addresses to listen on, and networks to trust.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Where to listen: `address:port`, `[address]:port`, or `:port`.
///
/// As in Go, an unspecified address, be it `0.0.0.0`, `[::]` or none, means all addresses of
/// *both* families: a configuration that served IPv6 under Chihaya goes on serving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddr(SocketAddr);

impl ListenAddr {
    /// The address to bind. An unspecified one is `[::]`, which is to serve IPv4 too, by one socket
    /// (`IPV6_V6ONLY` off) or by two; a host without IPv6 needs `0.0.0.0` in its place.
    #[must_use]
    pub fn to_bind(self) -> SocketAddr {
        if self.0.ip().is_unspecified() {
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.0.port())
        } else {
            self.0
        }
    }
}

/// The text names no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {}", why(.text))]
pub struct ParseListenAddrError {
    text: String,
}

/// What is wrong with a text that is no address to listen on, and what to write.
fn why(text: &str) -> String {
    let forms = "an address to listen on is written 192.0.2.1:6969, [2001:db8::1]:6969 or :6969";
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_name =
        |host: &str| host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':');
    match text.rsplit_once(':') {
        _ if is_number(text) => format!("is a port alone: write ':{text}'"),
        _ if text.parse::<Ipv4Addr>().is_ok() => format!("has no port: write {text}:6969"),
        _ if text.parse::<Ipv6Addr>().is_ok() => {
            format!("needs brackets and a port: write '[{text}]:6969'")
        }
        Some((_, port)) if is_number(port) && port.parse::<u16>().is_err() => {
            format!("the port {port} is more than 65535")
        }
        Some((host, port)) if is_number(port) && is_name(host) => {
            format!("{host} is a name: give an address of this host; {forms}")
        }
        _ => forms.to_owned(),
    }
}

impl FromStr for ListenAddr {
    type Err = ParseListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseListenAddrError { text: text.to_owned() };
        let address = match text.rsplit_once(':').ok_or_else(error)? {
            ("", port) => {
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port.parse().map_err(|_| error())?)
            }
            ("localhost", port) => {
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().map_err(|_| error())?)
            }
            _ => text.parse().map_err(|_| error())?,
        };
        Ok(Self(address))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = ParseListenAddrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl From<ListenAddr> for String {
    fn from(address: ListenAddr) -> Self {
        address.to_string()
    }
}

/// A network in CIDR notation, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address lies in the network. An IPv4-mapped IPv6 address counts as IPv4,
    /// which is how a dual-stack socket shows it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        network.0
    }
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is written 192.0.2.0/24, 2001:db8::/32, or as one address")]
pub struct ParseNetworkError;

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| ParseNetworkError)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|error| format!("`{text}`: {error}"))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> String {
        text.parse::<ListenAddr>().unwrap().to_bind().to_string()
    }

    #[test]
    fn an_unspecified_address_means_both_families() {
        for text in [":6969", "0.0.0.0:6969", "[::]:6969"] {
            assert_eq!(bind(text), "[::]:6969");
        }
    }

    #[test]
    fn other_addresses_stay_as_they_are() {
        for text in ["127.0.0.1:6880", "[2001:db8::1]:6969"] {
            assert_eq!(bind(text), text);
        }
        assert_eq!(bind("localhost:6880"), "127.0.0.1:6880");
    }

    #[test]
    fn what_is_no_address_is_quoted_in_the_error() {
        for text in ["", "6969", "127.0.0.1", "127.0.0.1:", ":70000", "tracker.example:6969"] {
            let error = text.parse::<ListenAddr>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}`")));
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        let network = |text: &str| Network::try_from(text.to_owned()).unwrap();
        assert!(network("192.0.2.0/24").contains("192.0.2.77".parse().unwrap()));
        assert!(network("192.0.2.0/24").contains("::ffff:192.0.2.77".parse().unwrap()));
        assert!(!network("192.0.2.1").contains("192.0.2.2".parse().unwrap()));
        assert!(network("2001:db8::/32").contains("2001:db8::5".parse().unwrap()));
        assert!(Network::try_from("192.0.2.0/33".to_owned()).is_err());
    }
}
