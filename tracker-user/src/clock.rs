//! The clocks that peers and connection ids go by.

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds, for peers: a read of memory, precise to a few
/// milliseconds. The kernel reads the same one.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// `CLOCK_REALTIME_COARSE` in nanoseconds since the Unix epoch, for connection ids. The kernel is told
/// how far it is from the monotonic clock.
#[must_use]
pub fn wall_ns() -> u64 {
    read(libc::CLOCK_REALTIME_COARSE)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid; the call cannot fail for a clock that every kernel has.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
