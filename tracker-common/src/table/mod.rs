//! The swarm table: torrents and peers in memory that the kernel and the daemon share.
//!
//! * [`layout`]: the bytes;
//! * `word`, `peer_slots`: one peer, and the slots of several; [`leaf`], `peer_set`: those of bigger swarms;
//! * [`index`]: from an info-hash to its entry;
//! * `prepared`, [`swarm`], [`inline`], [`spilled`]: what announces and scrapes do, in the kernel and in the
//!   daemon alike;
//! * `direct`: an announce from end to end, where no verifier looks;
//! * [`owner`]: what only the daemon does: admit, grow, expire.

#[cfg(not(target_arch = "bpf"))]
pub mod direct;
pub mod index;
pub mod inline;
pub mod layout;
pub mod leaf;
#[cfg(not(target_arch = "bpf"))]
pub mod owner;
mod peer_set;
mod peer_slots;
mod prepared;
pub mod spilled;
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
