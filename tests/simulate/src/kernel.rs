//! What the XDP program does with an announce: no lock, and nothing that is frozen.

use tracker_common::{
    family::Family,
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss, direct,
        index::{Search, TableShape},
        layout::Memory,
        swarm::{Announce, Counts, PreparedAnnounce, Side},
    },
    time::Clock,
};

/// Applies an announce, or says why the packet is passed.
pub fn announce<F: Family>(
    memory: &impl Memory,
    shape: &TableShape,
    clock: Clock,
    info_hash: &InfoHash,
    announce: &Announce<F>,
    list: &mut PeerBuf,
) -> Result<Counts, Miss> {
    let search = Search::<F>::begin(memory, shape, info_hash).ok_or(Miss::Unknown)?;
    let (_, entry) = search.end(memory, shape, info_hash).ok_or(Miss::Unknown)?;
    let mut prepared = PreparedAnnounce::default();
    prepared.begin(Side::Kernel, shape, clock, announce);
    direct::announce(memory, shape, entry, &mut prepared, list)
}
