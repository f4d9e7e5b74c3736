//! The policy that hooks compile to, and how the daemon judges by it.
//!
//! The kernel judges by the same policy, with the same lists in its maps (`dataplane/policy.rs`).

use std::{net::IpAddr, sync::Arc};

use tracker_common::{
    policy::{
        Decision, IntervalVariation, Key, Objections, Policy, Ranks, Rule, SourceView, Subject,
        View,
    },
    table::layout::Gate,
    wire::Failure,
};

use super::{AnnounceRequest, KeyList, List, ListKind, Offload, PreHook, Refusal, ScrapeRequest};

/// What all pre-hooks together amount to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compiled {
    /// The ranks of the hooks. What depends on the lists' contents is not in it.
    pub(crate) policy: Policy,
    /// Each list with its hook's rank.
    pub(crate) lists: Vec<(Ranks, List)>,
    /// The first interval variation.
    pub(crate) variation: Option<IntervalVariation>,
    /// The names of the hooks that see every request in the daemon.
    pub(crate) in_daemon: Vec<&'static str>,
    /// For each hook that is called, its place among all of them and the ranks before it.
    pub(super) called: Vec<(usize, Ranks)>,
}

impl Compiled {
    /// Compiles hooks in their order.
    ///
    /// # Panics
    /// If there are more than [`RANKS`](tracker_common::policy::RANKS) lists.
    pub(super) fn of(hooks: &[Box<dyn PreHook>]) -> Self {
        let mut compiled = Self::default();
        for (index, hook) in hooks.iter().enumerate() {
            let before = compiled.policy.used_ranks();
            match hook.offload() {
                Offload::Rule(list) => {
                    compiled.add_list(list);
                    continue;
                }
                // The table was made with the subnets.
                Offload::Unaffected | Offload::PreferredSubnet(_) => {}
                Offload::Grants => compiled.policy.add_grants(),
                Offload::IntervalVariation(variation) if compiled.variation.is_none() => {
                    compiled.variation = Some(variation);
                }
                // A second variation adds to the first.
                Offload::IntervalVariation(_) | Offload::Never => {
                    compiled.policy.add_daemon();
                    compiled.in_daemon.push(hook.name());
                }
            }
            compiled.called.push((index, before));
        }
        compiled
    }

    fn add_list(&mut self, list: List) {
        let admits_listed = list.kind() == Some(ListKind::Allow);
        let rank = self.policy.add_list(list.rule(), admits_listed);
        self.lists.push((rank.expect("fewer hooks than ranks"), list));
    }

    /// The ranks whose lists refuse an announce.
    pub(super) fn refuse(&self, request: &AnnounceRequest) -> Ranks {
        let view = InMemory { lists: &self.lists, source: request.peer.ip() };
        let subject = Subject { client: request.peer_id.client_id(), port: request.peer.port() };
        let refused = self.policy.object(&view, &subject).refused;
        self.lists.iter().fold(refused, |refused, (rank, list)| match list {
            List::Torrents(list) if !list.admits(&request.info_hash) => refused | rank,
            _ => refused,
        })
    }

    /// The ranks whose lists refuse a scrape.
    pub(super) fn refuse_scrape(&self, request: &ScrapeRequest) -> Ranks {
        let view = InMemory { lists: &self.lists, source: request.source.ip() };
        self.policy.object_to_scrape(&view).refused
    }

    /// The refusal by the first of these ranks.
    ///
    /// # Errors
    /// That refusal, if there is a rank.
    pub(super) fn first_of(&self, refused: Ranks) -> Result<(), Refusal> {
        let objections = Objections { refused, undecided: 0 };
        match self.policy.decide(objections, Gate::Open) {
            Decision::Refuse(rule) => Err(Failure::Unapproved(rule).into()),
            // No hook is undecided in the daemon.
            Decision::Serve | Decision::Pass => Ok(()),
        }
    }

    /// Another number whenever a list has changed.
    pub(super) fn revision(&self) -> u64 {
        self.lists.iter().fold(0, |sum, (_, list)| sum.wrapping_add(list.revision()))
    }
}

/// The daemon's view of a request.
struct InMemory<'a> {
    lists: &'a [(Ranks, List)],
    source: IpAddr,
}

impl SourceView for InMemory<'_> {
    fn refused_network(&self) -> Option<Ranks> {
        Some(self.lists.iter().fold(0, |refused, (rank, list)| match list {
            List::Networks(list) if !list.load().admits(self.source) => refused | rank,
            _ => refused,
        }))
    }
}

impl View for InMemory<'_> {
    fn listed(&self, key: Key) -> Ranks {
        let has = |list: &List| matches!(list, List::Keys(list) if list.keys.contains(&key));
        let ranks = self.lists.iter().filter(|(_, list)| has(list)).map(|(rank, _)| rank);
        ranks.fold(0, |all, rank| all | rank)
    }

    /// Hooks that leave grants are called.
    fn is_granted(&self) -> bool {
        true
    }
}

impl List {
    /// The rule whose list it is.
    pub(crate) const fn rule(&self) -> Rule {
        match self {
            Self::Torrents(_) => Rule::Torrent,
            Self::Networks(_) => Rule::Network,
            Self::Keys(KeyList { rule, .. }) => *rule,
        }
    }

    /// What being on it means; of networks each has a meaning of its own.
    const fn kind(&self) -> Option<ListKind> {
        match self {
            Self::Torrents(list) => Some(list.kind),
            Self::Keys(list) => Some(list.kind),
            Self::Networks(_) => None,
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Torrents(list) => list.info_hashes.revision(),
            Self::Networks(list) => list.revision(),
            Self::Keys(_) => 0,
        }
    }
}

impl KeyList {
    /// A list of clients.
    #[must_use]
    pub fn of_clients(
        kind: ListKind,
        clients: impl IntoIterator<Item = tracker_common::id::ClientId>,
    ) -> Self {
        let keys = clients.into_iter().map(Key::of_client).collect();
        Self { rule: Rule::Client, kind, keys: Arc::new(keys) }
    }

    /// A list of ports.
    #[must_use]
    pub fn of_ports(kind: ListKind, ports: impl IntoIterator<Item = u16>) -> Self {
        let keys = ports.into_iter().map(Key::of_port).collect();
        Self { rule: Rule::Port, kind, keys: Arc::new(keys) }
    }
}
