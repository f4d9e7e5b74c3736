//! Coarse time, as peer words keep it.
//!
//! Both sides go by `CLOCK_MONOTONIC_COARSE`: the daemon asks for it with `clock_gettime`, the program works
//! it out from the [`Jiffies`].

use crate::verifier::BranchlessBool;

/// A tick is 2^32 ns, about 4.3 s: the division is a shift.
const TICK_SHIFT: u32 = 32;

/// Ticks are kept in the top 15 bits of a word and wrap around after 39 hours.
pub(crate) const SEEN_SHIFT: u32 = 49;

/// The same in the upper half of a word.
const UPPER_SHIFT: u32 = SEEN_SHIFT - 32;

/// A word may carry a tick that the reader's clock has not reached yet, by this much: 18 minutes. A
/// daemon that was stopped in the midst of a sweep goes on with the time at which that began.
const AHEAD_MAX: u64 = 256;

/// The longest peer lifetime in ticks: 37 hours. Beyond it an old peer would look new again.
pub const LIFETIME_MAX: u32 = (1 << 15) - 1 - 2 * AHEAD_MAX as u32 - 1024;

/// How to tell the monotonic clock from the kernel's jiffies. They are a variable of the kernel, which is read in
/// place of a call (`bpf_jiffies64`, kernel 5.6); to call the clock takes 20 ns, as long as a hundred
/// instructions. The kernel keeps the two in step: it counts a jiffy whenever the clock has advanced by the
/// length of one, and all at once those that it is late for.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Jiffies {
    /// The length of one in nanoseconds: usually 1,000,000 to 10,000,000, by the kernel's `CONFIG_HZ`.
    ns: u64,
    /// The clock when their number was 0, in nanoseconds, wrapping around.
    offset_ns: u64,
}

impl Jiffies {
    /// Goes by what was read at one moment: the clock stood at `monotonic_ns` when so many were counted, of `ns`
    /// nanoseconds each.
    #[must_use]
    pub const fn new(ns: u64, counted: u64, monotonic_ns: u64) -> Self {
        Self { ns, offset_ns: monotonic_ns.wrapping_sub(counted.wrapping_mul(ns)) }
    }

    /// The clock when so many are counted.
    #[inline(always)]
    #[must_use]
    pub const fn monotonic_ns(&self, counted: u64) -> u64 {
        counted.wrapping_mul(self.ns).wrapping_add(self.offset_ns)
    }
}

/// A moment, and how long before it a peer may have been seen last.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Clock {
    /// The present tick, in its place in a word.
    seen: u64,
    /// From the oldest tick that is not stale to the first that is too far ahead, as `start`.
    span: u64,
    /// The oldest tick that is not stale, in its place in the upper half of a word.
    start: u32,
    /// The present tick, all of it.
    tick: u32,
}

impl Clock {
    /// The clock at `monotonic_ns`, with peers living for `lifetime` ticks.
    #[inline(always)]
    #[must_use]
    pub const fn new(monotonic_ns: u64, lifetime: u32) -> Self {
        let now = monotonic_ns >> TICK_SHIFT;
        Self {
            seen: now << SEEN_SHIFT,
            span: (lifetime as u64).wrapping_add(AHEAD_MAX + 1) << UPPER_SHIFT,
            start: (now as u32).wrapping_sub(lifetime) << UPPER_SHIFT,
            tick: now as u32,
        }
    }

    /// The monotonic clock in nanoseconds, to a tick.
    #[inline(always)]
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        ticks_ns(self.tick as u64)
    }

    /// The present tick, as a word carries it.
    #[inline(always)]
    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }

    /// The clock so many ticks before. It says nothing of what is fresh.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn before(&self, ticks: u16) -> Self {
        Self { seen: self.seen.wrapping_sub((ticks as u64) << SEEN_SHIFT), ..*self }
    }

    /// How many ticks ago a word was written; 0 for one that is slightly ahead.
    #[cfg(not(target_arch = "bpf"))]
    pub(crate) const fn age(&self, word: u64) -> u16 {
        let age = (self.seen.wrapping_sub(word >> SEEN_SHIFT << SEEN_SHIFT) >> SEEN_SHIFT) as u16;
        // A word is at most half the range old.
        if age > LIFETIME_MAX as u16 { 0 } else { age }
    }

    /// Whether a word carries a tick that is within the lifetime. Its bits below the tick make no
    /// difference, for `span` has none.
    #[inline(always)]
    pub(crate) const fn is_fresh(&self, word: u64) -> BranchlessBool {
        let upper = (word >> 32) as u32;
        BranchlessBool::less(upper.wrapping_sub(self.start) as u64, self.span)
    }
}

/// So many ticks in nanoseconds.
#[must_use]
pub const fn ticks_ns(ticks: u64) -> u64 {
    ticks << TICK_SHIFT
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

    fn is_fresh(clock: &Clock, seen: u64) -> bool {
        // The other bits of a word make no difference.
        let low = clock.is_fresh(seen).bit();
        assert_eq!(low, clock.is_fresh(seen | ((1 << SEEN_SHIFT) - 1)).bit());
        low == 1
    }

    proptest! {
        #[test]
        fn a_peer_is_fresh_for_its_lifetime_and_stale_after_it(
            start in 0..1u64 << 20, lifetime in 1..LIFETIME_MAX, age in 0..LIFETIME_MAX,
        ) {
            let seen = Clock::new(start * TICK_NS, lifetime).seen();
            let later = Clock::new((start + u64::from(age)) * TICK_NS, lifetime);
            prop_assert_eq!(is_fresh(&later, seen), age <= lifetime);
        }

        #[test]
        fn a_word_from_a_clock_slightly_ahead_is_fresh(start in 0..1u64 << 20, ahead in 0..AHEAD_MAX) {
            let seen = Clock::new((start + ahead) * TICK_NS, 10).seen();
            prop_assert!(is_fresh(&Clock::new(start * TICK_NS, 10), seen));
        }
    }

    #[test]
    fn jiffies_tell_the_clock_before_and_after_the_moment_that_they_go_by() {
        // The kernel begins to count five minutes before their number would no longer fit into 32 bits.
        let start = (1 << 32) - 300 * 250;
        let jiffies = Jiffies::new(4_000_000, start + 1000, 4_017_000_000);
        assert_eq!(jiffies.monotonic_ns(start + 1000), 4_017_000_000);
        assert_eq!(jiffies.monotonic_ns(start + 1250), 5_017_000_000);
        assert_eq!(jiffies.monotonic_ns(start + 999), 4_013_000_000);
    }

    #[test]
    fn lifetimes_round_up_and_are_bounded() {
        assert_eq!(lifetime_from_secs(0), 1);
        assert!(u64::from(lifetime_from_secs(1860)) * TICK_NS >= 1_860_000_000_000);
        assert_eq!(lifetime_from_secs(u64::MAX), LIFETIME_MAX);
    }
}
