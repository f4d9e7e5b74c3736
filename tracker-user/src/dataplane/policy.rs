//! What the kernel may do in the daemon's stead, compiled from the configuration and the hooks.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ipnet::IpNet;
use tracker_common::{
    abi::{self, flag},
    connection::ConnectionIds,
    id::InfoHash,
    policy::{IntervalVariation, Key, Policy, Ranks},
    table::{layout::Gate, swarm::Change},
    time,
};

use super::grace::wait_for_kernel;
use crate::{
    config::{BadConnectionId, Config, ReplyRoute, ReversePath},
    pipeline::{
        Compiled, Follower, Interest, List, ListKind, NetworkList, Pipeline, PostHook, TorrentList,
    },
    storage::memory::MemoryStorage,
};

/// All that the kernel is to go by.
#[derive(Default)]
pub(super) struct InKernel {
    /// The configuration, without endpoints.
    pub(super) config: abi::Config,
    /// What the policy in it refers to.
    pub(super) listed: HashMap<Key, Ranks>,
    pub(super) networks: HashMap<IpNet, Ranks>,
}

/// What is going to be in force, when its torrents have been entered into the table.
pub(super) struct Coming {
    pub(super) in_kernel: InKernel,
    torrents: Torrents,
}

/// The hooks and the lists in them, followed as they change.
///
/// A list changes for kernel and daemon at one moment: what the kernel is going to decide otherwise it
/// leaves to the daemon first, which then goes by the new list; and only then the kernel does.
pub(super) struct Policies {
    config: Config,
    connection_ids: ConnectionIds,
    storage: Arc<MemoryStorage>,
    pipeline: Arc<Pipeline>,
    torrents: Vec<Follower<HashSet<InfoHash>>>,
    networks: Vec<Follower<NetworkList>>,
}

impl Policies {
    /// Follows the hooks of `pipeline`.
    pub(super) fn new(
        config: &Config,
        connection_ids: ConnectionIds,
        storage: &Arc<MemoryStorage>,
        pipeline: Arc<Pipeline>,
    ) -> Self {
        let (mut torrents, mut networks) = (Vec::new(), Vec::new());
        for (_, list) in &pipeline.compiled().lists {
            match list {
                List::Torrents(list) => torrents.push(list.info_hashes.follow()),
                List::Networks(list) => networks.push(list.follow()),
                List::Keys(_) => {}
            }
        }
        let (config, storage) = (config.clone(), Arc::clone(storage));
        Self { config, connection_ids, storage, pipeline, torrents, networks }
    }

    /// Whether hooks have new lists, which [`Policies::commit`] puts into force.
    pub(super) fn prepare(&mut self) -> bool {
        let torrents = self.torrents.iter_mut().map(Follower::prepare);
        let networks = self.networks.iter_mut().map(Follower::prepare);
        torrents.chain(networks).fold(false, |any, one| any | one)
    }

    /// What is going to be in force.
    pub(super) fn coming(&self) -> Coming {
        let composed = Composed::of(self.pipeline.compiled());
        let mut config = self.abi_config();
        config.flags |= configured_flags(&self.config) | told(&self.pipeline);
        if config.limits.concern_all() {
            config.flags |= flag::LIMITS;
        }
        composed.configure(&mut config);
        let Composed { torrents, listed, networks, .. } = composed;
        Coming { in_kernel: InKernel { config, listed, networks }, torrents }
    }

    /// Has the kernel pass what is announced of torrents that it knows and that are going to be
    /// decided on otherwise.
    pub(super) fn hold_back(&self, coming: &Coming) {
        // That of torrents that come meanwhile.
        self.storage.set_unlisted_gate(Gate::Pass);
        self.storage.hold_back(|info_hash| coming.torrents.gate(info_hash));
    }

    /// From here on the daemon goes by what is coming.
    pub(super) fn commit(&mut self) {
        self.torrents.iter_mut().for_each(Follower::commit);
        self.networks.iter_mut().for_each(Follower::commit);
    }

    /// Enters listed torrents into the table, with their gates. Returns what the kernel is to go by.
    pub(super) fn enter(&self, coming: Coming) -> InKernel {
        let Coming { mut in_kernel, torrents } = coming;
        in_kernel.config.policy.unlisted_gate = list_torrents(&torrents, &self.storage) as u32;
        in_kernel
    }

    /// What the kernel is to go by, but for flags and what hooks say.
    pub(super) fn abi_config(&self) -> abi::Config {
        let Self { config, connection_ids, storage, pipeline, .. } = self;
        let post_hooks = pipeline.post_hooks().map(PostHook::interest);
        let interest = post_hooks.max().map(|interest| interest.max(config.xdp.events.into()));
        let udp = &config.udp;
        abi::Config {
            shape: *storage.shape(),
            connection_ids: *connection_ids,
            lifetime: time::lifetime_from_secs(config.storage.memory().peer_lifetime.as_secs()),
            interval_s: u32::try_from(config.announce_interval.as_secs()).unwrap_or(u32::MAX),
            numwant_default: udp.default_numwant.min(udp.max_numwant),
            numwant_max: udp.max_numwant,
            scrape_max: udp.max_scrape_infohashes,
            events: interest.map_or(0, events),
            limits: storage.limits(),
            ..abi::Config::default()
        }
    }
}

fn configured_flags(config: &Config) -> u32 {
    let mut flags = 0;
    if config.xdp.bad_connection_id == BadConnectionId::Drop {
        flags |= flag::BAD_ID_SILENT;
    }
    if config.udp.allow_ip_spoofing {
        flags |= flag::IP_SPOOFING;
    }
    if config.xdp.reply == ReplyRoute::Fib {
        flags |= flag::REPLY_FIB;
    }
    if config.xdp.reverse_path == ReversePath::On {
        flags |= flag::REVERSE_PATH;
    }
    flags
}

/// What post-hooks want to be told with the events.
fn told(pipeline: &Pipeline) -> u32 {
    if pipeline.post_hooks().any(PostHook::needs_params) { flag::TELL_OPTIONS } else { 0 }
}

/// The bits of [`abi::Config::events`].
fn events(interest: Interest) -> u32 {
    let bit = |change: Change| 1 << change as u32;
    let transitions = bit(Change::Joined) | bit(Change::Completed) | bit(Change::Left);
    match interest {
        Interest::Nothing => 0,
        Interest::Transitions => transitions,
        Interest::Every => transitions | bit(Change::Refreshed),
    }
}

/// What all hooks together let the kernel do, with what is coming into force of their lists.
#[derive(Default)]
pub(super) struct Composed {
    policy: Policy,
    variation: IntervalVariation,
    torrents: Torrents,
    pub(super) listed: HashMap<Key, Ranks>,
    pub(super) networks: HashMap<IpNet, Ranks>,
}

/// What all lists together say.
#[derive(Default, Debug, PartialEq, Eq)]
struct Torrents {
    /// If set, all others are refused.
    allowed: Option<HashSet<InfoHash>>,
    denied: HashSet<InfoHash>,
}

impl Composed {
    pub(super) fn of(compiled: &Compiled) -> Self {
        for name in &compiled.in_daemon {
            tracing::warn!(
                "the hook `{name}` has the daemon serve every announce that no hook before it refuses"
            );
        }
        let variation = compiled.variation.unwrap_or_default();
        let mut composed = Self { policy: compiled.policy, variation, ..Self::default() };
        let mut networks = Vec::new();
        for (rank, list) in &compiled.lists {
            match list {
                List::Torrents(list) => composed.torrents.add(list),
                List::Networks(list) => networks.push((*rank, list.coming())),
                List::Keys(list) => {
                    for key in &*list.keys {
                        *composed.listed.entry(*key).or_default() |= rank;
                    }
                }
            }
        }
        composed.merge(&networks);
        composed
    }

    /// Merges lists of networks, so that one look finds what each of them says: of the networks of all lists that hold
    /// an address, the smallest tells by which ranks it is refused.
    fn merge(&mut self, lists: &[(Ranks, Arc<NetworkList>)]) {
        let refused_by = |refuses: &dyn Fn(&NetworkList) -> bool| {
            let ranks = lists.iter().filter(|(_, list)| refuses(list)).map(|(rank, _)| rank);
            ranks.fold(0, |all, rank| all | rank)
        };
        self.policy.refuses_other_networks = refused_by(&|list| list.refuses_others());
        for (network, _) in lists.iter().flat_map(|(_, list)| list.iter()) {
            let ranks = refused_by(&|list| !list.admits_network(network));
            self.networks.insert(network, ranks);
        }
    }

    /// Completes what the program is to go by, but for torrents.
    pub(super) fn configure(&self, config: &mut abi::Config) {
        config.policy = self.policy;
        config.variation = self.variation;
        if self.policy.judges_announces() {
            config.flags |= flag::JUDGES;
        }
    }
}

impl Torrents {
    /// What the kernel does with a torrent that is in the table.
    fn gate(&self, info_hash: &InfoHash) -> Gate {
        let is_allowed = |allowed: &HashSet<_>| allowed.contains(info_hash);
        if self.denied.contains(info_hash) {
            Gate::Refuse
        } else if self.allowed.as_ref().is_none_or(is_allowed) {
            Gate::Open
        } else {
            Gate::Pass
        }
    }

    fn add(&mut self, list: &TorrentList) {
        let info_hashes = list.info_hashes.coming();
        match list.kind {
            ListKind::Deny => self.denied.extend(info_hashes.iter().copied()),
            ListKind::Allow => match &mut self.allowed {
                Some(allowed) => allowed.retain(|hash| info_hashes.contains(hash)),
                None => self.allowed = Some((*info_hashes).clone()),
            },
        }
    }
}

/// Enters listed torrents into the table, and has all others go by the lists. Returns what the
/// kernel may conclude from a torrent's absence.
///
/// Torrents for which there is no room stay unknown to the kernel, so the daemon's hook decides on
/// them: that is slower and no less right.
fn list_torrents(torrents: &Torrents, storage: &MemoryStorage) -> Gate {
    let Torrents { allowed, denied } = torrents;
    // A torrent that was admitted by the list before must not stay open by this one.
    let unlisted = if allowed.is_some() { Gate::Pass } else { Gate::Open };
    storage.set_unlisted_gate(unlisted);
    let refused = storage.list(denied, Gate::Refuse, wait_for_kernel);
    let opened = allowed.iter().flatten().filter(|hash| !denied.contains(*hash));
    let missing = storage.list(opened, Gate::Open, wait_for_kernel);
    storage.unlist(|hash| {
        !denied.contains(hash) && !allowed.as_ref().is_some_and(|allowed| allowed.contains(hash))
    });
    if refused + missing > 0 {
        tracing::warn!(
            "{} listed torrents have no room in the table, so the kernel leaves them to the \
             daemon; raise xdp.table.torrents_ipv4 and torrents_ipv6",
            refused + missing,
        );
        return Gate::Pass;
    }
    if allowed.is_some() { Gate::Refuse } else { Gate::Open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{KeyList, Live, NetworkList, Offload, PreHook, PreferredSubnet};
    use tracker_common::{id::ClientId, policy::Rule};

    fn hashes(bytes: &[u8]) -> HashSet<InfoHash> {
        bytes.iter().map(|&byte| InfoHash([byte; 20])).collect()
    }

    fn list(kind: ListKind, bytes: &[u8]) -> Offload {
        let info_hashes = Live::new(hashes(bytes));
        Offload::Rule(List::Torrents(TorrentList { kind, info_hashes }))
    }

    struct Hook(Offload);

    impl PreHook for Hook {
        fn name(&self) -> &'static str {
            "a hook"
        }

        fn offload(&self) -> Offload {
            self.0.clone()
        }
    }

    fn compose(offloads: &[Offload]) -> Composed {
        let hooks = offloads.iter().map(|offload| Box::new(Hook(offload.clone())) as _).collect();
        Composed::of(Pipeline::of_hooks(hooks).compiled())
    }

    fn networks(list: &[(&str, ListKind)], refuses_others: bool) -> Offload {
        let mut networks = NetworkList::new(refuses_others);
        for (network, kind) in list {
            networks.add(network.parse().unwrap(), *kind);
        }
        Offload::Rule(List::Networks(Live::new(networks)))
    }

    fn variation(threshold: u32) -> Offload {
        Offload::IntervalVariation(IntervalVariation { threshold, ..Default::default() })
    }

    #[test]
    fn a_torrent_is_allowed_if_all_lists_allow_it() {
        let torrents = compose(&[
            list(ListKind::Allow, &[1, 2, 3]),
            list(ListKind::Deny, &[2]),
            list(ListKind::Allow, &[2, 3, 4]),
        ])
        .torrents;
        assert_eq!(torrents.allowed, Some(hashes(&[2, 3])));
        assert_eq!(torrents.denied, hashes(&[2]));
    }

    #[test]
    fn two_lists_of_clients_are_one_map_with_the_ranks_of_both() {
        let [a, b] = [ClientId(*b"TR4050"), ClientId(*b"qB5000")];
        let clients = |ids: &[ClientId]| {
            let list = KeyList::of_clients(ListKind::Deny, ids.iter().copied());
            Offload::Rule(List::Keys(list))
        };
        let composed = compose(&[clients(&[a]), clients(&[a, b])]);
        assert_eq!(composed.policy.passes_announces, 0);
        assert_eq!(composed.listed[&Key::of_client(a)], 0b11);
        assert_eq!(composed.listed[&Key::of_client(b)], 0b10);
    }

    #[test]
    fn of_two_lists_of_networks_each_network_has_what_both_say() {
        use ListKind::{Allow, Deny};
        let first = networks(&[("10.0.0.0/8", Deny), ("10.1.0.0/16", Allow)], false);
        let second = networks(&[("10.1.1.0/24", Allow), ("192.0.2.0/24", Deny)], true);
        let composed = compose(&[first, second]);
        let refused = |network: &str| composed.networks[&network.parse::<IpNet>().unwrap()];
        assert_eq!(refused("10.0.0.0/8"), 0b11);
        assert_eq!(refused("10.1.0.0/16"), 0b10);
        assert_eq!(refused("10.1.1.0/24"), 0b00);
        assert_eq!(refused("192.0.2.0/24"), 0b10);
        assert_eq!(composed.policy.refuses_other_networks, 0b10);
        assert_eq!(composed.policy.ranks[Rule::Network as usize], 0b11);
    }

    #[test]
    fn one_hook_that_leaves_grants_is_the_kernels_and_two_are_the_daemons() {
        assert_eq!(compose(&[Offload::Grants]).policy.passes_announces, 0);
        assert_ne!(compose(&[Offload::Grants, Offload::Grants]).policy.passes_announces, 0);
    }

    #[test]
    fn one_variation_is_the_kernels_and_two_are_the_daemons() {
        let one = compose(&[Offload::Unaffected, variation(5)]);
        assert_eq!((one.policy, one.variation.threshold), (Policy::default(), 5));
        assert_ne!(compose(&[variation(5), variation(6)]).policy.passes_announces, 0);
        let subnet = Offload::PreferredSubnet(PreferredSubnet::default());
        assert_eq!(compose(&[subnet]).policy, Policy::default());
    }

    #[test]
    fn a_hook_that_says_nothing_of_the_kernel_sees_all_that_no_hook_before_it_refuses() {
        let composed = compose(&[list(ListKind::Deny, &[1]), Offload::Never]);
        let Policy { passes_announces, passes_scrapes, ranks, .. } = composed.policy;
        assert_eq!((passes_announces, passes_scrapes), (0b10, 0b10));
        assert_eq!(ranks[Rule::Torrent as usize], 0b01);
    }

    #[test]
    fn events_are_those_that_somebody_wants() {
        assert_eq!(events(Interest::Nothing), 0);
        assert_eq!(events(Interest::Transitions), 0b1110);
        assert_eq!(events(Interest::Every), 0b1111);
    }
}
