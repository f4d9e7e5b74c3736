//! What the kernel may do in the daemon's stead, compiled from the configuration and the hooks.

use std::collections::HashSet;

use tracker_common::{
    abi::{self, flag},
    connection::ConnectionIds,
    id::InfoHash,
    policy::IntervalVariation,
    table::{layout::Gate, swarm::Change},
    time,
};

use crate::{
    config::{BadConnectionId, Config, ReplyRoute, StorageConfig},
    pipeline::{Interest, ListKind, Offload, Pipeline, PostHook, TorrentList},
    storage::memory::MemoryStorage,
};

/// What torrents are listed in the table, and what that lets the kernel do.
pub(super) struct Listed {
    torrents: Torrents,
    flags: u32,
}

/// The kernel's first configuration, without endpoints. Torrents that a hook lists are entered into
/// the table with their gates.
pub(super) fn compile(
    config: &Config,
    connection_ids: ConnectionIds,
    storage: &MemoryStorage,
    pipeline: &Pipeline,
) -> (abi::Config, Listed) {
    let hooks = Composed::of(pipeline.pre_hooks().map(|hook| (hook.name(), hook.offload())));
    let knows_all = list_torrents(&hooks.torrents, storage);
    let flags = if knows_all { flag::REFUSE_UNKNOWN } else { 0 };
    let policy = compose(config, connection_ids, storage, pipeline, &hooks, flags);
    (policy, Listed { torrents: hooks.torrents, flags })
}

/// The kernel's next configuration. What is listed in the table stays, so where the hooks list
/// others than at the start, the daemon decides.
pub(super) fn recompile(
    listed: &Listed,
    config: &Config,
    connection_ids: ConnectionIds,
    storage: &MemoryStorage,
    pipeline: &Pipeline,
) -> abi::Config {
    let hooks = Composed::of(pipeline.pre_hooks().map(|hook| (hook.name(), hook.offload())));
    let flags = if hooks.torrents == listed.torrents {
        listed.flags
    } else {
        tracing::warn!(
            "other torrents are listed than at the start, so the daemon serves every announce \
             until a restart"
        );
        flag::PASS_ANNOUNCES | flag::PASS_SCRAPES
    };
    compose(config, connection_ids, storage, pipeline, &hooks, flags)
}

fn compose(
    config: &Config,
    connection_ids: ConnectionIds,
    storage: &MemoryStorage,
    pipeline: &Pipeline,
    hooks: &Composed,
    flags: u32,
) -> abi::Config {
    let flags = flags | hooks.flags | configured_flags(config);
    let post_hooks = pipeline.post_hooks().map(PostHook::interest);
    let interest = post_hooks.max().map(|interest| interest.max(config.xdp.events.into()));
    let udp = &config.udp;
    abi::Config {
        shape: *storage.shape(),
        connection_ids,
        lifetime: match &config.storage {
            StorageConfig::Memory(memory) => {
                time::lifetime_from_secs(memory.peer_lifetime.as_secs())
            }
            StorageConfig::Redis(_) => 0,
        },
        interval_s: u32::try_from(config.announce_interval.as_secs()).unwrap_or(u32::MAX),
        numwant_default: udp.default_numwant.min(udp.max_numwant),
        numwant_max: udp.max_numwant,
        scrape_max: udp.max_scrape_infohashes,
        flags,
        variation: hooks.variation,
        events: interest.map_or(0, events),
        ..abi::Config::default()
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
    flags
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

/// What all hooks together let the kernel do. Their order does not matter: a refusal by one is a
/// refusal, and only one may change the response.
#[derive(Default)]
struct Composed {
    flags: u32,
    variation: IntervalVariation,
    torrents: Torrents,
}

/// What all lists together say.
#[derive(Default, Debug, PartialEq, Eq)]
struct Torrents {
    /// If set, all others are refused.
    allowed: Option<HashSet<InfoHash>>,
    denied: HashSet<InfoHash>,
}

impl Composed {
    fn of(hooks: impl Iterator<Item = (&'static str, Offload)>) -> Self {
        let mut composed = Self::default();
        for (name, offload) in hooks {
            match offload {
                Offload::Unaffected => {}
                // A list that may change is not followed.
                Offload::Torrents(list) if list.info_hashes.is_fixed() => {
                    composed.torrents.add(&list);
                }
                Offload::IntervalVariation(variation) if composed.variation.threshold == 0 => {
                    composed.variation = variation;
                }
                // A second variation adds to the first, which the kernel does not do; nor does it know
                // of clients, networks, subnets and grants.
                Offload::Never
                | Offload::Torrents(_)
                | Offload::Clients(_)
                | Offload::Networks(_)
                | Offload::Grants
                | Offload::PreferredSubnet(_)
                | Offload::IntervalVariation(_) => {
                    tracing::warn!("the hook `{name}` has the daemon serve every announce");
                    composed.flags |= flag::PASS_ANNOUNCES | flag::PASS_SCRAPES;
                }
            }
        }
        composed
    }
}

impl Torrents {
    fn add(&mut self, list: &TorrentList) {
        let info_hashes = list.info_hashes.load();
        match list.kind {
            ListKind::Deny => self.denied.extend(info_hashes.iter().copied()),
            ListKind::Allow => match &mut self.allowed {
                Some(allowed) => allowed.retain(|hash| info_hashes.contains(hash)),
                None => self.allowed = Some((**info_hashes).clone()),
            },
        }
    }
}

/// Enters listed torrents into the table; whether the kernel may refuse those that are not in it.
///
/// Torrents for which there is no room stay unknown to the kernel, so the daemon's hook decides on
/// them: that is slower and no less right.
fn list_torrents(torrents: &Torrents, storage: &MemoryStorage) -> bool {
    let Torrents { allowed, denied } = torrents;
    let refused = denied.iter().filter(|hash| !storage.list(hash, Gate::Refuse)).count();
    let opened = allowed.iter().flatten().filter(|hash| !denied.contains(*hash));
    let missing = opened.filter(|hash| !storage.list(hash, Gate::Open)).count();
    if refused + missing > 0 {
        tracing::warn!(
            "{} listed torrents have no room in the table, so the kernel leaves them to the \
             daemon; raise xdp.table.torrents_ipv4 and torrents_ipv6",
            refused + missing,
        );
    }
    allowed.is_some() && missing == 0
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
        Offload::Torrents(TorrentList { kind, info_hashes: Live::fixed(hashes(bytes)) })
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
    fn what_the_kernel_cannot_do_is_the_daemons() {
        let info_hashes = Live::new(hashes(&[1]));
        let clients = ClientList { kind: ListKind::Deny, ids: HashSet::new() };
        for offload in [
            Offload::Torrents(TorrentList { kind: ListKind::Allow, info_hashes }),
            Offload::Clients(clients),
            Offload::Networks(Live::fixed(NetworkList::default())),
            Offload::PreferredSubnet(PreferredSubnet::default()),
            Offload::Grants,
        ] {
            let composed = compose(&[offload]);
            assert_eq!(composed.flags, flag::PASS_ANNOUNCES | flag::PASS_SCRAPES);
            assert_eq!(composed.torrents, Torrents::default());
        }
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
