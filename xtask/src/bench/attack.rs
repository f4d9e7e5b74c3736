//! Attacks of few sources, all with valid connection ids, that are played beside a load.

use loadgen::{Request, attack, flag, kind};

use super::profile::port;

/// Networks of the site that attacks, each a /64 of one /48.
const SITE_NETWORKS: u32 = 12;

/// An attack, by what it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attack {
    /// Wrong connection ids, unknown info-hashes, truncated messages and fragments in the names of good clients
    Mixed,
    /// Every port of one source, in the largest swarm
    Ports,
    /// Another info-hash each time, of one source
    InfoHashes,
    /// The same of twelve IPv6 /64s of one /48
    Site,
    /// Announces of one source with more options than the kernel tells hooks of, where a hook wants them
    Options,
    /// Requests of one source whose action is none
    Actions,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Mixed, Self::Ports, Self::InfoHashes, Self::Site, Self::Options, Self::Actions];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed faults, forged ids among them",
            Self::Ports => "every port of one source in one swarm",
            Self::InfoHashes => "random info-hashes of one source",
            Self::Site => "random info-hashes of twelve /64s of a /48",
            Self::Options => "long options of one source, with a hook for them",
            Self::Actions => "unknown actions of one source",
        }
    }

    /// One of [`loadgen::attack`].
    pub fn number(self) -> u32 {
        match self {
            Self::Mixed => attack::MIXED,
            Self::Ports => attack::PORTS,
            Self::InfoHashes | Self::Site => attack::INFO_HASHES,
            Self::Options => attack::OPTIONS,
            Self::Actions => attack::ACTIONS,
        }
    }

    /// Which of [`all`] attackers take part: the first, and how many.
    pub fn attackers(self) -> (usize, usize) {
        match self {
            Self::Site => (1, SITE_NETWORKS as usize),
            _ => (0, 1),
        }
    }
}

/// A request of each attacker, whose numbers as clients begin with `first`: one host, and those of the site.
pub fn all(first: u32) -> Vec<Request> {
    let attackers = first..=first + SITE_NETWORKS;
    let of_site = flag::V6 | flag::SITE;
    attackers
        .map(|client| Request {
            client,
            port: port(client),
            kind: kind::ANNOUNCE,
            flags: if client == first { 0 } else { of_site },
            ..Request::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use loadgen::client_of_site;

    use super::*;

    #[test]
    fn a_site_is_one_48_and_its_attackers_are_a_64_each() {
        let site: Vec<_> =
            all(600_000)[1..].iter().map(|request| client_of_site(request.client)).collect();
        let networks = |len: usize| site.iter().map(|addr| &addr[..len]).collect::<BTreeSet<_>>();
        assert_eq!((networks(6).len(), networks(8).len()), (1, SITE_NETWORKS as usize));
    }
}
