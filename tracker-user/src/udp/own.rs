//! The endpoints that the tracker itself listens on: a datagram that claims to come from one of them is forged, or
//! a reply of our own.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::ifaddrs::getifaddrs;

/// How long the addresses of this machine are believed. Asking the system takes long, and strangers choose how often
/// a datagram has our own port as its source.
const ADDRESSES_LIFETIME: Duration = Duration::from_secs(1);

/// Tells whether a source is one of the tracker's own endpoints.
pub(super) struct OwnEndpoints {
    listen: Vec<SocketAddr>,
    /// This machine's addresses, which a wildcard stands for, and when the system was asked for them.
    addresses: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

impl OwnEndpoints {
    /// Of what the tracker listens on; a wildcard stands for all addresses of this machine.
    pub(super) const fn new(listen: Vec<SocketAddr>) -> Self {
        Self { listen, addresses: Mutex::new(None) }
    }

    /// Whether `source`, which is no IPv4-mapped address, is one of them. For nearly all sources the port tells.
    pub(super) fn contain(&self, source: SocketAddr) -> bool {
        self.listen.iter().any(|own| {
            own.port() == source.port()
                && (own.ip().to_canonical() == source.ip()
                    || own.ip().is_unspecified() && self.is_local(source.ip()))
        })
    }

    /// Whether this machine has the address.
    fn is_local(&self, address: IpAddr) -> bool {
        if address.is_loopback() {
            return true;
        }
        // A panic cannot leave it half written.
        let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.as_ref().is_none_or(|(asked, _)| now - *asked > ADDRESSES_LIFETIME) {
            // Where the system does not tell, what it said before is as good.
            let before = known.take().map(|(_, addresses)| addresses);
            *known = Some((now, local_addresses().or(before).unwrap_or_default()));
        }
        known.as_ref().is_some_and(|(_, addresses)| addresses.contains(&address))
    }
}

fn local_addresses() -> Option<Vec<IpAddr>> {
    let addresses = getifaddrs().ok()?.filter_map(|entry| entry.address);
    let addresses = addresses.filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    Some(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listen: &str, source: &str) -> bool {
        OwnEndpoints::new(vec![listen.parse().unwrap()]).contain(source.parse().unwrap())
    }

    #[test]
    fn an_address_is_its_own_at_its_port_only() {
        assert!(own("192.0.2.1:6969", "192.0.2.1:6969"));
        assert!(!own("192.0.2.1:6969", "192.0.2.1:6970"));
        assert!(!own("192.0.2.1:6969", "192.0.2.2:6969"));
    }

    #[test]
    fn a_wildcard_stands_for_the_addresses_of_this_machine() {
        assert!(own("[::]:6969", "127.0.0.1:6969") && own("0.0.0.0:6969", "127.9.9.9:6969"));
        assert!(own("[::]:6969", "[::1]:6969"));
        assert!(!own("[::]:6969", "192.0.2.1:6969"));
        for address in local_addresses().unwrap() {
            assert!(own("[::]:6969", &SocketAddr::new(address, 6969).to_string()), "{address}");
        }
    }
}
