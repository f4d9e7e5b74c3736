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
    layout::{Line, Memory},
    leaf::{LeafRef, Outcome, Pick, Write},
    outgrown::{self, Charge, Leaves},
    swarm::{self, Counts, Visit},
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
/// As for [`inline::announce`] and [`outgrown::announce`].
pub fn announce<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    line: Line<'_, F>,
    visit: &mut Visit,
    list: &mut PeerBuf,
) -> Result<Counts, Miss> {
    announce_within(memory, shape, line, visit, list, None)
}

/// The same with a budget of joins.
pub(super) fn announce_within<F: Family, M: Memory>(
    memory: &M,
    shape: &TableShape,
    line: Line<'_, F>,
    visit: &mut Visit,
    list: &mut PeerBuf,
    budget: Option<JoinBudget<'_>>,
) -> Result<Counts, Miss> {
    if !line.is_outgrown() {
        return inline::announce_and_list(line, visit, list).map(|(counts, _)| counts);
    }
    visit.place::<F>(shape);
    swarm::begin_list::<F>(visit, list);
    let mut leaves = Direct::<F, M>::new(memory, visit, list);
    leaves.budget = budget.map(|budget| (budget, shape, line));
    let (counts, _) = outgrown::announce(memory, line, visit, &mut leaves)?;
    swarm::finish_list::<F>(visit, &counts, list);
    Ok(counts)
}

/// The leaves themselves.
pub(super) struct Direct<'a, F: Family, M> {
    memory: &'a M,
    visit: &'a Visit,
    list: &'a mut PeerBuf,
    budget: Option<(JoinBudget<'a>, &'a TableShape, Line<'a, F>)>,
    family: PhantomData<F>,
}

impl<'a, F: Family, M: Memory> Direct<'a, F, M> {
    pub(super) fn new(memory: &'a M, visit: &'a Visit, list: &'a mut PeerBuf) -> Self {
        Self { memory, visit, list, budget: None, family: PhantomData }
    }
}

impl<F: Family, M: Memory> Leaves for Direct<'_, F, M> {
    fn replace(&mut self, leaf: LeafRef, write: Write) -> Outcome {
        outgrown::replace::<F, M>(self.memory, self.visit, leaf, write)
    }

    fn join(&mut self, leaf: LeafRef, is_known: bool) -> Outcome {
        let (memory, visit) = (self.memory, self.visit);
        let Some((budget, shape, line)) = self.budget.as_ref().filter(|_| !is_known) else {
            return outgrown::join::<F, M>(memory, visit, leaf, |_| true);
        };
        let limits = *locks::read(budget.limits);
        let budgets = Budgets { memory, key: &shape.key, limits: &limits };
        let claims = outgrown::join_claims(&shape.key, visit, line);
        let joined = outgrown::join::<F, M>(memory, visit, leaf, |charge| match charge {
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
        let pick = if pick == Pick::ANY && !self.visit.keeps_away() { Pick::OTHERS } else { pick };
        outgrown::draw::<F, M>(self.memory, self.visit, leaf, pick, self.list)
    }
}
