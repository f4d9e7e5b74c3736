//! What the service manager is told (`sd_notify`): one datagram each, to the socket that it names in
//! `NOTIFY_SOCKET`. Without one nobody is told.

use std::{
    env,
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Says that the tracker serves, after a start or a reload.
pub(super) fn ready() {
    send("READY=1");
}

/// Says that a reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let micros = now.map_or(0, |now| Duration::from(now).as_micros());
    send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// Says that the tracker ends.
pub(super) fn stopping() {
    send("STOPPING=1");
}

/// Says that the tracker still does something.
pub(super) fn alive() {
    send("WATCHDOG=1");
}

/// When to say so: twice as often as the service manager wants to hear it, if it does at all. To be
/// called within a tokio runtime.
pub(super) fn watchdog() -> Option<Interval> {
    let is_for_us = |pid: String| pid == process::id().to_string();
    if !env::var("WATCHDOG_PID").map_or(true, is_for_us) {
        return None;
    }
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let mut interval = interval(Duration::from_micros(micros / 2).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(interval)
}

fn send(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send_to(&socket, state) {
        tracing::warn!("the service manager cannot be told {state}: {error}");
    }
}

/// A name that begins with `@` is in the abstract namespace.
fn send_to(socket: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn a_socket_may_be_abstract() {
        let name = format!("xdp-tracker-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send_to(OsStr::new(&format!("@{name}")), "WATCHDOG=1").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(manager.recv(&mut buffer).unwrap(), 10);
    }
}
