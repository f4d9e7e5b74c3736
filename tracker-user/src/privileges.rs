//! The capabilities of the process: a start is limited to those that it needs, and keeps none.
//!
//! The system keeps them for each thread. So each of ours begins by dropping them ([`spawn`]), and the
//! one that starts the tracker does so in the end. What has been loaded, mapped and bound stays
//! usable, and a program that is loaded can be attached by whoever has it.

use std::{
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

/// Drops all capabilities of this thread.
pub fn drop_all() {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        if let Err(error) = caps::clear(None, set) {
            tracing::error!("cannot drop privileges: {error}");
        }
    }
}

/// Starts a thread, which has no capability any more when this returns.
///
/// # Errors
/// When there can be no more threads.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (dropped, done) = mpsc::channel::<()>();
    let thread = Builder::new().name(name.into()).spawn(move || {
        drop_all();
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

    #[test]
    fn a_thread_starts_without_any() {
        let held = spawn("test", || caps::read(None, CapSet::Permitted).unwrap());
        assert_eq!(held.unwrap().join().unwrap(), CapsHashSet::new());
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
