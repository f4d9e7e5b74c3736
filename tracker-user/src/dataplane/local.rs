//! This machine's addresses: a request that claims to come from one of them, and came from an interface, is forged.

use std::net::{IpAddr, Ipv4Addr};

use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrIn};
use tracker_common::{
    abi::LOCAL_MAX,
    family::{Family as _, V4, V6},
};

/// All of them, in order and as the program compares them; [`LOCAL_MAX`] at most. Where the system does not tell there
/// are none, so that the program answers as without the check.
pub(super) fn addresses() -> Vec<[u64; 2]> {
    let mut words: Vec<_> = getifaddrs()
        .into_iter()
        .flatten()
        .flat_map(|entry| {
            entry.address.into_iter().flat_map(move |address| {
                let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
                let v4 = address.as_sockaddr_in().map(SockaddrIn::ip);
                let mask = entry
                    .netmask
                    .as_ref()
                    .and_then(|mask| mask.as_sockaddr_in().map(SockaddrIn::ip));
                v4.into_iter().flat_map(move |v4| of_network(v4, mask)).chain(v6)
            })
        })
        .filter(|address| !address.is_loopback())
        .map(|address| match address {
            IpAddr::V4(address) => V4::words(&address.octets()),
            IpAddr::V6(address) => V6::words(&address.octets()),
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(LOCAL_MAX);
    words
}

/// An address, and the first and the last one of its network, which are its broadcast addresses: the network stack takes
/// nothing from these either. Networks of one or two addresses (RFC 3021) have none.
fn of_network(address: Ipv4Addr, mask: Option<Ipv4Addr>) -> Vec<IpAddr> {
    let mask = mask.map_or(u32::MAX, Ipv4Addr::to_bits);
    let bits = address.to_bits();
    let ends = (mask.count_zeros() > 1).then_some([bits & mask, bits | !mask]);
    let all = ends.into_iter().flatten().chain([bits]);
    all.map(|bits| Ipv4Addr::from_bits(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_s_broadcast_addresses_are_told_with_the_address() {
        let of = |address: &str, mask: [u8; 4]| {
            of_network(address.parse().unwrap(), Some(mask.into()))
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("10.77.0.1", [255, 255, 255, 0]), ["10.77.0.0", "10.77.0.255", "10.77.0.1"]);
        assert_eq!(of("10.77.0.1", [255, 255, 255, 254]), ["10.77.0.1"]);
        assert_eq!(of("10.77.0.1", [255; 4]), ["10.77.0.1"]);
    }

    #[test]
    fn loopback_addresses_are_not_told() {
        let words = addresses();
        assert!(!words.contains(&V4::words(&[127, 0, 0, 1])));
        assert!(words.len() <= LOCAL_MAX);
    }
}
