//! Where a client says that its peer is: the parameters `ip` (BEP 3), `ipv4` and `ipv6` (BEP 7).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{query::Query, refusal::NO_ADDRESS};
use crate::pipeline::Refusal;

/// An address, and the port that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

impl Place {
    /// The peer there, which listens at `port` where the place does not say another.
    pub(super) fn peer(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(port))
    }
}

/// The place by which a request from `client` is answered, and the peer's place in the other address family, if it
/// names one.
///
/// `ip` counts before all. Otherwise the client's own family is that of the answer: the claim of that family, or
/// else the client's address. A claim that is empty, or of the address `0.0.0.0` or `::`, is none.
///
/// # Errors
/// A claim counts that is no address, or there is none, and no readable address of the client either.
pub(super) fn places(
    query: &Query,
    client: Option<IpAddr>,
) -> Result<(Place, Option<Place>), Refusal> {
    let claimed = |key| query.get(key).filter(|text| !text.is_empty());
    let client = client.map(|address| Place { address, port: None });
    let by_ip = match claimed("ip") {
        None => None,
        Some(text) => match parse_place(text).ok_or(NO_ADDRESS)? {
            unspecified if unspecified.address.is_unspecified() => client.or(Some(unspecified)),
            place => Some(place),
        },
    };
    let by_family: Vec<Place> = ["ipv4", "ipv6"]
        .into_iter()
        .filter_map(|key| {
            parse_place(claimed(key)?).filter(|place| !place.address.is_unspecified())
        })
        .collect();
    let of_family =
        |is_ipv4: bool| by_family.iter().copied().find(|place| place.address.is_ipv4() == is_ipv4);
    let main = by_ip
        .or_else(|| of_family(client?.address.is_ipv4()))
        .or(client)
        .or_else(|| by_family.first().copied())
        .ok_or(NO_ADDRESS)?;
    Ok((main, of_family(!main.address.is_ipv4())))
}

/// An address, or one with a port, as BEP 7 has it; of IPv6 with brackets or, without a port, none.
/// An IPv4-mapped IPv6 address is IPv4. A port 0 is none.
fn parse_place(text: &[u8]) -> Option<Place> {
    let text = str::from_utf8(text).ok()?.trim_ascii();
    let (address, port) = match text.parse::<SocketAddr>() {
        Ok(endpoint) => (endpoint.ip(), Some(endpoint.port())),
        Err(_) => match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(bracketed) => (bracketed.parse::<Ipv6Addr>().ok()?.into(), None),
            None => (text.parse().ok()?, None),
        },
    };
    Some(Place { address: address.to_canonical(), port: port.filter(|&port| port != 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of a query from `client`, both with port 1 where they name none.
    fn from(client: Option<&str>, text: &str) -> Option<[String; 2]> {
        let mut query = Query::default();
        query.parse(text).unwrap();
        let client = client.map(|address| address.parse().unwrap());
        let (main, other) = places(&query, client).ok()?;
        let text = |place: Option<Place>| place.map_or(String::new(), |it| it.peer(1).to_string());
        Some([text(Some(main)), text(other)])
    }

    fn of(text: &str) -> [String; 2] {
        from(Some("192.0.2.1"), text).unwrap()
    }

    #[test]
    fn an_ipv4_client_that_names_an_ipv6_address_is_in_both_families() {
        assert_eq!(of("ipv6=2001:db8::1"), ["192.0.2.1:1", "[2001:db8::1]:1"]);
        assert_eq!(of("ipv6=[2001:db8::1]:77"), ["192.0.2.1:1", "[2001:db8::1]:77"]);
        assert_eq!(of("ipv6=%5B2001:db8::1%5D"), ["192.0.2.1:1", "[2001:db8::1]:1"]);
        let from_v6 = from(Some("2001:db8::9"), "ipv4=198.51.100.4:5&ipv6=2001:db8::1");
        assert_eq!(from_v6.unwrap(), ["[2001:db8::1]:1", "198.51.100.4:5"]);
    }

    #[test]
    fn ip_counts_before_all_and_its_port_too() {
        assert_eq!(of("ipv4=198.51.100.4&ip=203.0.113.9:7"), ["203.0.113.9:7", ""]);
        assert_eq!(of("ip=203.0.113.9&ipv6=2001:db8::1"), ["203.0.113.9:1", "[2001:db8::1]:1"]);
        assert_eq!(of("ip=[2001:db8::1]:8"), ["[2001:db8::1]:8", ""]);
        assert_eq!(of("ip=203.0.113.9:0"), ["203.0.113.9:1", ""]);
    }

    #[test]
    fn an_empty_claim_is_none_and_so_is_one_of_no_address() {
        for text in
            ["ip=", "ip", "ip=&ipv4=&ipv6=", "ip=0.0.0.0", "ip=::", "ipv6=::&ipv4=0.0.0.0:5"]
        {
            assert_eq!(of(text), ["192.0.2.1:1", ""], "{text}");
        }
        assert_eq!(of("ipv4=x"), ["192.0.2.1:1", ""]);
        assert_eq!(from(Some("192.0.2.1"), "ip=localhost"), None);
    }

    #[test]
    fn behind_a_proxy_that_says_nothing_readable_any_claim_counts() {
        assert_eq!(from(None, "ipv6=2001:db8::1").unwrap(), ["[2001:db8::1]:1", ""]);
        let both = from(None, "ipv6=2001:db8::1&ipv4=198.51.100.4").unwrap();
        assert_eq!(both, ["198.51.100.4:1", "[2001:db8::1]:1"]);
        for none in ["", "ipv4=x", "ipv6=::"] {
            assert_eq!(from(None, none), None, "{none}");
        }
    }
}
