//! Reads and writes the layouts of [`tracker_common::wire`] in place.

use tracker_common::wire::{
    AnnounceHead, AnnounceReply, AnnounceTail, ConnectReply, ReplyHead, RequestHead, ScrapeEntry,
};

/// A message, or part of one.
///
/// # Safety
/// `repr(C)`, of byte arrays only: any bytes are a valid value, there is no padding and no
/// alignment.
pub(super) unsafe trait Layout: Copy {}

// SAFETY: so they are defined; `tracker_common::wire` asserts it.
unsafe impl Layout for RequestHead {}
// SAFETY: as above.
unsafe impl Layout for AnnounceHead {}
// SAFETY: as above.
unsafe impl Layout for AnnounceTail {}
// SAFETY: as above.
unsafe impl Layout for ConnectReply {}
// SAFETY: as above.
unsafe impl Layout for AnnounceReply {}
// SAFETY: as above.
unsafe impl Layout for ReplyHead {}
// SAFETY: as above.
unsafe impl Layout for ScrapeEntry {}

/// The layout at the start of `bytes`, and what follows it; `None` where there are too few.
pub(super) fn split<T: Layout>(bytes: &[u8]) -> Option<(&T, &[u8])> {
    const { assert!(align_of::<T>() == 1) };
    let (value, rest) = bytes.split_at_checked(size_of::<T>())?;
    // SAFETY: the length is right, and there is no alignment; the rest is what `Layout` promises.
    Some((unsafe { &*value.as_ptr().cast::<T>() }, rest))
}

/// The bytes of a layout, as they go on the wire.
pub(super) fn bytes<T: Layout>(value: &T) -> &[u8] {
    // SAFETY: `Layout` promises that there is no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_from_the_start_and_written_back() {
        let packet: Vec<u8> = (0..20).collect();
        let (head, rest) = split::<RequestHead>(&packet).unwrap();
        assert_eq!(head.action, [8, 9, 10, 11]);
        assert_eq!(rest, [16, 17, 18, 19]);
        assert_eq!(bytes(head), &packet[..16]);
    }

    #[test]
    fn too_few_bytes_are_no_layout() {
        assert!(split::<RequestHead>(&[0; 15]).is_none());
    }
}
