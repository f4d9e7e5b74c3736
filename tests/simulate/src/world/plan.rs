//! What a world is like.

/// What is different from world to world.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub(super) torrents: [u32; 2],
    /// Of each torrent.
    pub(super) peers: u32,
    pub(super) buckets: u32,
    /// Announces that each processor receives.
    pub(super) announces: u32,
    /// In per cent.
    pub(super) leaving: u32,
    /// How often a daemon dies, at most.
    pub deaths: u32,
    /// Whether time passes.
    pub(super) has_time: bool,
    /// Whether two announces of one peer may meet.
    pub has_crossing: bool,
}

impl Plan {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let (torrents, peers) = match rng.u32(..4) {
            0 => ([1, 1], 1 << rng.u32(4..8)),
            1 => ([3, 2], rng.u32(4..12)),
            _ => ([7, 7], rng.u32(1..7)),
        };
        Self {
            torrents,
            peers,
            buckets: rng.u32(2..4),
            announces: rng.u32(10..80),
            leaving: [5, 20, 50][rng.usize(..3)],
            deaths: rng.u32(..4),
            has_time: rng.u32(..4) == 0,
            has_crossing: rng.u32(..4) == 0,
        }
    }
}
