//! The tracker that runs with this configuration already, if one does: `check` is run before a reload, too.

use std::{net::SocketAddr, path::Path};

use crate::daemon::control::{self, Asked, Status};

/// What is served over which ports cannot be in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Whether two sockets of one protocol cannot have both. The system chooses another port for each 0.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |addr: SocketAddr| addr.ip().is_unspecified();
    let same_ip = one.ip() == other.ip() || is_any(one) || is_any(other);
    one.port() == other.port() && one.port() != 0 && same_ip
}

/// What the control socket tells.
pub(super) enum Running {
    /// No tracker answers there.
    None,
    /// One that runs with this configuration.
    Tracker(Status),
    /// There is one that does not tell, or does not tell us; why not.
    Untold(String),
}

impl Running {
    /// Asks at the socket.
    pub(super) fn find(socket: &Path) -> Self {
        match control::ask_status(socket) {
            Asked::Answered(status) => Self::Tracker(status),
            Asked::NoTracker => Self::None,
            Asked::Untold(why) => {
                Self::Untold(format!("control_socket: {}: {why}", socket.display()))
            }
        }
    }

    /// The process of the tracker, if this is an address that it serves.
    pub(super) fn serves(&self, transport: Transport, addr: SocketAddr) -> Option<u32> {
        let Self::Tracker(status) = self else { return None };
        let is_it = |(what, served): &(String, SocketAddr)| {
            let served_by = if what == "UDP" { Transport::Udp } else { Transport::Tcp };
            served_by == transport && overlap(*served, addr)
        };
        status.serves.iter().any(is_it).then_some(status.process)
    }

    /// Why it cannot be told what the tracker has, where there seems to be one.
    pub(super) fn is_untold(&self) -> Option<&str> {
        match self {
            Self::Untold(why) => Some(why),
            _ => None,
        }
    }

    /// Its process.
    pub(super) fn process(&self) -> Option<u32> {
        match self {
            Self::Tracker(status) => Some(status.process),
            _ => None,
        }
    }

    /// Whether it keeps its pins in this folder.
    pub(super) fn pins_at(&self, folder: &Path) -> bool {
        matches!(self, Self::Tracker(status) if status.pin_path == folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_port_overlap_where_one_is_unspecified() {
        let overlap =
            |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(overlap("127.0.0.1:1", "127.0.0.1:1") && overlap("[::]:1", "127.0.0.1:1"));
        assert!(!overlap("127.0.0.1:1", "127.0.0.2:1") && !overlap("[::]:1", "[::]:2"));
        assert!(!overlap("[::]:0", "[::]:0"));
    }
}
