//! What the kernel may do in the daemon's stead, compiled from the configuration and the hooks.

use std::{collections::HashSet, sync::Arc};

use tracker_common::{
    abi::{self, flag},
    connection::ConnectionIds,
    id::{ClientId, InfoHash},
    policy::IntervalVariation,
    table::{layout::Gate, swarm::Change},
    time,
};

use super::grace::wait_for_kernel;
use crate::{
    config::{BadConnectionId, Config, ReplyRoute, ReversePath},
    pipeline::{
        Follower, Interest, ListKind, NetworkList, Offload, Pipeline, PostHook, TorrentList,
    },
    storage::memory::MemoryStorage,
};

/// All that the kernel is to go by.
#[derive(Default)]
pub(super) struct Policy {
    /// The configuration, without endpoints.
    pub(super) config: abi::Config,
    /// What the flags about clients and networks refer to.
    pub(super) clients: HashSet<ClientId>,
    pub(super) networks: Arc<NetworkList>,
}

/// What is going to be in force, when its torrents have been entered into the table.
pub(super) struct Coming {
    pub(super) policy: Policy,
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
        for hook in pipeline.pre_hooks() {
            match hook.offload() {
                Offload::Torrents(list) => torrents.push(list.info_hashes.follow()),
                Offload::Networks(list) => networks.push(list.follow()),
                _ => {}
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
        let hooks = self.pipeline.pre_hooks().map(|hook| (hook.name(), hook.offload()));
        let Composed { flags, variation, torrents, clients, networks } = Composed::of(hooks);
        let config = self.abi_config();
        let limits = if config.limits.concern_all() { flag::LIMITS } else { 0 };
        let flags = flags | configured_flags(&self.config) | limits | told(&self.pipeline);
        let config = abi::Config { flags, variation, ..config };
        Coming { policy: Policy { config, clients: clients.ids, networks }, torrents }
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
    pub(super) fn enter(&self, coming: Coming) -> Policy {
        let Coming { mut policy, torrents } = coming;
        policy.config.flags |= list_torrents(&torrents, &self.storage);
        policy
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

/// What all hooks together let the kernel do. Their order does not matter: a request that one of them
/// refuses is refused, one that several refuse is the daemon's, and only one may change the response.
#[derive(Default)]
struct Composed {
    flags: u32,
    variation: IntervalVariation,
    torrents: Torrents,
    clients: Clients,
    networks: Arc<NetworkList>,
}

/// What all lists together say.
#[derive(Default, Debug, PartialEq, Eq)]
struct Torrents {
    /// If set, all others are refused.
    allowed: Option<HashSet<InfoHash>>,
    denied: HashSet<InfoHash>,
}

/// One list of clients: there is no need for more.
#[derive(Default, Debug)]
struct Clients {
    ids: HashSet<ClientId>,
}

impl Composed {
    fn of(hooks: impl Iterator<Item = (&'static str, Offload)>) -> Self {
        let mut composed = Self::default();
        for (name, offload) in hooks {
            if !composed.take(offload) {
                tracing::warn!("the hook `{name}` has the daemon serve every announce");
                composed.flags |= flag::PASS_ANNOUNCES | flag::PASS_SCRAPES;
            }
        }
        composed
    }

    /// `false` when the kernel cannot stand in for the hook beside those before.
    fn take(&mut self, offload: Offload) -> bool {
        const CLIENTS: u32 = flag::CLIENTS_ALLOWED | flag::CLIENTS_DENIED;
        match offload {
            // The table was made with the subnets.
            Offload::Unaffected | Offload::PreferredSubnet(_) => {}
            Offload::Torrents(list) => self.torrents.add(&list),
            Offload::Clients(list) if self.flags & CLIENTS == 0 => {
                self.flags |= match list.kind {
                    ListKind::Allow => flag::CLIENTS_ALLOWED,
                    ListKind::Deny => flag::CLIENTS_DENIED,
                };
                self.clients.ids = list.ids;
            }
            Offload::Networks(list) if self.flags & flag::NETWORKS == 0 => {
                self.networks = list.coming();
                self.flags |= flag::NETWORKS;
                if self.networks.refuses_others() {
                    self.flags |= flag::NETWORKS_REFUSE_OTHERS;
                }
            }
            // A grant does not tell of which hook it is.
            Offload::Grants if self.flags & flag::GRANTS == 0 => self.flags |= flag::GRANTS,
            // A second variation adds to the first.
            Offload::IntervalVariation(variation) if self.variation.threshold == 0 => {
                self.variation = variation;
            }
            Offload::Never
            | Offload::Clients(_)
            | Offload::Networks(_)
            | Offload::Grants
            | Offload::IntervalVariation(_) => return false,
        }
        true
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

/// Enters listed torrents into the table, and has all others go by the lists. Returns the flags that
/// say what the kernel may conclude from a torrent's absence.
///
/// Torrents for which there is no room stay unknown to the kernel, so the daemon's hook decides on
/// them: that is slower and no less right.
fn list_torrents(torrents: &Torrents, storage: &MemoryStorage) -> u32 {
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
        return flag::LISTS_INCOMPLETE;
    }
    if allowed.is_some() { flag::REFUSE_UNKNOWN } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{
        AnnounceRequest, AnnounceResponse, ClientList, Live, NetworkList, PreHook, PreferredSubnet,
        Refusal,
    };

    fn hashes(bytes: &[u8]) -> HashSet<InfoHash> {
        bytes.iter().map(|&byte| InfoHash([byte; 20])).collect()
    }

    fn list(kind: ListKind, bytes: &[u8]) -> Offload {
        Offload::Torrents(TorrentList { kind, info_hashes: Live::new(hashes(bytes)) })
    }

    fn compose(offloads: &[Offload]) -> Composed {
        Composed::of(offloads.iter().map(|offload| ("a hook", offload.clone())))
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
    fn what_the_kernel_cannot_do_twice_is_the_daemons() {
        let clients = || Offload::Clients(ClientList { kind: ListKind::Deny, ids: HashSet::new() });
        let networks = || Offload::Networks(Live::new(NetworkList::default()));
        for offload in [clients, networks, || Offload::Grants] {
            let passes = |composed: &Composed| composed.flags & flag::PASS_ANNOUNCES != 0;
            assert!(!passes(&compose(&[offload()])));
            assert!(passes(&compose(&[offload(), offload()])));
        }
        let subnet = Offload::PreferredSubnet(PreferredSubnet::default());
        assert_eq!(compose(&[subnet]).flags, 0);
    }

    #[test]
    fn one_variation_is_the_kernels_and_two_are_the_daemons() {
        let one = compose(&[Offload::Unaffected, variation(5)]);
        assert_eq!((one.flags, one.variation.threshold), (0, 5));
        let two = compose(&[variation(5), variation(6)]);
        assert_ne!(two.flags & flag::PASS_ANNOUNCES, 0);
    }

    /// Somebody's hook, which says nothing of the kernel.
    struct Silent;

    impl PreHook for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
            Ok(())
        }
    }

    #[test]
    fn a_hook_that_says_nothing_of_the_kernel_sees_everything() {
        let composed = compose(&[variation(5), Silent.offload(), list(ListKind::Deny, &[1])]);
        assert_eq!(composed.flags, flag::PASS_ANNOUNCES | flag::PASS_SCRAPES);
    }

    #[test]
    fn events_are_those_that_somebody_wants() {
        assert_eq!(events(Interest::Nothing), 0);
        assert_eq!(events(Interest::Transitions), 0b1110);
        assert_eq!(events(Interest::Every), 0b1111);
    }
}
