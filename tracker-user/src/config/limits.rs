//! What floods are held to in the kernel.

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;
use tracker_common::limit::{Limits, Rate};

use super::GoDuration;

/// Limits in the kernel. Each is a number a second, and allows as many at once; 0 is no limit. Who is
/// over one is not told to go away, which makes clients try again: an announce is answered without
/// peers and with `calm_interval`, other requests are dropped.
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitsConfig {
    /// Connects of one source.
    pub connects_per_source: u32,
    /// Announces and scrapes of one source.
    pub requests_per_source: u32,
    /// Announces by one source of torrents that are not in the table, each of which the daemon sees
    /// to. Others cost nothing to count.
    #[default(1000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub misses_per_source: u32,
    /// The same by all sources.
    #[default(100_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub misses: u32,
    /// Errors sent for bad connection ids; beyond, they are dropped.
    #[default(100_000)]
    #[schemars(extend("x-no-limit" = 0))]
    pub bad_connection_ids: u32,
    /// Bytes of replies sent a second on each interface. From twice as many on, all is dropped.
    /// Written like 100MiB.
    #[schemars(with = "String")]
    pub egress: ByteSize,
    /// When who was answered without peers shall come again.
    #[default(GoDuration::from_mins(5))]
    pub calm_interval: GoDuration,
    /// How many leading bits of an IPv4 address make a source.
    #[default(32)]
    #[schemars(range(max = 32))]
    pub ipv4_prefix: u32,
    /// The same of an IPv6 address, at most 64.
    #[default(64)]
    #[schemars(range(max = 64))]
    pub ipv6_prefix: u32,
    /// How many sources are remembered, of about 100 bytes each. Those that are seen least are
    /// forgotten.
    #[default(65_536)]
    #[schemars(range(min = 1))]
    pub sources: u32,
}

impl LimitsConfig {
    /// The same for the kernel; the prefixes are no longer than addresses.
    #[must_use]
    pub fn compile(&self) -> Limits {
        let rate = |units: u32| Rate::per_second(units.into());
        Limits {
            connects: rate(self.connects_per_source),
            requests: rate(self.requests_per_source),
            misses: rate(self.misses_per_source),
            all_misses: rate(self.misses),
            bad_ids: rate(self.bad_connection_ids),
            egress: Rate::per_second(self.egress.as_u64()),
            calm_interval_s: u32::try_from(self.calm_interval.as_secs()).unwrap_or(u32::MAX),
            mask_v4: (!(u64::from(u32::MAX) >> self.ipv4_prefix) as u32).to_be(),
            mask_v6: (!u64::MAX.checked_shr(self.ipv6_prefix).unwrap_or(0)).to_be(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{UnknownKeys, parse};

    #[test]
    fn zero_is_no_limit() {
        let yaml = "chihaya: { udp: { addr: 0.0.0.0:6969 }, xdp: { limits: { misses: 0, misses_per_source: 0 } } }";
        let loaded = parse("limits.yaml", yaml, UnknownKeys::Refuse).unwrap();
        assert_eq!(loaded.warnings, []);
        let Limits { misses, all_misses, bad_ids, .. } = loaded.config.xdp.limits.compile();
        assert!(!misses.is_limited() && !all_misses.is_limited() && bad_ids.is_limited());
    }

    #[test]
    fn prefixes_become_masks_in_network_byte_order() {
        let masks = |ipv4_prefix, ipv6_prefix| {
            let config = LimitsConfig { ipv4_prefix, ipv6_prefix, ..LimitsConfig::default() };
            let Limits { mask_v4, mask_v6, .. } = config.compile();
            (mask_v4.to_ne_bytes(), mask_v6.to_ne_bytes())
        };
        assert_eq!(masks(32, 64), ([255; 4], [255; 8]));
        assert_eq!(masks(24, 48), ([255, 255, 255, 0], [255, 255, 255, 255, 255, 255, 0, 0]));
        assert_eq!(masks(0, 0), ([0; 4], [0; 8]));
    }
}
