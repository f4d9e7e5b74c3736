//! How many unknown keys each source has brought: a bounded sketch of meters.
//!
//! A source is an IPv4 address or an IPv6 /64, and the /48 around that is another with four times as much.
//! Each has a meter in every row, where a keyed hash puts it, and may go on while one of them is within the
//! rate. So a source is refused for what others do only if they are over the rate in all of its meters, and
//! no number of sources takes more memory.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use tracker_common::limit::{Meter, Rate};

/// Meters of a source. With a thousand sources over the rate, three in 100,000 others share all of theirs
/// with them.
const ROWS: usize = 4;

/// Meters in a row: a power of two, of which each row takes the bits from one hash.
const COLUMNS: usize = 1 << COLUMN_BITS;
const COLUMN_BITS: usize = 14;

/// How many times the rate of a /64 a /48 has.
const WIDE: u32 = 4;

/// In which time a source has what it may have.
const SECONDS: u64 = 60;

/// See the module.
pub(super) struct Sources {
    hasher: RandomState,
    rate: Rate,
    wide_rate: Rate,
    meters: Box<[Meter]>,
}

impl Sources {
    /// So many keys a minute for each source, and as many at once; 0 is no limit.
    pub(super) fn new(keys_per_minute: u32) -> Self {
        let rate = |times: u32| Rate::per(u64::from(keys_per_minute) * u64::from(times), SECONDS);
        Self {
            hasher: RandomState::new(),
            rate: rate(1),
            wide_rate: rate(WIDE),
            meters: (0..ROWS * COLUMNS).map(|_| Meter::default()).collect(),
        }
    }

    /// Counts one more of a source's; `false`, when it had its share. `now_ns` is any clock that never
    /// goes back.
    pub(super) fn take(&self, addr: IpAddr, now_ns: u64) -> bool {
        match addr {
            IpAddr::V4(addr) => self.take_of(32, addr.to_bits().into(), &self.rate, now_ns),
            IpAddr::V6(addr) => {
                let bits = (addr.to_bits() >> 64) as u64;
                self.take_of(64, bits, &self.rate, now_ns)
                    && self.take_of(48, bits >> 16, &self.wide_rate, now_ns)
            }
        }
    }

    fn take_of(&self, prefix_len: u8, prefix: u64, rate: &Rate, now_ns: u64) -> bool {
        let mut hash = self.hasher.hash_one((prefix_len, prefix));
        let mut is_within = false;
        for row in self.meters.chunks_exact(COLUMNS) {
            // Those that are over are not charged: a source that shares one with a flood is none the worse.
            is_within |= row[hash as usize % COLUMNS].take(rate, now_ns);
            hash >>= COLUMN_BITS;
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// How many of so many keys are taken at once.
    fn taken(sources: &Sources, addr: impl Into<IpAddr>, keys: u32, now_ns: u64) -> u32 {
        let addr = addr.into();
        (0..keys).map(|_| u32::from(sources.take(addr, now_ns))).sum()
    }

    #[test]
    fn a_source_has_its_share_each_minute_and_others_have_theirs() {
        let sources = Sources::new(100);
        let [one, other] = [1, 2].map(|host| Ipv4Addr::new(192, 0, 2, host));
        assert_eq!(taken(&sources, one, 500, 0), 101);
        assert_eq!(taken(&sources, one, 500, 30 * SECOND_NS), 50);
        assert_eq!(taken(&sources, other, 500, 30 * SECOND_NS), 101);
    }

    #[test]
    fn a_host_with_many_ipv6_networks_has_the_share_of_its_site() {
        let sources = Sources::new(100);
        let subnet = |site, subnet, host| Ipv6Addr::new(0x2001, 0xdb8, site, subnet, 0, 0, 0, host);
        let of_one: u32 = (0..1000).map(|host| taken(&sources, subnet(1, 1, host), 1, 0)).sum();
        assert_eq!(of_one, 101);
        let of_all: u32 = (0..1000).map(|net| taken(&sources, subnet(2, net, 1), 10, 0)).sum();
        assert_eq!(of_all, 401);
        assert_eq!(taken(&sources, subnet(3, 1, 1), 500, 0), 101);
    }

    #[test]
    fn a_thousand_sources_over_their_share_hardly_ever_touch_another_s() {
        let sources = Sources::new(100);
        for host in 0..1000_u32 {
            taken(&sources, Ipv4Addr::from_bits(host), 200, 0);
        }
        let others = 1 << 16..(1 << 16) + 1000_u32;
        let refused = others.filter(|&host| !sources.take(Ipv4Addr::from_bits(host).into(), 0));
        assert!(refused.count() <= 2);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        assert_eq!(taken(&Sources::new(0), Ipv4Addr::LOCALHOST, 10_000, 0), 10_000);
    }
}
