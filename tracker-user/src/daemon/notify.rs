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

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};

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

/// How often to ask for more time, and for how much each time: the service manager ends a start or a reload that
/// takes longer than it was told to allow.
const EXTEND_INTERVAL: Duration = Duration::from_secs(10);
const EXTENSION: Duration = Duration::from_secs(30);

/// After half an hour a start hangs, and the service manager shall have its way.
const EXTENSIONS_MAX: u64 = 180;

/// Asks for more time for a start or a reload.
fn extend() {
    send(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
}

/// Says that the tracker ends.
pub(super) fn stopping() {
    send("STOPPING=1");
}

/// Says that the tracker still does something.
fn alive() {
    send("WATCHDOG=1");
}

/// When the service manager wants to hear that we live, and when a start or a reload takes long.
pub(super) struct Watchdog {
    /// None where it does not want to.
    alive: Option<Interval>,
    extend: Interval,
    /// How often a start or a reload may yet ask for more time.
    extensions: u64,
}

impl Watchdog {
    /// To be called within a tokio runtime.
    pub(super) fn new() -> Self {
        let mut extend = interval_at(Instant::now() + EXTEND_INTERVAL, EXTEND_INTERVAL);
        extend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { alive: watchdog(), extend, extensions: EXTENSIONS_MAX }
    }

    /// Waits for the next time, and says so. While something is `under_way` that the service manager waits for,
    /// it is asked for more time.
    pub(super) async fn tick(&mut self, under_way: bool) {
        if !under_way {
            self.extensions = EXTENSIONS_MAX;
        }
        let Self { alive: watchdog, extend, extensions } = self;
        tokio::select! {
            () = next(watchdog) => alive(),
            _ = extend.tick() => if under_way && *extensions > 0 {
                *extensions -= 1;
                self::extend();
            },
        }
    }
}

/// Waits for the next time to tell the watchdog that we live; for ever without one.
async fn next(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => _ = watchdog.tick().await,
        None => std::future::pending().await,
    }
}

/// Twice as often as the service manager wants to hear it, if it does at all.
fn watchdog() -> Option<Interval> {
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
