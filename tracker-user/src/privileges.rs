//! The capabilities of the process: a start is limited to those that it needs, and keeps none.
//!
//! The system keeps them for each thread, and a new thread has those of the thread that starts it. So where a tracker
//! shall have none, the thread that starts it says so ([`drop_in_threads`]): all threads that come of it begin by
//! dropping theirs ([`spawn`]), and it drops its own in the end. What has been loaded, mapped and bound stays usable,
//! and a program that is loaded can be attached by any process that holds its descriptor.
//!
//! A tracker that is embedded drops nothing, unless its builder says so.

use std::{
    cell::Cell,
    collections::HashSet,
    io,
    sync::mpsc,
    thread::{Builder, JoinHandle},
};

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// What it takes to load and attach the program.
const KERNEL: [Capability; 3] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON, Capability::CAP_BPF];

/// What a start may need beside them: ports below 1024; and a BPF file system to mount, by what
/// also stands for two of them.
const START: [Capability; 2] = [Capability::CAP_NET_BIND_SERVICE, Capability::CAP_SYS_ADMIN];

/// `CAP_SYS_ADMIN` stands for the two that were once a part of it.
const OF_SYS_ADMIN: [Capability; 2] = [Capability::CAP_PERFMON, Capability::CAP_BPF];

/// The capabilities that this thread lacks to load and attach the program.
#[must_use]
pub fn missing() -> Vec<Capability> {
    missing_of(&caps::read(None, CapSet::Effective).unwrap_or_default())
}

fn missing_of(effective: &CapsHashSet) -> Vec<Capability> {
    let stands_for = |capability| {
        OF_SYS_ADMIN.contains(&capability) && effective.contains(&Capability::CAP_SYS_ADMIN)
    };
    let lacks =
        |capability: &Capability| !effective.contains(capability) && !stands_for(*capability);
    KERNEL.into_iter().filter(lacks).collect()
}

/// Limits this thread, and those that it will start, to what a start needs. From then on files are
/// opened by their mode and owner alone, at the start as in a reload; and no program that is
/// executed can have more.
///
/// # Errors
/// When the system refuses.
pub fn limit() -> anyhow::Result<()> {
    const CANNOT: &str = "cannot drop privileges";
    prctl::set_no_new_privs().context(CANNOT)?;
    let needed: HashSet<_> = KERNEL.into_iter().chain(START).collect();
    let permitted = caps::read(None, CapSet::Permitted).context(CANNOT)?;
    // Only who may change them can, and for others the one above is enough.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding).context(CANNOT)?.difference(&needed) {
            caps::drop(None, CapSet::Bounding, *capability).context(CANNOT)?;
        }
    }
    let kept = &permitted & &needed;
    caps::set(None, CapSet::Effective, &kept).context(CANNOT)?;
    caps::set(None, CapSet::Permitted, &kept).context(CANNOT)?;
    caps::clear(None, CapSet::Inheritable).context(CANNOT)
}

thread_local! {
    /// Whether the threads that this one starts begin by dropping their capabilities.
    static DROPS_IN_THREADS: Cell<bool> = const { Cell::new(false) };
}

/// From now on the threads that this one starts with [`spawn`], and those that they start, have no capabilities.
pub fn drop_in_threads() {
    DROPS_IN_THREADS.set(true);
}

/// Drops all capabilities of this thread, and so of those that it starts.
pub fn drop_all() {
    drop_in_threads();
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        if let Err(error) = caps::clear(None, set) {
            tracing::error!("cannot drop privileges: {error}");
        }
    }
}

/// Starts a thread. After [`drop_in_threads`] it has no capability any more when this returns.
///
/// # Errors
/// When there can be no more threads.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let drops = DROPS_IN_THREADS.get();
    let (dropped, done) = mpsc::channel::<()>();
    let thread = Builder::new().name(name.into()).spawn(move || {
        if drops {
            drop_all();
        }
        drop(dropped);
        f()
    })?;
    // It sends nothing: the other end is gone when they are.
    let _ = done.recv();
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let missing = |effective: &[Capability]| {
            missing_of(&effective.iter().copied().collect())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(missing(&[Capability::CAP_NET_ADMIN]), ["CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(missing(&[Capability::CAP_SYS_ADMIN]), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(&KERNEL), [""; 0]);
    }

    fn held_by_a_thread_of_a_thread() -> CapsHashSet {
        let held = || caps::read(None, CapSet::Permitted).unwrap();
        spawn("test", move || spawn("test", held).unwrap().join().unwrap()).unwrap().join().unwrap()
    }

    #[test]
    fn threads_start_without_any_where_that_is_asked_for() {
        let held = std::thread::spawn(|| {
            drop_in_threads();
            held_by_a_thread_of_a_thread()
        });
        assert_eq!(held.join().unwrap(), CapsHashSet::new());
    }

    #[test]
    fn a_thread_keeps_those_of_the_thread_that_starts_it_unless_told_otherwise() {
        let own = caps::read(None, CapSet::Permitted).unwrap();
        assert_eq!(held_by_a_thread_of_a_thread(), own);
    }

    #[test]
    fn a_limited_thread_keeps_no_more_than_a_start_needs() {
        let held = std::thread::spawn(|| {
            limit().unwrap();
            [CapSet::Effective, CapSet::Permitted].map(|set| caps::read(None, set).unwrap())
        });
        for held in held.join().unwrap() {
            assert!(
                held.iter()
                    .all(|capability| KERNEL.contains(capability) || START.contains(capability)),
                "{held:?}"
            );
        }
    }
}
