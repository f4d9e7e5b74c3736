//! The swarm table: torrents and peers in memory that the kernel and the daemon share.
//!
//! * [`layout`]: the bytes;
//! * `word`, `run`: one peer, and a run of them; [`leaf`], `half`: those of bigger swarms;
//! * [`index`]: from an info-hash to its line;
//! * `visit`, [`swarm`], [`inline`], [`outgrown`]: what announces and scrapes do, in the kernel and in the
//!   daemon alike;
//! * `direct`: an announce from end to end, where no verifier looks;
//! * [`owner`]: what only the daemon does: admit, grow, expire.

#[cfg(not(target_arch = "bpf"))]
pub mod direct;
mod half;
pub mod index;
pub mod inline;
pub mod layout;
pub mod leaf;
pub mod outgrown;
#[cfg(not(target_arch = "bpf"))]
pub mod owner;
mod run;
pub mod swarm;
mod visit;
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
