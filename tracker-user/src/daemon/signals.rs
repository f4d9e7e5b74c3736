//! The signals that an operator sends.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

use super::engine::Ending;

/// By which service managers end a daemon.
const TERMINATE: &str = "SIGTERM";

/// What is left when this signal has ended the daemon. After Ctrl-C the operator does not start it again at once, and
/// wants nothing left.
pub(super) fn ending(signal: &str) -> Ending {
    if signal == TERMINATE { Ending::AsConfigured } else { Ending::Whole }
}

/// What a signal asks for, and its name.
pub(super) enum Signal {
    /// SIGINT, SIGTERM.
    Stop(&'static str),
    /// SIGUSR1, as for Chihaya, or SIGHUP, as for most daemons.
    Reload(&'static str),
}

/// All of them. From when this is made, none ends the process by itself.
pub(super) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    user1: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// To be called within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.terminate.recv() => Signal::Stop(TERMINATE),
            _ = self.user1.recv() => Signal::Reload("SIGUSR1"),
            _ = self.hangup.recv() => Signal::Reload("SIGHUP"),
        }
    }
}
