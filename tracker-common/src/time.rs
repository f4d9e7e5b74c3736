//! Coarse time, as peer words keep it.
//!
//! Both sides read `CLOCK_MONOTONIC_COARSE`: `bpf_ktime_get_coarse_ns` (kernel 5.11) in the
//! program, `clock_gettime` in the daemon.

/// A tick is 2^32 ns, about 4.3 s: the division is a shift.
const TICK_SHIFT: u32 = 32;

/// Ticks are kept in 15 bits and wrap around after 39 hours.
pub(crate) const TICK_MASK: u32 = 0x7fff;

/// A word may carry a tick that the reader's clock has not reached yet, by this much.
const AHEAD_MAX: u32 = 16;

/// The longest peer lifetime in ticks: 38 hours. Beyond it an old peer would look new again.
pub const LIFETIME_MAX: u32 = TICK_MASK - 2 * AHEAD_MAX - 1024;

/// A moment, and how long before it a peer may have been seen last.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now, moved ahead by [`AHEAD_MAX`] so that one comparison serves both bounds.
    now: u32,
    age_max: u32,
}

impl Clock {
    /// The clock at `monotonic_ns`, with peers living for `lifetime` ticks.
    #[inline(always)]
    #[must_use]
    pub const fn new(monotonic_ns: u64, lifetime: u32) -> Self {
        let now = (monotonic_ns >> TICK_SHIFT) as u32;
        Self { now: now.wrapping_add(AHEAD_MAX), age_max: lifetime.wrapping_add(AHEAD_MAX) }
    }

    /// The present tick.
    #[inline(always)]
    pub(crate) const fn tick(&self) -> u32 {
        self.now.wrapping_sub(AHEAD_MAX) & TICK_MASK
    }

    /// Whether a peer last seen at this tick has outlived its lifetime.
    #[inline(always)]
    pub(crate) const fn is_stale(&self, seen: u32) -> bool {
        self.now.wrapping_sub(seen) & TICK_MASK > self.age_max
    }
}

/// The peer lifetime in ticks that lasts at least `seconds`, at most [`LIFETIME_MAX`].
#[must_use]
pub const fn lifetime_from_secs(seconds: u64) -> u32 {
    let ticks = (seconds.saturating_mul(1_000_000_000) >> TICK_SHIFT) + 1;
    if ticks > LIFETIME_MAX as u64 { LIFETIME_MAX } else { ticks as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK_NS: u64 = 1 << TICK_SHIFT;

    proptest! {
        #[test]
        fn a_peer_is_fresh_for_its_lifetime_and_stale_after_it(
            start in 0..1u64 << 40, lifetime in 1..LIFETIME_MAX, age in 0..LIFETIME_MAX,
        ) {
            let start_ns = start % (1 << 20) * TICK_NS;
            let seen = Clock::new(start_ns, lifetime).tick();
            let later = Clock::new(start_ns + u64::from(age) * TICK_NS, lifetime);
            prop_assert_eq!(later.is_stale(seen), age > lifetime);
        }

        #[test]
        fn a_word_from_a_clock_slightly_ahead_is_fresh(start in 0..1u64 << 20, ahead in 0..AHEAD_MAX) {
            let seen = Clock::new((start + u64::from(ahead)) * TICK_NS, 10).tick();
            prop_assert!(!Clock::new(start * TICK_NS, 10).is_stale(seen));
        }
    }

    #[test]
    fn lifetimes_round_up_and_are_bounded() {
        assert_eq!(lifetime_from_secs(0), 1);
        assert!(u64::from(lifetime_from_secs(1860)) * TICK_NS >= 1_860_000_000_000);
        assert_eq!(lifetime_from_secs(u64::MAX), LIFETIME_MAX);
    }
}
