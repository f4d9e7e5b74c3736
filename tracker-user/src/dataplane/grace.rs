//! Waiting until the kernel has let go of what it found in the table or in the configuration.
//!
//! XDP programs run inside RCU read-side sections, so an RCU grace period is enough. `membarrier` waits for
//! one; kernels with `nohz_full` refuse it. There, an update of an array of maps waits for one too, before it
//! returns (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c, `synchronize_rcu`).

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::OnceLock,
    thread,
    time::Duration,
};

/// Waiting this long stands in where neither can be had: no XDP program runs longer.
const FALLBACK: Duration = Duration::from_millis(100);

/// Made where `membarrier` is refused.
static SWITCH: OnceLock<Switch> = OnceLock::new();

/// To be called while the process may create maps.
pub(super) fn prepare() {
    if is_membarrier_offered() || SWITCH.get().is_some() {
        return;
    }
    match Switch::new() {
        Ok(switch) => drop(SWITCH.set(switch)),
        Err(error) => tracing::warn!(
            "the kernel refuses membarrier, and an array of maps ({error}): each change of the table that it \
             may be reading waits for 100 ms instead"
        ),
    }
}

/// Waits until no XDP program that runs now still does.
pub(super) fn wait_for_kernel() {
    let is_over = membarrier(libc::MEMBARRIER_CMD_GLOBAL) == Some(0)
        || SWITCH.get().is_some_and(|switch| switch.flip().is_ok());
    if !is_over {
        thread::sleep(FALLBACK);
    }
}

fn is_membarrier_offered() -> bool {
    membarrier(libc::MEMBARRIER_CMD_QUERY)
        .is_some_and(|offered| offered & i64::from(libc::MEMBARRIER_CMD_GLOBAL) != 0)
}

fn membarrier(command: libc::c_int) -> Option<i64> {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    (result >= 0).then_some(result)
}

/// An array of one map, and the map in it: each time it is put there again the kernel waits for all programs
/// that may have had the one before.
struct Switch {
    outer: OwnedFd,
    inner: OwnedFd,
}

/// The first fields of `union bpf_attr` for `BPF_MAP_CREATE`, up to the one that is needed; the kernel takes
/// what is missing for zero.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// And for `BPF_MAP_UPDATE_ELEM`. The fields of 64 bits are addresses.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

impl Switch {
    fn new() -> io::Result<Self> {
        let array = MapCreate {
            map_type: BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..MapCreate::default()
        };
        let inner = create(&array)?;
        let array_of_maps = MapCreate {
            map_type: BPF_MAP_TYPE_ARRAY_OF_MAPS,
            inner_map_fd: inner.as_raw_fd() as u32,
            ..array
        };
        Ok(Self { outer: create(&array_of_maps)?, inner })
    }

    /// Returns after an RCU grace period.
    fn flip(&self) -> io::Result<()> {
        let key = 0_u32;
        let value = self.inner.as_raw_fd() as u32;
        let update = MapUpdate {
            map_fd: self.outer.as_raw_fd() as u32,
            _pad: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw const value).addr() as u64,
            flags: 0,
        };
        // SAFETY: the key and the value are of four bytes, as the map's are, and live until the call returns,
        // which only reads them.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &update) }.map(drop)
    }
}

fn create(attributes: &MapCreate) -> io::Result<OwnedFd> {
    // SAFETY: these attributes hold no addresses.
    let fd = unsafe { bpf(BPF_MAP_CREATE, attributes)? };
    // SAFETY: the kernel has just made it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// The addresses in the attributes are of memory as the command wants it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the attributes are as long as is said; for what they lead to the caller vouches.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_membarrier_is_refused_an_update_of_a_map_of_maps_waits_for_the_kernel() {
        match Switch::new() {
            // Only a process that may create maps can tell.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            switch => {
                let switch = switch.expect("an array of maps");
                for _ in 0..3 {
                    switch.flip().expect("an update");
                }
            }
        }
    }

    #[test]
    fn membarrier_is_asked_for_by_what_it_offers() {
        let is_served = membarrier(libc::MEMBARRIER_CMD_GLOBAL) == Some(0);
        assert_eq!(is_membarrier_offered(), is_served);
        wait_for_kernel();
    }
}
