//! Where the tracker is reached: the addresses that the kernel may answer for.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use nix::ifaddrs::getifaddrs;
use prometheus::IntCounter;
use tracker_common::abi::{ENDPOINTS_MAX, EndpointV4, EndpointV6};

use crate::{config::UdpConfig, log_limit::Trouble, metrics::Metrics};

/// The endpoints of both families.
pub(super) type OwnEndpoints = (Vec<EndpointV4>, Vec<EndpointV6>);

/// Follows the addresses of the interfaces that stand behind a wildcard.
pub(super) struct Endpoints {
    listen: BTreeSet<SocketAddr>,
    interfaces: Vec<String>,
    last: Option<BTreeSet<SocketAddr>>,
    /// The addresses cannot be told.
    trouble: Trouble,
    exhausted: IntCounter,
}

impl Endpoints {
    /// Nothing is looked up yet.
    pub(super) fn new(udp: &UdpConfig, interfaces: Vec<String>, metrics: &Arc<Metrics>) -> Self {
        Self {
            listen: udp.binds(),
            interfaces,
            last: None,
            trouble: Trouble::default(),
            exhausted: metrics.limit_reached("kernel_endpoints"),
        }
    }

    /// Goes by the addresses of other interfaces.
    pub(super) fn reload(&mut self, interfaces: Vec<String>) {
        self.interfaces = interfaces;
    }

    /// The endpoints, if they are others than last time.
    pub(super) fn changed(&mut self) -> Option<OwnEndpoints> {
        let addresses = match self.interface_addresses() {
            Ok(addresses) => addresses,
            Err(error) => {
                if self.trouble.goes_on(&error.to_string()) {
                    tracing::error!("cannot tell this machine's addresses: {error}");
                }
                return None;
            }
        };
        if self.trouble.is_over() {
            tracing::info!("this machine's addresses are told again");
        }
        let now = resolve(&self.listen, &addresses);
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        let (mut v4, mut v6) = split(&now);
        for (family, len) in [("IPv4", v4.len()), ("IPv6", v6.len())] {
            tracing::debug!("{len} {family} endpoints");
            if len > ENDPOINTS_MAX {
                self.exhausted.inc();
                tracing::warn!(
                    "the tracker has {len} {family} addresses, and the kernel answers for \
                     {ENDPOINTS_MAX}: the daemon serves the others"
                );
            }
        }
        v4.truncate(ENDPOINTS_MAX);
        v6.truncate(ENDPOINTS_MAX);
        self.last = Some(now);
        Some((v4, v6))
    }

    fn interface_addresses(&self) -> nix::Result<Vec<IpAddr>> {
        let ours = getifaddrs()?.filter(|entry| self.interfaces.contains(&entry.interface_name));
        let addresses = ours.filter_map(|entry| entry.address).filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        Ok(addresses.collect())
    }
}

/// Puts the interfaces' addresses in the place of wildcards. As for the sockets, that of IPv6
/// means IPv4 too, unless an IPv4 address of the same port is listed.
fn resolve(listen: &BTreeSet<SocketAddr>, addresses: &[IpAddr]) -> BTreeSet<SocketAddr> {
    let mut endpoints = BTreeSet::new();
    for &addr in listen {
        if !addr.ip().is_unspecified() {
            endpoints.insert(addr);
            continue;
        }
        let port = addr.port();
        let both = !listen.iter().any(|other| other.is_ipv4() && other.port() == port);
        let served = addresses.iter().filter(|address| address.is_ipv6() || both);
        endpoints.extend(served.map(|&address| SocketAddr::new(address, port)));
    }
    endpoints
}

/// Link-local addresses come last: few clients use them.
fn split(endpoints: &BTreeSet<SocketAddr>) -> OwnEndpoints {
    let (mut v4, mut v6) = OwnEndpoints::default();
    for endpoint in endpoints {
        let port = endpoint.port().to_be_bytes();
        match endpoint.ip() {
            IpAddr::V4(ip) => v4.push(EndpointV4 { addr: ip.octets(), port, ..Default::default() }),
            IpAddr::V6(ip) => v6.push(EndpointV6 { addr: ip.octets(), port, ..Default::default() }),
        }
    }
    v6.sort_by_key(|endpoint| endpoint.addr[..2] == [0xfe, 0x80]);
    (v4, v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(listen: &[&str]) -> Vec<String> {
        let listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
        let addresses = ["192.0.2.1", "fe80::1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        resolve(&listen, &addresses).iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_wildcard_means_the_addresses_of_the_interfaces() {
        assert_eq!(resolved(&["[::]:1"]), ["192.0.2.1:1", "[2001:db8::1]:1", "[fe80::1]:1"]);
    }

    #[test]
    fn a_listed_address_is_taken_as_it_is() {
        assert_eq!(resolved(&["198.51.100.7:1"]), ["198.51.100.7:1"]);
    }

    #[test]
    fn a_wildcard_beside_an_ipv4_address_of_its_port_is_ipv6_only() {
        let endpoints = resolved(&["[::]:1", "198.51.100.7:1"]);
        assert_eq!(endpoints, ["198.51.100.7:1", "[2001:db8::1]:1", "[fe80::1]:1"]);
        assert_eq!(resolved(&["[::]:1", "198.51.100.7:2"]).len(), 4);
    }

    #[test]
    fn link_local_addresses_come_last() {
        let endpoints = ["[fe80::1]:1", "[ff00::1]:1"].map(|addr| addr.parse().unwrap());
        let (_, v6) = split(&endpoints.into());
        assert_eq!(v6.last().unwrap().addr[..2], [0xfe, 0x80]);
    }
}
