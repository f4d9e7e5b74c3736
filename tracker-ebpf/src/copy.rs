//! Copies a list into the frame, and sums it up for the checksum on the way. Two helpers could do the same; for
//! 50 peers they take three times as long.

use aya_ebpf::programs::XdpContext;
use tracker_common::{
    checksum::Sum,
    peers::{OFFSET_MASK, PEERS_BYTES_MAX, PeerBuf},
    verifier::{add_now, bounded, opaque},
};

/// What is copied at a time.
type Chunk = [u64; 4];

const CHUNK_BYTES: usize = size_of::<Chunk>();

// The last chunk may reach beyond the list, but not beyond its buffer.
const _: () = assert!(PEERS_BYTES_MAX.next_multiple_of(CHUNK_BYTES) <= OFFSET_MASK as usize + 1);

/// A list begins before this offset, whatever comes before it.
pub const OFFSET_MAX: u32 = 127;

/// Copies the list to this offset of the frame, at whose end it ends. Offset and length of the list are even.
/// Returns the sum of the list's words.
#[inline(always)]
pub fn to_end_of_frame(ctx: &XdpContext, offset: usize, list: &PeerBuf, zero: &u32) -> u64 {
    // The verifier must not relate this pointer to others. Each turn would tell it more of them, and it would walk
    // all that follows once for each number of turns.
    let offset = bounded::<OFFSET_MAX>(opaque(offset as u32, zero));
    let (start, end) = (ctx.data() + offset, ctx.data_end());
    let mut sum = Sum::default();
    for at in (0..PEERS_BYTES_MAX).step_by(CHUNK_BYTES) {
        let to = start + at;
        if to + CHUNK_BYTES > end {
            break;
        }
        // SAFETY: the frame reaches that far, as was just checked; the buffer is longer than all turns take.
        unsafe {
            let chunk = list.as_ptr().add(at).cast::<Chunk>().read_unaligned();
            (to as *mut Chunk).write_unaligned(chunk);
            chunk.into_iter().for_each(|word| sum.add(word));
        }
    }
    // From the list's length, of which the verifier knows as little after one turn as after all.
    let copied = bounded::<OFFSET_MASK>(list.len() & !(CHUNK_BYTES as u32 - 1));
    let mut sum = sum.total();
    for at in (0..CHUNK_BYTES).step_by(size_of::<u16>()) {
        let to = start + copied + at;
        if to + size_of::<u16>() > end {
            break;
        }
        // SAFETY: as above.
        unsafe {
            let word = list.as_ptr().add(copied + at).cast::<u16>().read_unaligned();
            (to as *mut u16).write_unaligned(word);
            add_now(&mut sum, word as u64);
        }
    }
    sum
}
