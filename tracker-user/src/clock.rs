//! The clock that connection ids and peers go by.

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds: a read of memory, precise to a few milliseconds. The
/// kernel reads the same one.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid; the call cannot fail for a clock that every kernel has.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
