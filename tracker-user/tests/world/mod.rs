//! The hooks of a differential test. The daemon has them as they are; the kernel is told of them by the daemon's own
//! code. A rule that is added to `Rule` is tested when [`approval`] can make its hook.

use fastrand::Rng;
use tracker_common::{
    budget::{Budget, Kind},
    id::{ClientId, InfoHash},
    limit::{Limits, Rate},
    policy::Rule,
};
use tracker_user::{
    config::{
        ClientApprovalConfig, IntervalVariationConfig, IpApprovalConfig, Network,
        PortApprovalConfig, TorrentApprovalConfig,
    },
    metrics::Metrics,
    middleware::{ClientApproval, IntervalVariation, IpApproval, PortApproval, TorrentApproval},
    pipeline::{ListKind, PreHook, PreferredSubnet},
};

/// Meters of each row.
pub const METERS_OF_ROW: u32 = 1 << 12;

/// The torrent that each list of torrents refuses.
pub const REFUSED: InfoHash = InfoHash([0; 20]);

/// The client that lists of clients are about; others have other ids.
const CLIENT: ClientId = ClientId([2; 6]);

const DENIED: [&str; 2] = ["198.51.100.64/26", "2001:db8:1::40/122"];
const ALLOWED: [&str; 4] =
    ["198.51.100.0/24", "198.51.100.80/28", "2001:db8:1::/64", "2001:db8:1::50/124"];

/// A hook of a world.
#[derive(Clone, Copy, Debug)]
pub enum Hook {
    /// An approval hook with a list of this kind.
    Approval(Rule, ListKind),
    Variation,
    /// A hook that sees every request in the daemon.
    Daemon,
}

/// Which hooks there are, and what else kernel and daemon go by.
#[derive(Clone, Copy, Default, Debug)]
pub struct World {
    pub hooks: &'static [Hook],
    pub subnet: bool,
    pub budgets: bool,
}

impl World {
    /// A world with these hooks.
    pub const fn of(hooks: &'static [Hook]) -> Self {
        Self { hooks, subnet: false, budgets: false }
    }

    /// A world with hooks drawn at random, several of one kind among them.
    pub fn random(rng: &mut Rng) -> Self {
        let any = |rng: &mut Rng| match rng.u8(..16) {
            0 => Hook::Variation,
            1 => Hook::Daemon,
            kind => {
                let kind = if kind < 5 { ListKind::Allow } else { ListKind::Deny };
                Hook::Approval(rng.choice(Rule::ALL).unwrap(), kind)
            }
        };
        let hooks: Vec<_> = (0..rng.usize(2..7)).map(|_| any(rng)).collect();
        // A test's few worlds live as long as it does.
        Self { hooks: hooks.leak(), subnet: rng.bool(), budgets: false }
    }

    /// The hooks, made anew.
    pub fn hooks(self) -> Vec<Box<dyn PreHook>> {
        self.hooks
            .iter()
            .map(|hook| match *hook {
                Hook::Approval(rule, kind) => approval(rule, kind),
                Hook::Variation => Box::new(variation()) as _,
                Hook::Daemon => Box::new(Plain),
            })
            .collect()
    }

    /// Whether the kernel has to pass what it could answer: a second variation adds to the first.
    pub fn is_daemons(self) -> bool {
        let variations = self.hooks.iter().filter(|hook| matches!(hook, Hook::Variation)).count();
        variations > 1 || self.hooks.iter().any(|hook| matches!(hook, Hook::Daemon))
    }

    /// Whether there is a list of torrents of this kind.
    pub fn has_torrents(self, kind: ListKind) -> bool {
        let is_one = |hook: &Hook| matches!(hook, Hook::Approval(Rule::Torrent, it) if *it == kind);
        self.hooks.iter().any(is_one)
    }

    /// By which peers are chosen.
    pub fn preferred_subnet(self) -> PreferredSubnet {
        if self.subnet {
            PreferredSubnet { ipv4_bits: 28, ipv6_bits: 124 }
        } else {
            Default::default()
        }
    }

    /// What sources may have: few peers in one torrent.
    pub fn limits(self) -> Limits {
        let mut limits = Limits {
            mask_v4: u32::MAX,
            mask_v6: u64::MAX,
            wide_mask_v4: u32::from_ne_bytes([255, 255, 255, 0]),
            wide_mask_v6: u64::from_ne_bytes([255, 255, 255, 255, 255, 255, 0, 0]),
            meters_mask: METERS_OF_ROW - 1,
            ..Limits::default()
        };
        if self.budgets {
            let budget = Budget { source: Rate::per(2, 3600), wide: Rate::per(40, 3600) };
            limits.budgets[Kind::Peers as usize] = budget;
        }
        limits
    }
}

/// The torrents of lists of admitted ones: all that clients ask for, but two.
pub fn listed_torrents() -> impl Iterator<Item = InfoHash> {
    (2..=u8::MAX).map(|byte| InfoHash([byte; 20]))
}

/// The hook of a rule, with a list that concerns some of the requests of these tests.
fn approval(rule: Rule, kind: ListKind) -> Box<dyn PreHook> {
    let metrics = Metrics::new().unwrap();
    let is_allow = kind == ListKind::Allow;
    match rule {
        Rule::Torrent => {
            let options = TorrentApprovalConfig {
                whitelist: is_allow.then(|| listed_torrents().collect()),
                blacklist: if is_allow { Vec::new() } else { vec![REFUSED] },
                ..Default::default()
            };
            Box::new(TorrentApproval::new(&options, &metrics).unwrap())
        }
        Rule::Client => {
            let options = ClientApprovalConfig {
                whitelist: is_allow.then(|| vec![CLIENT]),
                blacklist: if is_allow { Vec::new() } else { vec![CLIENT] },
            };
            Box::new(ClientApproval::new(&options).unwrap())
        }
        Rule::Network => {
            let options = IpApprovalConfig {
                allow: if is_allow { parsed(&ALLOWED) } else { Vec::new() },
                deny: parsed(&DENIED),
                ..Default::default()
            };
            Box::new(IpApproval::new(&options, &metrics).unwrap())
        }
        Rule::Port => {
            let config = PortApprovalConfig {
                whitelist: is_allow.then(|| vec![6881, 6883]),
                blacklist: if is_allow { Vec::new() } else { vec![6882] },
                ..Default::default()
            };
            Box::new(PortApproval::new(&config).unwrap())
        }
    }
}

/// A hook that refuses nothing, and does not say so.
struct Plain;

impl PreHook for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
}

fn variation() -> IntervalVariation {
    IntervalVariation::new(&IntervalVariationConfig {
        modify_response_probability: 0.5,
        max_increase_delta: 600,
        modify_min_interval: false,
    })
    .expect("within bounds")
}

fn parsed(networks: &[&str]) -> Vec<Network> {
    networks.iter().map(|net| net.parse().unwrap()).collect()
}
