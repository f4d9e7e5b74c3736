//! The Internet checksum (RFC 1071). Sums are of words as they lie in memory, which the byte order of
//! the host does not change; words of 32 bits give the same as words of 16.

use tracker_common::family::Family;

/// The words of `T`, whose odd last byte is padded with zero.
#[inline(always)]
pub fn sum<T>(value: &T) -> u64 {
    let bytes = (value as *const T).cast::<u8>();
    let mut sum = 0;
    let mut at = 0;
    // SAFETY: all reads are within `value`.
    unsafe {
        while at + 4 <= size_of::<T>() {
            sum += bytes.add(at).cast::<u32>().read_unaligned() as u64;
            at += 4;
        }
        if at + 2 <= size_of::<T>() {
            sum += bytes.add(at).cast::<u16>().read_unaligned() as u64;
            at += 2;
        }
        if at < size_of::<T>() {
            // The byte is the word's first in memory.
            sum += u16::from_ne_bytes([*bytes.add(at), 0]) as u64;
        }
    }
    sum
}

/// The words of an address.
#[inline(always)]
pub fn sum_addr<F: Family>(addr: &F::Addr) -> u64 {
    let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let [first, second] = F::words(addr);
    if F::IS_V6 { halves(first) + halves(second) } else { first }
}

/// The checksum of a sum below 2^48, folded to 16 bits.
#[inline(always)]
pub fn complement(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
