//! The swarm table: torrents and peers in memory that the kernel and the daemon share.
//!
//! * [`layout`]: the bytes;
//! * `word`, `slots`: one peer, and a run of them;
//! * [`index`]: from an info-hash to its line;
//! * [`swarm`]: what announces and scrapes do, in the kernel and in the daemon alike;
//! * [`owner`]: what only the daemon does: admit, grow, expire.

pub mod index;
pub mod layout;
#[cfg(not(target_arch = "bpf"))]
pub mod owner;
mod slots;
pub mod swarm;
mod word;

/// Why a request could not be served from the table as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// No such torrent.
    Unknown,
    /// The daemon is moving the torrent's peers.
    Frozen,
    /// The announcer is new and there is no slot for it.
    Full,
    /// Somebody else changed the same slot at the same moment.
    Contended,
    /// A reference points past the end of the table.
    Corrupt,
}
