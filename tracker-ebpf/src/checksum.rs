//! [`tracker_common::checksum`], and sums of what is in memory for it.

use aya_ebpf::helpers::generated::bpf_csum_diff;
pub use tracker_common::checksum::{of_datagram, of_header, sum_addr, sum_words};
use tracker_common::{
    peers::{PEERS_BYTES_MAX, PeerBuf},
    verifier::bounded,
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

/// Bytes that `bpf_csum_diff` takes at a time: older kernels have no room for more.
const STRIDE: usize = 512;

/// A list is shorter than this.
const LIST_BYTES: usize = 1536;

const _: () = assert!(LIST_BYTES >= PEERS_BYTES_MAX);

/// The words of a list.
#[inline(always)]
pub fn sum_list(list: &mut PeerBuf) -> u64 {
    let len = list.pad();
    let mut sum = 0;
    for stride in 0..LIST_BYTES / STRIDE {
        let start = stride * STRIDE;
        if start as u32 >= len {
            break;
        }
        let rest = len - start as u32;
        let bytes = if rest > STRIDE as u32 { STRIDE as u32 } else { rest };
        let bytes = bounded::<1023>(bytes) as u32;
        if bytes as usize > STRIDE {
            break;
        }
        // SAFETY: the list is initialised to LIST_BYTES, in words of four bytes.
        let partial = unsafe {
            let from = list.as_ptr().add(start).cast_mut().cast();
            bpf_csum_diff(core::ptr::null_mut(), 0, from, bytes, 0)
        };
        sum += partial as u32 as u64;
    }
    sum
}
