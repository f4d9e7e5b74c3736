//! What the XDP program does with an announce: no lock, and nothing that is frozen.

use std::marker::PhantomData;

use tracker_common::{
    family::Family,
    id::InfoHash,
    peers::PeerBuf,
    table::{
        Miss,
        index::{Search, TableShape},
        layout::Memory,
        leaf::{LeafRef, Outcome, Pick},
        swarm::{self, Announce, Counts, Leaves, Side, Visit},
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
    let (_, line) = search.end(memory, shape).ok_or(Miss::Unknown)?;
    let mut visit = Visit::default();
    visit.begin(Side::Kernel, shape, clock, announce);
    if !line.is_outgrown() {
        return swarm::announce_inline(line, &visit, list).map(|(counts, _)| counts);
    }
    visit.place::<F>(shape);
    swarm::begin_list::<F>(&visit, list);
    let mut leaves = Direct::<F, _> { memory, visit: &visit, list, family: PhantomData };
    let (counts, _) = swarm::announce_outgrown(memory, line, &visit, &mut leaves)?;
    swarm::finish_list::<F>(&visit, list);
    Ok(counts)
}

/// The leaves, without the detours that the verifier wants.
struct Direct<'a, F, M> {
    memory: &'a M,
    visit: &'a Visit,
    list: &'a mut PeerBuf,
    family: PhantomData<F>,
}

impl<F: Family, M: Memory> Leaves for Direct<'_, F, M> {
    fn replace(&mut self, leaf: LeafRef, remove: bool) -> Outcome {
        swarm::replace::<F, M>(self.memory, self.visit, leaf, remove)
    }

    fn join(&mut self, leaf: LeafRef) -> Outcome {
        swarm::join::<F, M>(self.memory, self.visit, leaf)
    }

    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool {
        swarm::draw::<F, M>(self.memory, self.visit, leaf, pick, self.list)
    }
}
