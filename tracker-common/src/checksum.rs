//! The Internet checksum (RFC 1071). Sums are of words as they lie in memory, which the byte order of
//! the host does not change; words of 32 bits give the same as words of 16.

use crate::{family::Family, verifier::add_now};

/// The words of an address.
#[inline(always)]
#[must_use]
pub fn sum_addr<F: Family>(addr: &F::Addr) -> u64 {
    sum_words(F::words(addr))
}

/// The same of an address as two words.
#[inline(always)]
#[must_use]
pub const fn sum_words([first, second]: [u64; 2]) -> u64 {
    halves(first) + halves(second)
}

/// The two halves of a word, which sum up to the same.
#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// A sum of many words by their halves, of which only one is taken out of each.
#[derive(Default)]
pub struct Sum {
    /// Of all words, without what would be carried out of 64 bits.
    words: u64,
    /// Of their upper halves.
    upper: u64,
}

impl Sum {
    /// Adds a word, one of at most 2^31.
    #[inline(always)]
    pub fn add(&mut self, word: u64) {
        add_now(&mut self.words, word);
        add_now(&mut self.upper, word >> 32);
    }

    /// The sum of all halves. What the upper ones have added to the words is taken off again, and with it what
    /// has been lost.
    #[inline(always)]
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.words.wrapping_sub(self.upper << 32).wrapping_add(self.upper)
    }
}

/// The checksum of an IPv4 header whose words have this sum, below 2^47.
#[inline(always)]
#[must_use]
pub const fn of_header(sum: u64) -> u16 {
    !folded(sum) as u16
}

/// Whether a header or a datagram whose words, with those of its pseudo-header and its own checksum, have this sum,
/// below 2^47, is as it was sent.
#[inline(always)]
#[must_use]
pub const fn is_right(sum: u64) -> bool {
    folded(sum) as u16 == 0xffff
}

/// The sum of a pseudo-header, below 2^47, as the stack leaves it in the place of a checksum that is still to be
/// worked out.
#[inline(always)]
#[must_use]
pub const fn partial(pseudo_header: u64) -> u16 {
    folded(pseudo_header) as u16
}

/// A sum below 2^47 in 32 bits, to which as many more may be added as there are bits left.
#[inline(always)]
#[must_use]
pub const fn shortened(sum: u64) -> u32 {
    ((sum & 0xffff) + (sum >> 16)) as u32
}

/// The checksum of a datagram whose words have this sum: never zero, which would mean that there is none.
#[inline(always)]
#[must_use]
pub const fn of_datagram(sum: u64) -> u16 {
    // Of the two forms of zero, what is folded is never the first. One more than the sum is folded, and
    // taken off again; then it is never the second.
    folded(halves(sum) + 1).wrapping_neg() as u16
}

/// A sum below 2^47 with what goes beyond 16 bits added to them, in the lowest 16 bits. Zero only for zero.
#[inline(always)]
const fn folded(sum: u64) -> u64 {
    let sum = (sum & 0xffff) + (sum >> 16);
    // Of a number with two digits of 16 bits, three copies each a digit further on: in the third digit meet
    // both, and what those in the second carry.
    sum.wrapping_mul(1 | 1 << 16 | 1 << 32) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_the_book(mut sum: u64) -> u16 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn check(sum: u64) {
        let checksum = by_the_book(sum);
        let sent = sum.wrapping_add(checksum as u64);
        if sent < 1 << 47 && sum != 0 {
            assert!(is_right(sent) && !is_right(sent + 1), "{sum:x}");
            assert_eq!(partial(sum), !checksum, "{sum:x}");
        }
        assert_eq!(of_datagram(sum), if checksum == 0 { 0xffff } else { checksum }, "{sum:x}");
        if sum < 1 << 47 {
            assert_eq!(of_header(sum), checksum, "{sum:x}");
        }
    }

    proptest! {
        #[test]
        fn a_sum_is_folded_by_the_book(sum: u64, bits in 0..64_u32) {
            check(sum >> bits);
        }
    }

    proptest! {
        #[test]
        fn words_are_summed_up_by_their_halves(words: Vec<u64>) {
            let mut sum = Sum::default();
            words.iter().for_each(|word| sum.add(*word));
            prop_assert_eq!(sum.total(), words.iter().map(|word| halves(*word)).sum::<u64>());
        }
    }

    #[test]
    fn carries_of_carries_are_carried() {
        let edges = [0_u64, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
        for digits in 0..edges.len().pow(4) {
            let digit = |at: u32| edges[digits / edges.len().pow(at) % edges.len()] << (16 * at);
            check((0..4).map(digit).sum());
        }
    }
}
