//! Connection ids (BEP 15) without a table: a time, and a MAC over it and the client's address.
//!
//! An id carries the low 16 bits of the time only. The checker completes them from its own clock, as the
//! acceptance window is shorter than their period, and the MAC covers the whole time: an id that has expired
//! does not become valid again when the 16 bits come round.
//!
//! An id is only accepted from the address it was sent to, so a reply that is longer than its
//! request never goes to a forged source. The time is that of the wall clock: trackers that share
//! the key accept each other's ids, and ids outlive a restart of the host.

use crate::{
    family::Family,
    hash::{Sip, SipKey},
};

/// Time of issue: units of 2^30 ns (1.07 s) since the Unix epoch. 32 bits last until the year 2116.
const TIME_SHIFT: u32 = 30;
/// How many bits of it an id carries: they wrap around after 19.5 hours.
const TIME_BITS: u32 = 16;
/// The largest number of that many bits.
const TIME_MASK: u32 = (1 << TIME_BITS) - 1;
const MAC_MASK: u64 = u64::MAX >> TIME_BITS;

/// Clocks of one host may differ by this much: they are read at different moments.
const AHEAD_MIN: u32 = 4;

/// The longest life of a connection id, and the largest skew, in seconds: 6 hours each.
pub const SECONDS_MAX: u64 = 21_600;

/// Issues and checks connection ids.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct ConnectionIds {
    key: SipKey,
    /// What of the MAC depends on nothing else.
    begun: Sip,
    /// How old an id may be, in units of 2^30 ns.
    lifetime: u32,
    /// How far in the future it may have been issued, in the same units.
    ahead: u32,
}

impl ConnectionIds {
    /// Ids that live for at least `lifetime_s` seconds, even if the clock of the tracker that issued
    /// them is `skew_s` seconds off. Both are at most [`SECONDS_MAX`].
    #[must_use]
    pub const fn new(key: SipKey, lifetime_s: u64, skew_s: u64) -> Self {
        let skew = units(skew_s);
        Self {
            key,
            begun: Sip::new(&key),
            lifetime: units(lifetime_s) + skew + 1,
            ahead: skew + AHEAD_MIN,
        }
    }

    /// The secret.
    #[must_use]
    pub const fn key(&self) -> SipKey {
        self.key
    }

    /// The id of a client, as the eight bytes of a reply in big-endian order. `now_ns` counts from
    /// the Unix epoch.
    #[inline(always)]
    #[must_use]
    pub fn issue<F: Family>(&self, addr: &F::Addr, now_ns: u64) -> [u8; 8] {
        let time = (now_ns >> TIME_SHIFT) as u32;
        ((time as u64) << (64 - TIME_BITS) | self.mac::<F>(addr, time)).to_be_bytes()
    }

    /// Whether this id was issued to this address and has not expired.
    #[inline(always)]
    #[must_use]
    pub fn is_valid<F: Family>(&self, id: [u8; 8], addr: &F::Addr, now_ns: u64) -> bool {
        let id = u64::from_be_bytes(id);
        let latest = ((now_ns >> TIME_SHIFT) as u32).wrapping_add(self.ahead);
        let age = latest.wrapping_sub((id >> (64 - TIME_BITS)) as u32) & TIME_MASK;
        // The one time not after `latest` that ends in the bits of the id.
        let time = latest.wrapping_sub(age);
        age <= self.lifetime + self.ahead && self.mac::<F>(addr, time) == id & MAC_MASK
    }

    #[inline(always)]
    fn mac<F: Family>(&self, addr: &F::Addr, time: u32) -> u64 {
        let [first, second] = F::words(addr);
        let time = time as u64;
        let mac = if F::IS_V6 {
            self.begun.hash([first, second], time, 4)
        } else {
            // One word, whose top byte is the time's where SipHash has the length. The length of a message of
            // this family never changes, and those of the other family have two words more.
            self.begun.hash([], first | time << 32, 0)
        };
        mac & MAC_MASK
    }
}

const fn units(seconds: u64) -> u32 {
    let seconds = if seconds > SECONDS_MAX { SECONDS_MAX } else { seconds };
    ((seconds * 1_000_000_000) >> TIME_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{V4, V6};
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn ids(lifetime_s: u64) -> ConnectionIds {
        ConnectionIds::new(SipKey { k0: 1, k1: 2 }, lifetime_s, 0)
    }

    proptest! {
        #[test]
        fn an_id_is_valid_for_its_life_at_its_address_only(
            addr: [u8; 4], other: [u8; 4], at in 0..1u64 << 50, age_s in 0..120u64,
        ) {
            let id = ids(120).issue::<V4>(&addr, at);
            prop_assert!(ids(120).is_valid::<V4>(id, &addr, at + age_s * SECOND));
            prop_assert!(!ids(120).is_valid::<V4>(id, &addr, at + 126 * SECOND));
            prop_assert!(addr == other || !ids(120).is_valid::<V4>(id, &other, at));
        }

        #[test]
        fn a_random_id_is_not_valid(addr: [u8; 16], id: [u8; 8], at: u64) {
            prop_assert!(!ids(120).is_valid::<V6>(id, &addr, at));
        }

        #[test]
        fn an_ipv6_id_is_valid(addr: [u8; 16], at in 0..1u64 << 60) {
            prop_assert!(ids(120).is_valid::<V6>(ids(120).issue::<V6>(&addr, at), &addr, at));
        }
    }

    /// The wire has 16 bits of the time: after 2^16 units they are the same again.
    #[test]
    fn an_id_that_has_expired_never_comes_true_again() {
        let period_ns = 1_u64 << (TIME_SHIFT + TIME_BITS);
        let (ids, at) = (ids(120), 1_700_000_000 * SECOND);
        let (v4, v6) = (ids.issue::<V4>(&[1, 2, 3, 4], at), ids.issue::<V6>(&[1; 16], at));
        for bit in 0..14 {
            let later = at + (period_ns << bit);
            assert!(!ids.is_valid::<V4>(v4, &[1, 2, 3, 4], later), "{bit}");
            assert!(!ids.is_valid::<V6>(v6, &[1; 16], later), "{bit}");
            let earlier = at.wrapping_sub(period_ns << bit);
            assert!(!ids.is_valid::<V4>(v4, &[1, 2, 3, 4], earlier), "{bit}");
        }
    }

    #[test]
    fn the_bits_of_the_time_in_an_id_may_wrap_around_during_its_life() {
        let period_ns = 1_u64 << (TIME_SHIFT + TIME_BITS);
        let (ids, wrap) = (ids(120), 20_000 * period_ns);
        for at in [wrap - 100 * SECOND, wrap - 1, wrap, wrap + SECOND] {
            let id = ids.issue::<V4>(&[1, 2, 3, 4], at);
            assert!(ids.is_valid::<V4>(id, &[1, 2, 3, 4], at + 119 * SECOND));
            // The clock that checks is a little behind.
            assert!(ids.is_valid::<V4>(id, &[1, 2, 3, 4], at - 2 * SECOND));
            assert!(!ids.is_valid::<V4>(id, &[1, 2, 3, 4], at + 130 * SECOND));
        }
    }

    #[test]
    fn the_life_is_bounded_below_the_wrap_around() {
        let long = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, u64::MAX / SECOND, u64::MAX);
        let id = long.issue::<V4>(&[1, 2, 3, 4], 0);
        assert!(long.is_valid::<V4>(id, &[1, 2, 3, 4], 2 * SECONDS_MAX * SECOND));
        assert!(!long.is_valid::<V4>(id, &[1, 2, 3, 4], (2 * SECONDS_MAX + 10) * SECOND));
    }

    #[test]
    fn ids_of_a_tracker_whose_clock_is_off_are_valid_within_the_skew() {
        let ids = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 60);
        let now = 1_u64 << 60;
        for (skew, valid) in [(-200_i64, false), (-170, true), (55, true), (80, false)] {
            let id = ids.issue::<V4>(&[1, 2, 3, 4], now.wrapping_add_signed(skew * SECOND as i64));
            assert_eq!(ids.is_valid::<V4>(id, &[1, 2, 3, 4], now), valid, "{skew} s");
        }
    }
}
