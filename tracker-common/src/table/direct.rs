//! Announces without the detours that the verifier wants: for the daemon, and for what stands in for
//! the XDP program in models.

use core::marker::PhantomData;

use super::{
    Miss,
    index::TableShape,
    inline,
    layout::{Line, Memory},
    leaf::{LeafRef, Outcome, Pick},
    outgrown::{self, Leaves},
    swarm::{self, Counts, Visit},
};
use crate::{family::Family, peers::PeerBuf};

/// Applies an announce to its torrent, wherever that keeps its peers, and fills `list`.
///
/// # Errors
/// As for [`inline::announce`] and [`outgrown::announce`].
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    line: Line<F>,
    visit: &mut Visit,
    list: &mut PeerBuf,
) -> Result<Counts, Miss> {
    if !line.is_outgrown() {
        return inline::announce_and_list(line, visit, list).map(|(counts, _)| counts);
    }
    visit.place::<F>(shape);
    swarm::begin_list::<F>(visit, list);
    let mut leaves = Direct::<F, M>::new(memory, visit, list);
    let (counts, _) = outgrown::announce(memory, line, visit, &mut leaves)?;
    swarm::finish_list::<F>(visit, &counts, list);
    Ok(counts)
}

/// The leaves themselves.
pub(super) struct Direct<'a, F, M> {
    memory: &'a M,
    visit: &'a Visit,
    list: &'a mut PeerBuf,
    family: PhantomData<F>,
}

impl<'a, F: Family, M: Memory> Direct<'a, F, M> {
    pub(super) fn new(memory: &'a M, visit: &'a Visit, list: &'a mut PeerBuf) -> Self {
        Self { memory, visit, list, family: PhantomData }
    }
}

impl<F: Family, M: Memory> Leaves for Direct<'_, F, M> {
    fn replace(&mut self, leaf: LeafRef, remove: bool) -> Outcome {
        outgrown::replace::<F, M>(self.memory, self.visit, leaf, remove)
    }

    fn join(&mut self, leaf: LeafRef) -> Outcome {
        outgrown::join::<F, M>(self.memory, self.visit, leaf)
    }

    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool {
        // An announce that waits for the daemon to make room may still be there in its former role.
        let pick = if pick == Pick::ANY && !self.visit.keeps_away() { Pick::OTHERS } else { pick };
        outgrown::draw::<F, M>(self.memory, self.visit, leaf, pick, self.list)
    }
}
