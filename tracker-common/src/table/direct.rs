//! Announces without the detours that the verifier wants: for the daemon, and for what stands in for
//! the XDP program in models.

use core::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use std::sync::RwLock;

use super::{
    Miss,
    index::TableShape,
    inline,
    layout::{Entry, Memory},
    leaf::{LeafRef, Outcome, Pick, Write},
    spilled::{self, Charge, Leaves},
    swarm::{self, Counts, PreparedAnnounce},
};
use crate::{budget::Budgets, family::Family, limit::Limits, peers::PeerBuf, sync::locks};

/// What the joins of sources are held to.
pub(super) struct JoinBudget<'a> {
    pub(super) limits: &'a RwLock<Limits>,
    /// Announces that were answered without being listed.
    pub(super) unlisted: &'a AtomicU64,
}

/// Applies an announce to its torrent, wherever that keeps its peers, and fills `list`. No budget is charged.
///
/// # Errors
/// As for [`inline::announce`] and [`spilled::announce`].
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    entry: Entry<'_, F>,
    prepared: &mut PreparedAnnounce,
    list: &mut PeerBuf,
) -> Result<Counts, Miss> {
    announce_within(memory, shape, entry, prepared, list, None)
}

/// The same with a budget of joins.
pub(super) fn announce_within<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    entry: Entry<'_, F>,
    prepared: &mut PreparedAnnounce,
    list: &mut PeerBuf,
    budget: Option<JoinBudget<'_>>,
) -> Result<Counts, Miss> {
    if !entry.is_spilled() {
        return inline::announce_and_list(entry, prepared, list).map(|(counts, _)| counts);
    }
    prepared.place::<F>(shape);
    swarm::begin_list::<F>(prepared, list);
    let mut leaves = Direct::<F, M>::new(memory, prepared, list);
    leaves.budget = budget.map(|budget| (budget, shape, entry));
    let (counts, _) = spilled::announce(memory, entry, prepared, &mut leaves)?;
    swarm::finish_list::<F>(prepared, &counts, list);
    Ok(counts)
}

/// The leaves themselves.
pub(super) struct Direct<'a, F: Family, M> {
    memory: &'a M,
    prepared: &'a PreparedAnnounce,
    list: &'a mut PeerBuf,
    budget: Option<(JoinBudget<'a>, &'a TableShape, Entry<'a, F>)>,
    family: PhantomData<F>,
}

impl<'a, F: Family, M: Memory> Direct<'a, F, M> {
    pub(super) fn new(
        memory: &'a M,
        prepared: &'a PreparedAnnounce,
        list: &'a mut PeerBuf,
    ) -> Self {
        Self { memory, prepared, list, budget: None, family: PhantomData }
    }
}

impl<F: Family, M: Memory> Leaves for Direct<'_, F, M> {
    fn replace(&mut self, leaf: LeafRef, write: Write) -> Outcome {
        spilled::replace::<F, M>(self.memory, self.prepared, leaf, write)
    }

    fn join(&mut self, leaf: LeafRef, is_known: bool) -> Outcome {
        let (memory, prepared) = (self.memory, self.prepared);
        let Some((budget, shape, entry)) = self.budget.as_ref().filter(|_| !is_known) else {
            return spilled::join::<F, M>(memory, prepared, leaf, |_| true);
        };
        let limits = *locks::read(budget.limits);
        let budgets = Budgets { memory, key: &shape.key, limits: &limits };
        let claims = spilled::join_claims(&shape.key, prepared, entry);
        let joined = spilled::join::<F, M>(memory, prepared, leaf, |charge| match charge {
            Charge::Nothing => claims.iter().all(|claim| budgets.is_within(claim)),
            Charge::One => {
                claims.iter().for_each(|claim| budgets.spend(claim));
                true
            }
        });
        if joined == Outcome::OVER_BUDGET {
            budget.unlisted.fetch_add(1, Relaxed);
        }
        joined
    }

    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool {
        // An announce that waits for the daemon to make room may still be there in its former role.
        let pick =
            if pick == Pick::ANY && !self.prepared.keeps_away() { Pick::OTHERS } else { pick };
        spilled::draw::<F, M>(self.memory, self.prepared, leaf, pick, self.list)
    }
}
