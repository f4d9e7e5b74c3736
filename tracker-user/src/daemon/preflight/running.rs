//! The tracker that runs with this configuration already, if one does: `check` is run before a reload, too.

use std::{fs, net::SocketAddr, path::Path};

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
    /// One that runs with another configuration, which has the same control socket.
    Other(Status),
    /// There is one that does not tell, or does not tell us; why not.
    Untold(String),
}

impl Running {
    /// Asks at the socket for the tracker of the configuration in `file`, an absolute path.
    pub(super) fn find(socket: &Path, file: &Path) -> Self {
        match control::ask_status(socket) {
            Asked::Answered(status) if is_one_file(&status.config, file) => Self::Tracker(status),
            Asked::Answered(status) => Self::Other(status),
            Asked::NoTracker => Self::None,
            Asked::Untold(why) => Self::Untold(format!("{}: {why}", socket.display())),
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

    /// A tracker that goes by another file than this configuration.
    pub(super) fn other(&self) -> Option<&Status> {
        match self {
            Self::Other(status) => Some(status),
            _ => None,
        }
    }

    /// Whether it keeps its pins in this folder.
    pub(super) fn pins_at(&self, folder: &Path) -> bool {
        matches!(self, Self::Tracker(status) if status.pin_path == folder)
    }
}

/// Whether both paths lead to one file. Either may be a link, and what it leads to may be exchanged at any time.
fn is_one_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}
