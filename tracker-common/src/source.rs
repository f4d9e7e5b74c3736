//! Which sources get a reply, and which addresses can be a peer's.
//!
//! The kernel and the daemon use the same two rules: [`is_answered_port`] for the source port of a request
//! over UDP, and [`can_be_a_peer`] for an address and a port that are about to enter a swarm.

use core::net::{IpAddr, SocketAddr};

use crate::family::{Family, V4, V6};

/// The lowest source port that gets a reply over UDP.
///
/// A BitTorrent client has an unprivileged port, and a NAT keeps it in that range (RFC 4787, REQ-3). Below it are
/// the services that answer whatever they get (echo 7, chargen 19, DNS 53, NTP 123): a datagram with a forged
/// source would make one of them and the tracker talk to each other without end.
pub const SOURCE_PORT_MIN: u16 = 1024;

/// Whether a request over UDP from this source port (in host byte order) may be answered.
#[inline(always)]
#[must_use]
pub const fn is_answered_port(port: u16) -> bool {
    port >= SOURCE_PORT_MIN
}

/// Whether a peer may have this address, at this port in host byte order.
///
/// Never a peer's are port 0 and, over IPv4, 0.0.0.0/8, multicast (224.0.0.0/4) and 240.0.0.0/4 with the
/// broadcast address; over IPv6 `::`, multicast (`ff00::/8`), and IPv4 addresses in an IPv6 form (`::ffff:0:0/96`,
/// `::/96`). Private and loopback addresses can be a peer's: a tracker may serve one site, or one host. What
/// arrives from an interface with a loopback address the network stack drops.
#[inline(always)]
#[must_use]
pub fn can_be_a_peer<F: Family>(addr: &F::Addr, port: u16) -> bool {
    F::can_be_a_peer(addr) && port != 0
}

/// The same for an address of either family. An IPv4-mapped address is none: see [`IpAddr::to_canonical`].
#[must_use]
pub fn socket_can_be_a_peer(peer: SocketAddr) -> bool {
    match peer.ip() {
        IpAddr::V4(addr) => can_be_a_peer::<V4>(&addr.octets(), peer.port()),
        IpAddr::V6(addr) => can_be_a_peer::<V6>(&addr.octets(), peer.port()),
    }
}

/// Whether a client at `client` may say that its peer is here; `None` for a client whose own address is unknown. Only
/// clients of the same host reach what is on its loopback interface.
#[must_use]
pub fn may_be_claimed(peer: SocketAddr, client: Option<IpAddr>) -> bool {
    let is_reachable = !peer.ip().is_loopback() || client.is_none_or(|client| client.is_loopback());
    is_reachable && socket_can_be_a_peer(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can(ip: &str) -> bool {
        socket_can_be_a_peer(SocketAddr::new(ip.parse().unwrap(), 6881))
    }

    #[test]
    fn some_addresses_are_never_a_peers() {
        for ip in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1"] {
            assert!(!can(ip), "{ip}");
        }
        for ip in ["255.255.255.255", "::", "ff02::1", "::ffff:192.0.2.1", "::192.0.2.1", "::2"] {
            assert!(!can(ip), "{ip}");
        }
    }

    #[test]
    fn addresses_of_hosts_can_be_a_peers_private_and_loopback_ones_too() {
        for ip in ["1.0.0.0", "192.0.2.1", "10.0.0.1", "127.0.0.1", "223.255.255.255"] {
            assert!(can(ip), "{ip}");
        }
        for ip in ["::1", "2001:db8::1", "fe80::1", "fd00::1", "64:ff9b::c000:201", "1::"] {
            assert!(can(ip), "{ip}");
        }
    }

    #[test]
    fn no_peer_has_port_0() {
        assert!(!can_be_a_peer::<V4>(&[192, 0, 2, 1], 0));
        assert!(!can_be_a_peer::<V6>(&[0x20; 16], 0));
    }

    #[test]
    fn ports_of_services_are_not_answered() {
        for port in [0, 7, 19, 53, 123, 1023] {
            assert!(!is_answered_port(port));
        }
        assert!(is_answered_port(1024) && is_answered_port(u16::MAX));
    }
}
