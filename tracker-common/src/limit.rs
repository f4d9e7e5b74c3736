//! Rates: how much of something one may have.
//!
//! The generic cell rate algorithm: all that is kept of the past is one time, up to which what was
//! had is paid for. It may lie ahead of the present by as much as a burst.

use crate::{
    budget::{Budget, KINDS, Kind},
    sync::Word64,
};

/// A rate and the burst that it allows. All zeros (the default) is no limit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Rate {
    /// What a thousand units take, in nanoseconds; 0 for no limit.
    kilo_ns: u64,
    /// How far one may be ahead, in nanoseconds.
    burst_ns: u64,
}

impl Rate {
    /// So many units each second, and as many at once as a second brings; 0 is no limit.
    #[must_use]
    pub const fn per_second(units: u64) -> Self {
        Self::per(units, 1)
    }

    /// So many units in so many seconds, below ten million, and as many at once; 0 is no limit.
    #[must_use]
    pub const fn per(units: u64, seconds: u64) -> Self {
        if units == 0 {
            return Self { kilo_ns: 0, burst_ns: 0 };
        }
        let burst_ns = seconds * 1_000_000_000;
        let kilo_ns = burst_ns * 1000 / units;
        Self { kilo_ns: if kilo_ns == 0 { 1 } else { kilo_ns }, burst_ns }
    }

    /// Whether there is a limit at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.kilo_ns != 0
    }

    /// Whether a meter that is so far ahead is within the burst or, if it is to be halved, within half of it: what may
    /// take half never keeps from what may take all of it.
    #[inline(always)]
    #[must_use]
    pub const fn covers(&self, ahead_ns: u64, is_halved: bool) -> bool {
        ahead_ns <= self.burst_ns >> is_halved as u32
    }

    /// Whether a meter that is so far ahead is within two bursts.
    #[inline(always)]
    #[must_use]
    pub const fn covers_twice(&self, ahead_ns: u64) -> bool {
        ahead_ns <= 2 * self.burst_ns
    }

    /// What `units` cost, in nanoseconds.
    #[inline(always)]
    const fn cost_ns(&self, units: u32) -> u64 {
        self.kilo_ns * units as u64 / 1000
    }
}

/// What someone had, as the time up to which it is paid for, in nanoseconds of the monotonic clock.
/// Any number of processors may share one.
#[derive(Default)]
#[repr(transparent)]
pub struct Meter(Word64);

impl Meter {
    /// How far it is ahead of the present, in nanoseconds.
    #[inline(always)]
    pub fn ahead_ns(&self, now_ns: u64) -> u64 {
        self.0.load().saturating_sub(now_ns)
    }

    /// Counts `units`, fewer than 2^24.
    #[inline(always)]
    pub fn spend(&self, rate: &Rate, now_ns: u64, units: u32) {
        self.count(rate, now_ns, units, i64::MAX as u64);
    }

    /// Whether one more may be had of what [`take`](Self::take) counts.
    ///
    /// Such a meter is never two bursts ahead, unless it was counted by a rate with a longer burst, of a
    /// `peer_lifetime` that a reload has shortened since. Those are forgiven, so that no source is over for longer
    /// than a burst of the rate in force.
    #[inline(always)]
    pub fn is_within(&self, rate: &Rate, now_ns: u64) -> bool {
        let ahead_ns = self.ahead_ns(now_ns);
        // One comparison for `burst_ns < ahead_ns && ahead_ns <= 2 * burst_ns`.
        !rate.is_limited() || ahead_ns.wrapping_sub(rate.burst_ns).wrapping_sub(1) >= rate.burst_ns
    }

    /// Counts one more if that is within the rate; `false`, and no change, if not.
    #[inline(always)]
    pub fn take(&self, rate: &Rate, now_ns: u64) -> bool {
        if !rate.is_limited() {
            return true;
        }
        if !self.is_within(rate, now_ns) {
            return false;
        }
        self.count(rate, now_ns, 1, 2 * rate.burst_ns);
        true
    }

    /// Counts `units`. A meter that is behind the present, or ahead of it by more than `stale_ns`, begins anew.
    #[inline(always)]
    fn count(&self, rate: &Rate, now_ns: u64, units: u32, stale_ns: u64) {
        let paid_ns = self.0.load();
        // What is behind wraps around.
        if paid_ns.wrapping_sub(now_ns) > stale_ns {
            // If another processor comes first, it has counted, and this one misses a unit of a whole burst.
            self.0.replace(paid_ns, now_ns.wrapping_add(rate.cost_ns(units)));
        } else {
            self.0.add(rate.cost_ns(units));
        }
    }
}

/// Interfaces with an egress budget of their own; those with higher numbers share.
pub const INTERFACES: usize = 16;

/// What all sources together had.
#[derive(Default)]
#[repr(C)]
pub struct Total {
    /// Announces of torrents that are not in the table.
    pub misses: Meter,
    /// Errors for bad connection ids.
    pub bad_ids: Meter,
    /// What passes to the daemon's socket and is not answered there.
    pub strays: Meter,
    /// Requests that pass without a connection id that proves their source.
    pub unproven: Meter,
    /// Bytes sent by each interface, by its index modulo [`INTERFACES`].
    pub egress: [Meter; INTERFACES],
}

/// What one may have. All zeros (the default) is no limit.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Limits {
    /// What sources may have, by [`Kind`](crate::budget::Kind).
    pub budgets: [Budget; KINDS],
    /// Announces of torrents that are not in the table, of all sources.
    pub all_misses: Rate,
    /// Errors for bad connection ids, for all sources.
    pub bad_ids: Rate,
    /// Requests that pass without a connection id that proves their source, of all sources.
    pub unproven_passes: Rate,
    /// Bytes of replies on an interface.
    pub egress: Rate,
    /// The bits of an IPv4 address that make a source, as in memory.
    pub mask_v4: u32,
    /// When a client over a limit may come again, in seconds.
    pub throttle_interval_s: u32,
    /// The bits of the first half of an IPv6 address that make a source, as in memory.
    pub mask_v6: u64,
    /// The bits of an IPv4 address that make a wider prefix, as in memory; 0 for no such budget.
    pub wide_mask_v4: u32,
    /// Meters of a row, less one: all ones in the lower bits.
    pub meters_mask: u32,
    /// The bits of the first half of an IPv6 address that make a wider prefix; 0 for no such budget.
    pub wide_mask_v6: u64,
}

impl Limits {
    /// The budgets of a kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &Budget {
        &self.budgets[kind as usize]
    }

    /// Whether every request must be looked at.
    #[must_use]
    pub const fn concern_all(&self) -> bool {
        self.of(Kind::Connects).source.is_limited()
            || self.of(Kind::Requests).source.is_limited()
            || self.egress.is_limited()
    }

    /// The source that an address is of, and its wider prefix, as keys; 0 for no wider prefix. No IPv6 address of
    /// a host begins like a key of IPv4's, and none of the two prefixes of a family are alike.
    #[inline(always)]
    #[must_use]
    pub const fn prefixes(&self, addr: u64, is_v6: bool) -> [u64; 2] {
        const WIDE: u64 = 1 << 63;
        let (short, wide) = if is_v6 {
            (addr & self.mask_v6, addr & self.wide_mask_v6)
        } else {
            // Like a multicast and a site-local address, which no source over IPv6 has.
            const SHORT: u64 = 0xffff_ffff;
            const WIDE_V4: u64 = 0xffff_fffe;
            let wide = (addr & self.wide_mask_v4 as u64) << 32 | WIDE_V4;
            ((addr & self.mask_v4 as u64) << 32 | SHORT, wide.rotate_left(32) ^ WIDE)
        };
        let mask = if is_v6 { self.wide_mask_v6 } else { self.wide_mask_v4 as u64 };
        [short, if mask == 0 { 0 } else { wide.rotate_left(32) ^ WIDE }]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of the moments are admitted.
    fn admitted(rate: &Rate, moments: &[u64]) -> u64 {
        let meter = Meter::default();
        moments.iter().filter(|&&now| meter.take(rate, now)).count() as u64
    }

    proptest! {
        #[test]
        fn no_more_is_admitted_than_the_rate_and_its_burst(
            units in 1..100_000_u64,
            mut moments in prop::collection::vec(0..3 * SECOND, 1..2000),
        ) {
            moments.sort_unstable();
            moments.iter_mut().for_each(|moment| *moment += SECOND);
            let span = moments.last().unwrap() - moments[0];
            let most = units + units * span / SECOND + 2;
            prop_assert!(admitted(&Rate::per_second(units), &moments) <= most);
        }

        #[test]
        fn after_a_shorter_lifetime_no_source_is_over_for_longer_than_it(
            units in 1..1000_u64,
            before_s in 1..200_000_u64,
            lifetime_s in 1..200_000_u64,
            taken in 0..3000_usize,
            waited_s in 0..200_000_u64,
        ) {
            let (meter, start) = (Meter::default(), 300_000 * SECOND);
            let before = Rate::per(units, before_s);
            for _ in 0..taken {
                let _ = meter.take(&before, start);
            }
            let rate = Rate::per(units, lifetime_s);
            let asked = start + waited_s * SECOND;
            if !meter.is_within(&rate, asked) {
                prop_assert!(!meter.take(&rate, asked), "to ask costs nothing");
                prop_assert!(meter.is_within(&rate, asked + lifetime_s * SECOND));
            }
            // And then it has its budget, and no more.
            let later = start + 2 * (before_s + lifetime_s) * SECOND;
            let admitted = (0..3000).filter(|_| meter.take(&rate, later)).count() as u64;
            prop_assert!(admitted == units || admitted == units + 1, "{} of {}", admitted, units);
        }

        #[test]
        fn who_keeps_to_the_rate_is_always_admitted(units in 1..100_000_u64, start in 0..1_u64 << 60) {
            let moments: Vec<_> = (0..1000_u64).map(|n| start + n * (SECOND / units + 1)).collect();
            prop_assert_eq!(admitted(&Rate::per_second(units), &moments), 1000);
        }
    }

    #[test]
    fn a_second_is_admitted_at_once_and_no_more() {
        assert_eq!(admitted(&Rate::per_second(50), &[SECOND; 100]), 51);
    }

    #[test]
    fn without_a_limit_all_are_admitted() {
        assert_eq!(admitted(&Rate::per_second(0), &[SECOND; 100]), 100);
    }

    #[test]
    fn half_a_burst_a_burst_and_two_are_told_apart() {
        let (rate, meter) = (Rate::per_second(1000), Meter::default());
        let spend = |units| {
            meter.spend(&rate, SECOND, units);
            let ahead_ns = meter.ahead_ns(SECOND);
            [rate.covers(ahead_ns, true), rate.covers(ahead_ns, false), rate.covers_twice(ahead_ns)]
        };
        assert_eq!(spend(500), [true, true, true]);
        assert_eq!(spend(500), [false, true, true]);
        assert_eq!(spend(1000), [false, false, true]);
        assert_eq!(spend(1), [false, false, false]);
        assert!(rate.covers(meter.ahead_ns(3 * SECOND), true));
    }

    #[test]
    fn the_addresses_of_a_prefix_are_one_source() {
        let limits = Limits {
            mask_v4: u32::from_ne_bytes([255, 255, 255, 0]),
            mask_v6: u64::from_ne_bytes([255, 255, 255, 255, 255, 255, 0, 0]),
            wide_mask_v6: u64::from_ne_bytes([255, 255, 255, 255, 0, 0, 0, 0]),
            ..Limits::default()
        };
        let v4 = |addr| limits.prefixes(u32::from_ne_bytes(addr).into(), false);
        assert_eq!(v4([198, 51, 100, 1]), v4([198, 51, 100, 2]));
        assert_ne!(v4([198, 51, 100, 1]), v4([198, 51, 101, 1]));
        assert_eq!(v4([198, 51, 100, 1])[1], 0, "no wider prefix");
        let v6 = |addr| limits.prefixes(u64::from_ne_bytes(addr), true);
        let begins_like = v6([198, 51, 100, 0, 255, 255, 255, 255]);
        assert!(v4([198, 51, 100, 1]).iter().all(|key| !begins_like.contains(key)));
        assert_eq!(v6([0x20, 1, 0, 0, 0, 0, 0, 1]), v6([0x20, 1, 0, 0, 0, 0, 0, 2]));
        let [[short, wide], [other, same]] =
            [[0x20, 1, 0, 0, 0, 1, 0, 0], [0x20, 1, 0, 0, 0, 2, 0, 0]].map(v6);
        assert!(short != other && wide == same && wide != 0);
    }
}
