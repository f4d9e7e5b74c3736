//! [`tracker_common::checksum`], and sums of what is in memory for it.

pub use tracker_common::checksum::{
    is_right, of_datagram, of_header, partial, shortened, sum_addr, sum_words,
};

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
