//! The Internet checksum (RFC 1071). Sums are of 16-bit words as they lie in memory, which the
//! byte order of the host does not change.

use tracker_common::family::Family;

/// The words of `T`, whose odd last byte is padded with zero.
#[inline(always)]
pub fn sum<T>(value: &T) -> u64 {
    let bytes = (value as *const T).cast::<u8>();
    let mut sum = 0;
    for word in 0..size_of::<T>() / 2 {
        // SAFETY: within `value`.
        sum += unsafe { bytes.add(word * 2).cast::<u16>().read_unaligned() } as u64;
    }
    if size_of::<T>() % 2 == 1 {
        // SAFETY: as above; the byte is the word's first in memory.
        sum += unsafe { *bytes.add(size_of::<T>() - 1) } as u64;
    }
    sum
}

/// The words of an address.
#[inline(always)]
pub fn sum_addr<F: Family>(addr: &F::Addr) -> u64 {
    let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let [first, second] = F::words(addr);
    halves(first) + halves(second)
}

/// The checksum of a sum, folded to 16 bits.
#[inline(always)]
pub fn complement(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
