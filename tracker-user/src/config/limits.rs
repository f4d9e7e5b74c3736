//! What sources and floods are held to.

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;
use tracker_common::{
    budget::{Budget, KINDS, Kind, meters_of_row},
    limit::{Limits, Rate},
};

use super::{GoDuration, TableConfig, pattern::Size};

/// What sources may have, in the kernel and in the daemon. 0 is no limit. A client over a limit is not told to go
/// away, which makes clients try again: its announce is answered without peers, or without being listed; other
/// requests are dropped.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitsConfig {
    /// Connects of one source a second, in the kernel.
    pub connects_per_source: u32,
    /// Announces and scrapes of one source a second, in the kernel.
    pub requests_per_source: u32,
    /// Announces a second by one source of torrents that are not in the table, over UDP or HTTP.
    /// Others cost nothing to count.
    #[default(1000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub misses_per_source: u32,
    /// The same by all sources, in the kernel.
    #[default(100_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub misses: u32,
    /// Requests of one source a second that the kernel leaves to the daemon for another reason: a hook
    /// must see them, they have options, they are unusual.
    #[default(1000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub passes_per_source: u32,
    /// Requests a second, of all sources, that the kernel leaves to the daemon without a connection id
    /// that proves where they are from.
    #[default(50_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub unproven_passes: u32,
    /// New peers of one source in one torrent, within one `peer_lifetime`, of torrents with more
    /// than a handful of peers. Beyond, a new peer is answered but not listed.
    #[default(128)]
    #[schemars(extend("x-no-limit" = 0))]
    pub peers_per_source: u32,
    /// The same in all torrents together.
    #[default(131_072)]
    #[schemars(extend("x-no-limit" = 0))]
    pub joins_per_source: u32,
    /// Torrents that one source brings into a table that is half full, within one `peer_lifetime`;
    /// at most a quarter of `xdp.table`'s smaller number of torrents.
    #[default(32_768)]
    #[schemars(extend("x-no-limit" = 0))]
    pub torrents_per_source: u32,
    /// How many times the limits of misses, passes, peers and torrents a wider prefix has.
    #[default(4)]
    #[schemars(range(min = 1))]
    pub wide_factor: u32,
    /// Errors sent for bad connection ids a second; beyond, they are dropped.
    #[default(100_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub bad_connection_ids: u32,
    /// Bytes of replies sent a second on each interface. Connects and errors, which anyone can provoke, are sent
    /// up to half of them. From twice as many on, all is dropped.
    /// Written like 100MiB.
    #[schemars(with = "Size")]
    pub egress: ByteSize,
    /// When a client announces again whose announce was over a limit and answered without peers.
    #[default(GoDuration::from_mins(5))]
    pub throttle_interval: GoDuration,
    /// How many leading bits of an IPv4 address make a source.
    #[default(32)]
    #[schemars(range(max = 32))]
    pub ipv4_prefix: u32,
    /// The same of an IPv6 address, at most 64.
    #[default(64)]
    #[schemars(range(max = 64))]
    pub ipv6_prefix: u32,
    /// How many leading bits make the wider prefix of an IPv4 address; 0 for none.
    #[default(24)]
    #[schemars(range(max = 32))]
    pub ipv4_wide_prefix: u32,
    /// The same of an IPv6 address, at most 64.
    #[default(48)]
    #[schemars(range(max = 64))]
    pub ipv6_wide_prefix: u32,
    /// For how many sources that are busy at the same time there are meters, of about 230 bytes.
    #[default(65_536)]
    #[schemars(range(min = 1))]
    pub sources: u32,
}

impl LimitsConfig {
    /// The same for kernel and daemon, with peers that live for so many seconds, and meters for so many sources;
    /// the prefixes are no longer than addresses.
    #[must_use]
    pub fn compile(&self, lifetime_s: u64, table: &TableConfig, sources: u32) -> Limits {
        let rate = |units: u32| Rate::per_second(units.into());
        let lifetime_s = lifetime_s.clamp(1, LIFETIME_MAX_S);
        let wide = |units: u32| u64::from(units) * u64::from(self.wide_factor.max(1));
        let per_second =
            |units: u32| Budget { source: rate(units), wide: Rate::per_second(wide(units)) };
        let per_life = |units: u32, most: u64| Budget {
            source: Rate::per(u64::from(units).min(most), lifetime_s),
            wide: Rate::per(wide(units).min(2 * most), lifetime_s),
        };
        let narrow = |source: Rate| Budget { source, wide: Rate::default() };
        let torrents = [table.torrents_ipv4, table.torrents_ipv6].into_iter().filter(|n| *n > 0);
        let share_of_table = (u64::from(torrents.min().unwrap_or(u32::MAX)) / 4).max(1);
        let mut budgets = [Budget::default(); KINDS];
        for (kind, budget) in [
            (Kind::Connects, narrow(rate(self.connects_per_source))),
            (Kind::Requests, narrow(rate(self.requests_per_source))),
            (Kind::Misses, per_second(self.misses_per_source)),
            (Kind::Passes, per_second(self.passes_per_source)),
            (Kind::Torrents, per_life(self.torrents_per_source, share_of_table)),
            (Kind::Joins, per_life(self.joins_per_source, u64::from(u32::MAX))),
            (Kind::Peers, per_life(self.peers_per_source, u64::from(u32::MAX))),
        ] {
            budgets[kind as usize] = budget;
        }
        let mask_v4 = |bits: u32| (!(u64::from(u32::MAX) >> bits.min(32)) as u32).to_be();
        let mask_v6 = |bits: u32| (!u64::MAX.checked_shr(bits).unwrap_or(0)).to_be();
        Limits {
            budgets,
            all_misses: rate(self.misses),
            bad_ids: rate(self.bad_connection_ids),
            unproven_passes: rate(self.unproven_passes),
            egress: Rate::per_second(self.egress.as_u64()),
            throttle_interval_s: u32::try_from(self.throttle_interval.as_secs())
                .unwrap_or(u32::MAX),
            mask_v4: mask_v4(self.ipv4_prefix),
            mask_v6: mask_v6(self.ipv6_prefix),
            wide_mask_v4: mask_v4(self.ipv4_wide_prefix),
            wide_mask_v6: mask_v6(self.ipv6_wide_prefix),
            meters_mask: meters_of_row(sources) - 1,
        }
    }
}

/// Peers live for 38 hours at most.
const LIFETIME_MAX_S: u64 = 38 * 3600;

#[cfg(test)]
mod tests {
    use tracker_common::limit::Meter;

    use super::*;
    use crate::config::{UnknownKeys, parse};

    #[test]
    fn zero_is_no_limit() {
        let yaml = "chihaya: { udp: { addr: 0.0.0.0:6969 }, xdp: { limits: { misses: 0, misses_per_source: 0 } } }";
        let loaded = parse("limits.yaml", yaml, UnknownKeys::Refuse).unwrap();
        assert_eq!(loaded.warnings, []);
        let limits = loaded.config.limits(1);
        let Limits { all_misses, bad_ids, .. } = limits;
        assert!(!limits.of(Kind::Misses).source.is_limited() && !all_misses.is_limited());
        assert!(bad_ids.is_limited() && limits.of(Kind::Peers).wide.is_limited());
    }

    #[test]
    fn a_seedbox_with_20000_torrents_stays_within_its_passes_when_it_starts_and_at_rest() {
        let limits = LimitsConfig::default().compile(1800, &TableConfig::default(), 1);
        let Budget { source, wide } = limits.of(Kind::Passes);
        assert_eq!((*source, *wide), (Rate::per_second(1000), Rate::per_second(4000)));
        // All are announced within twenty seconds, and then each once in half an hour.
        for seconds in [20, 1800] {
            let meter = Meter::default();
            let step_ns = seconds * 1_000_000_000 / 20_000;
            assert!((1..=20_000).all(|number| meter.take(source, number * step_ns)));
        }
    }

    #[test]
    fn no_source_may_bring_more_than_a_quarter_of_the_table_however_small() {
        let table = TableConfig { torrents_ipv4: 400, torrents_ipv6: 0, ..TableConfig::default() };
        let limits = LimitsConfig::default().compile(1800, &table, 1);
        let Budget { source, wide } = *limits.of(Kind::Torrents);
        assert_eq!((source, wide), (Rate::per(100, 1800), Rate::per(200, 1800)));
    }

    #[test]
    fn prefixes_become_masks_in_network_byte_order() {
        let masks = |ipv4_prefix, ipv6_prefix| {
            let config = LimitsConfig { ipv4_prefix, ipv6_prefix, ..LimitsConfig::default() };
            let Limits { mask_v4, mask_v6, .. } = config.compile(1800, &TableConfig::default(), 1);
            (mask_v4.to_ne_bytes(), mask_v6.to_ne_bytes())
        };
        assert_eq!(masks(32, 64), ([255; 4], [255; 8]));
        assert_eq!(masks(24, 48), ([255, 255, 255, 0], [255, 255, 255, 255, 255, 255, 0, 0]));
        assert_eq!(masks(0, 0), ([0; 4], [0; 8]));
    }
}
