//! One announce on its way through its swarm.

use super::{
    index::TableShape,
    word::{PeerKey, PeerWord},
};
use crate::{announce::Event, family::Family, time::Clock, verifier::BranchlessBool};

/// One announce, without its torrent.
#[derive(Clone, Copy)]
pub struct Announce<F: Family> {
    /// The peer's address.
    pub addr: F::Addr,
    /// The peer's port in network byte order; not zero.
    pub port: [u8; 2],
    /// Nothing left to fetch.
    pub seeder: bool,
    /// What has happened.
    pub event: Event,
    /// How many peers to return; clamped to what a reply can carry. A peer that leaves gets none.
    pub numwant: u32,
    /// Chooses among peers when there are more than asked for. Taken from the request, so that
    /// kernel and daemon choose alike.
    pub seed: u32,
}

impl<F: Family> Announce<F> {
    /// How many peers the reply is to have: none for a peer that leaves.
    #[inline(always)]
    #[must_use]
    pub fn wanted(&self) -> u32 {
        let leaves = BranchlessBool::is_zero(u64::from(self.event as u32 ^ Event::Stopped as u32));
        self.numwant & leaves.not().mask() as u32
    }
}

/// Who works on the table. What the daemon is about to move is *frozen*: the kernel keeps away from
/// it, while the daemon's own frontends are kept away by a lock for as long as it is being moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Side {
    /// Takes no lock, and leaves alone what is frozen.
    Kernel = 0,
    /// Holds the lock.
    Daemon = 1,
}

/// An [`Announce`] as its swarm sees it, worked out once. In the kernel it is in a map, to which
/// the functions that the verifier looks at one by one are handed a pointer.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct PreparedAnnounce {
    pub(super) key: PeerKey,
    /// What the announcer's slot is to hold: vacant, when it leaves.
    pub(super) new: PeerWord,
    /// Words as of [`Family::words`].
    pub(super) addr: [u64; 2],
    /// The bits of an address by which others are near.
    near: [u64; 2],
    /// Where the announcer belongs in a spilled swarm.
    pub(super) hash: u64,
    pub(super) clock: Clock,
    pub(super) seed: u32,
    /// 1 for a seeder, else 0.
    seeder: u32,
    /// 1 for who has just completed the download, else 0.
    completed: u32,
    port: [u8; 2],
    _pad: [u8; 2],
    side: u32,
    /// Always zero, which the verifier cannot know.
    pub(super) zero: u32,
    pub(super) numwant: u32,
    _pad2: u32,
}

impl PreparedAnnounce {
    /// Has the announcer, who does not leave, have announced at another time.
    #[cfg(not(target_arch = "bpf"))]
    pub(super) fn backdate(&mut self, seen: &Clock) {
        self.new = self.new.seen_at(seen);
    }

    /// Works out what the swarm needs to know.
    #[inline(always)]
    pub fn begin<F: Family>(
        &mut self,
        side: Side,
        shape: &TableShape,
        clock: Clock,
        announce: &Announce<F>,
    ) {
        let key = PeerKey::new::<F>(&shape.key, &announce.addr, announce.port);
        let leaves = announce.event as u32 == Event::Stopped as u32;
        self.key = key;
        self.addr = F::words(&announce.addr);
        self.port = announce.port;
        self.new =
            if leaves { PeerWord::VACANT } else { PeerWord::new(key, announce.seeder, &clock) };
        // One after the other: LLVM copies an array by a function, byte by byte.
        let [first, second] = shape.near::<F>();
        self.near[0] = first;
        self.near[1] = second;
        self.clock = clock;
        self.seed = announce.seed;
        self.seeder = announce.seeder as u32;
        self.completed = (announce.event as u32 == Event::Completed as u32) as u32;
        self.numwant = announce.wanted();
        self.side = side as u32;
        self.zero = 0;
    }

    /// Works out where in a spilled swarm the announcer belongs, which others need not know. With a
    /// preferred subnet, those of one subnet have the top bits in common, and so are close to each other.
    #[inline(always)]
    pub fn place<F: Family>(&mut self, shape: &TableShape) {
        self.hash = shape.place::<F>(self.addr, self.port);
    }

    /// Whether what is frozen is to be left alone.
    #[inline(always)]
    pub(super) fn keeps_away(&self) -> bool {
        self.side == Side::Kernel as u32
    }

    /// Whether the announcer leaves the swarm.
    #[inline(always)]
    pub(super) fn leaves(&self) -> bool {
        self.new == PeerWord::VACANT
    }

    #[inline(always)]
    pub(super) fn is_seeder(&self) -> bool {
        self.seeder != 0
    }

    /// A download counts once: when its peer was not a seeder already.
    #[inline(always)]
    pub(super) fn has_completed(&self, was_seeder: bool) -> bool {
        self.completed != 0 && !was_seeder
    }

    #[inline(always)]
    pub(super) fn port(&self) -> [u8; 2] {
        self.port
    }

    /// Whether there is a preferred subnet.
    #[inline(always)]
    pub(super) fn prefers_near(&self) -> bool {
        self.near[0] != 0
    }

    /// Whether an address is of the announcer's subnet.
    #[inline(always)]
    pub(super) fn is_near(&self, addr: [u64; 2]) -> BranchlessBool {
        let first = (addr[0] ^ self.addr[0]) & self.near[0];
        BranchlessBool::is_zero(first | ((addr[1] ^ self.addr[1]) & self.near[1]))
    }
}
