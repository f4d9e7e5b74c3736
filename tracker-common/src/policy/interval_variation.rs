//! `interval variation`: clients that arrived together announce at different times.

use crate::id::{InfoHash, PeerId};

/// Lengthens the announce interval of some clients, so that those that arrived together spread out.
///
/// The choice depends on nothing but info-hash and peer id: a client always sees the same interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct IntervalVariation {
    /// A client is chosen when its 24-bit draw is below this; 0 chooses none, 2^24 all.
    pub threshold: u32,
    /// The longest addition in seconds; at least 1 where `threshold` is not 0.
    pub increase_max_s: u32,
    /// Whether the minimum interval grows too; 0 or 1.
    pub modify_min_interval: u32,
}

impl IntervalVariation {
    /// The seconds to add to this client's interval: 0, or 1 to `increase_max_s`.
    ///
    /// Draws from the xorshift128+ generator seeded as Chihaya seeds it, so that the clients of a
    /// migrated tracker keep their intervals.
    #[inline(always)]
    #[must_use]
    pub fn increase_s(&self, info_hash: &InfoHash, peer_id: &PeerId) -> u32 {
        if self.threshold == 0 {
            return 0;
        }
        let mut random = XorShift { a: entropy(&info_hash.0), b: entropy(&peer_id.0) };
        if (random.draw() & 0x00ff_ffff) as u32 >= self.threshold {
            return 0;
        }
        // A divisor of 0 is only what a torn configuration would show; BPF defines x % 0 as x.
        let span = if self.increase_max_s == 0 { 1 } else { self.increase_max_s };
        (random.draw() % span as u64) as u32 + 1
    }
}

/// The sum of the first two big-endian words.
#[inline(always)]
fn entropy(id: &[u8; 20]) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *id;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let second = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
    first.wrapping_add(second)
}

struct XorShift {
    a: u64,
    b: u64,
}

impl XorShift {
    /// A number of 63 bits: the generator's, without its sign, as Chihaya takes it.
    #[inline(always)]
    fn draw(&mut self) -> u64 {
        let sum = self.a.wrapping_add(self.b);
        let x = self.a ^ (self.a << 23);
        self.a = self.b;
        self.b = x ^ self.b ^ (x >> 18) ^ (self.b >> 5);
        (sum as i64).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_threshold_adds_nothing() {
        let none = IntervalVariation::default();
        assert_eq!(none.increase_s(&InfoHash([7; 20]), &PeerId([9; 20])), 0);
    }

    /// What a Chihaya with these options added to 30 minutes.
    #[test]
    fn clients_of_a_migrated_tracker_keep_their_intervals() {
        let variation =
            IntervalVariation { threshold: 5_033_164, increase_max_s: 60, modify_min_interval: 1 };
        let torrent: InfoHash = "1902e3d6fc4e78a0bcc50ba12b882769afbf4a8c".parse().unwrap();
        assert_eq!(variation.increase_s(&torrent, &PeerId([0; 20])), 25);
    }

    proptest! {
        #[test]
        fn an_increase_is_stable_and_within_its_bounds(
            hash: [u8; 20], peer: [u8; 20], threshold in 1..=1u32 << 24, max in 1u32..100_000,
        ) {
            let variation = IntervalVariation { threshold, increase_max_s: max, modify_min_interval: 0 };
            let first = variation.increase_s(&InfoHash(hash), &PeerId(peer));
            prop_assert!(first <= max);
            prop_assert!(threshold < 1 << 24 || first >= 1);
            prop_assert_eq!(first, variation.increase_s(&InfoHash(hash), &PeerId(peer)));
        }
    }
}
