//! Networks whose addresses are admitted or refused.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use prefix_trie::joint::JointPrefixMap;

use super::ListKind;

/// Of the networks that hold an address the smallest decides; where none does, the address is
/// admitted unless the list says otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetworkList {
    networks: JointPrefixMap<IpNet, ListKind>,
    refuses_others: bool,
}

impl NetworkList {
    /// A list without networks, that refuses all addresses or none.
    #[must_use]
    pub fn new(refuses_others: bool) -> Self {
        Self { networks: JointPrefixMap::new(), refuses_others }
    }

    /// Whether an address in none of the networks is refused.
    #[must_use]
    pub const fn refuses_others(&self) -> bool {
        self.refuses_others
    }

    /// Adds a network. Bits beyond its prefix do not matter; one of IPv4-mapped addresses counts as
    /// the IPv4 network. A network that is both allowed and denied is denied.
    pub fn add(&mut self, network: IpNet, kind: ListKind) {
        let network = canonical(network.trunc());
        if kind == ListKind::Deny || self.networks.get(&network).is_none() {
            self.networks.insert(network, kind);
        }
    }

    /// Whether requests from this address are admitted.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.admits_network(address.into())
    }

    /// Whether requests from all of this network are admitted, but for those of smaller networks in it.
    #[must_use]
    pub fn admits_network(&self, network: IpNet) -> bool {
        match self.networks.get_lpm(&network) {
            Some((_, kind)) => *kind == ListKind::Allow,
            None => !self.refuses_others,
        }
    }

    /// Whether the list has this network, with this meaning, itself.
    #[must_use]
    pub fn has(&self, network: IpNet, kind: ListKind) -> bool {
        self.networks.get(&network) == Some(&kind)
    }

    /// How many networks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The networks, those of IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, ListKind)> {
        self.networks.iter().map(|(network, kind)| (network, *kind))
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else { return network };
    let length = match network {
        IpNet::V4(_) => return network,
        IpNet::V6(network) => network.prefix_len().checked_sub(96),
    };
    let mapped = length.and_then(|length| Ipv4Net::new(address, length).ok());
    mapped.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(networks: &[(&str, ListKind)]) -> NetworkList {
        let mut list = NetworkList::default();
        for (network, kind) in networks {
            list.add(network.parse().unwrap(), *kind);
        }
        list
    }

    fn admits(list: &NetworkList, address: &str) -> bool {
        list.admits(address.parse().unwrap())
    }

    #[test]
    fn the_smallest_network_decides() {
        let list = list(&[
            ("10.0.0.0/8", ListKind::Deny),
            ("10.1.0.0/16", ListKind::Allow),
            ("10.1.1.1/32", ListKind::Deny),
        ]);
        assert!(!admits(&list, "10.2.0.1"));
        assert!(admits(&list, "10.1.0.1"));
        assert!(!admits(&list, "10.1.1.1"));
    }

    #[test]
    fn an_address_in_no_network_is_admitted_unless_others_are_refused() {
        let mut list = list(&[("2001:db8::/32", ListKind::Allow)]);
        assert!(admits(&list, "192.0.2.1") && admits(&list, "2001:db9::1"));
        list.refuses_others = true;
        assert!(!admits(&list, "192.0.2.1") && !admits(&list, "2001:db9::1"));
        assert!(admits(&list, "2001:db8::1"));
    }

    #[test]
    fn a_network_that_is_allowed_and_denied_is_denied() {
        let (allowed, denied) = (("10.0.0.0/8", ListKind::Allow), ("10.9.9.9/8", ListKind::Deny));
        assert!(!admits(&list(&[allowed, denied]), "10.0.0.1"));
        assert!(!admits(&list(&[denied, allowed]), "10.0.0.1"));
    }

    #[test]
    fn networks_of_mapped_addresses_are_those_of_ipv4() {
        assert!(!admits(&list(&[("::ffff:10.0.0.0/104", ListKind::Deny)]), "10.0.0.1"));
        assert!(admits(&list(&[("::ffff:0:0/95", ListKind::Deny)]), "10.0.0.1"));
    }

    #[test]
    fn the_families_are_apart() {
        assert!(admits(&list(&[("::/0", ListKind::Deny)]), "10.0.0.1"));
        assert!(admits(&list(&[("0.0.0.0/0", ListKind::Deny)]), "::1"));
    }

    proptest! {
        #[test]
        fn it_decides_as_a_search_of_all_networks_does(
            networks in proptest::collection::vec((any::<u32>(), 0..=32u8, any::<bool>()), 0..20),
            address: u32,
        ) {
            let mut list = NetworkList::default();
            // Few enough bits to make networks hold one another.
            let few = |bits: u32| std::net::Ipv4Addr::from(bits & 0xc0c0_8001);
            let address = few(address);
            let mut smallest = None;
            for (bits, length, deny) in networks {
                let network = Ipv4Net::new(few(bits), length).unwrap();
                list.add(network.into(), if deny { ListKind::Deny } else { ListKind::Allow });
                if network.contains(&address) {
                    smallest = smallest.max(Some((length, deny)));
                }
            }
            prop_assert_eq!(list.admits(address.into()), smallest.is_none_or(|(_, deny)| !deny));
        }
    }
}
