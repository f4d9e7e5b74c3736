//! The hooks of a differential test: for the daemon as they are, for the kernel as data.

use aya::{
    Ebpf,
    maps::{HashMap, LpmTrie, lpm_trie::Key},
};
use ipnet::IpNet;
use tracker_common::{
    abi::{self, client_key, flag, name, network},
    budget::{Budget, Kind},
    id::{ClientId, InfoHash},
    limit::{Limits, Rate},
};
use tracker_user::{
    metrics::Metrics,
    middleware::{
        ClientApproval, ClientApprovalOptions, IntervalVariation, IntervalVariationOptions,
        IpApproval, IpApprovalOptions, TorrentApproval, TorrentApprovalOptions,
    },
    pipeline::{Offload, PreHook, PreferredSubnet},
};

/// Meters of each row.
pub const METERS_OF_ROW: u32 = 1 << 12;

/// The torrent that `torrent approval` refuses.
pub const REFUSED: InfoHash = InfoHash([0; 20]);

/// The client that `client approval` is about; others have other ids.
const CLIENT: ClientId = ClientId([2; 6]);

const DENIED: [&str; 2] = ["198.51.100.64/26", "2001:db8:1::40/122"];
const ALLOWED: [&str; 4] =
    ["198.51.100.0/24", "198.51.100.80/28", "2001:db8:1::/64", "2001:db8:1::50/124"];

/// Which hooks there are.
#[derive(Clone, Copy, Default, Debug)]
pub struct World {
    pub torrents: bool,
    pub client_denied: bool,
    pub client_allowed: bool,
    pub networks: bool,
    pub variation: bool,
    pub subnet: bool,
    pub budgets: bool,
}

impl World {
    /// The hooks, made anew.
    pub fn hooks(self) -> Vec<Box<dyn PreHook>> {
        let metrics = Metrics::new().unwrap();
        let mut hooks: Vec<Box<dyn PreHook>> = Vec::new();
        if self.torrents {
            let options = TorrentApprovalOptions { blacklist: vec![REFUSED], ..Default::default() };
            hooks.push(Box::new(TorrentApproval::new(options, &metrics).unwrap()));
        }
        if self.client_denied || self.client_allowed {
            let list = |wanted: bool| if wanted { vec![CLIENT] } else { Vec::new() };
            let options = ClientApprovalOptions {
                whitelist: self.client_allowed.then(|| list(true)),
                blacklist: list(self.client_denied),
            };
            hooks.push(Box::new(ClientApproval::new(options).unwrap()));
        }
        if self.networks {
            let options = IpApprovalOptions {
                allow: parsed(&ALLOWED),
                deny: parsed(&DENIED),
                ..Default::default()
            };
            hooks.push(Box::new(IpApproval::new(options, &metrics).unwrap()));
        }
        if self.variation {
            hooks.push(Box::new(variation()));
        }
        hooks
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

    /// Tells the kernel, all but of the refused torrent.
    pub fn configure(self, config: &mut abi::Config, ebpf: &mut Ebpf) {
        config.limits = self.limits();
        if self.variation {
            let Offload::IntervalVariation(variation) = variation().offload() else {
                unreachable!()
            };
            config.variation = variation;
        }
        if self.client_denied || self.client_allowed {
            config.flags |=
                if self.client_denied { flag::CLIENTS_DENIED } else { flag::CLIENTS_ALLOWED };
            let map = ebpf.map_mut(name::CLIENTS).unwrap();
            let mut map: HashMap<_, u64, u8> = map.try_into().unwrap();
            map.insert(client_key(CLIENT), 0, 0).unwrap();
        }
        if self.networks {
            config.flags |= flag::NETWORKS | flag::NETWORKS_REFUSE_OTHERS;
            for net in parsed(&ALLOWED) {
                enter(ebpf, net, network::ALLOWED);
            }
            for net in parsed(&DENIED) {
                enter(ebpf, net, network::DENIED);
            }
        }
    }
}

fn enter(ebpf: &mut Ebpf, net: IpNet, meaning: u32) {
    let length = net.prefix_len().into();
    match net {
        IpNet::V4(net) => {
            let map = ebpf.map_mut(name::NETWORKS_V4).unwrap();
            let mut trie: LpmTrie<_, [u8; 4], u32> = map.try_into().unwrap();
            trie.insert(&Key::new(length, net.network().octets()), meaning, 0).unwrap();
        }
        IpNet::V6(net) => {
            let map = ebpf.map_mut(name::NETWORKS_V6).unwrap();
            let mut trie: LpmTrie<_, [u8; 16], u32> = map.try_into().unwrap();
            trie.insert(&Key::new(length, net.network().octets()), meaning, 0).unwrap();
        }
    }
}

fn variation() -> IntervalVariation {
    IntervalVariation::new(&IntervalVariationOptions {
        modify_response_probability: 0.5,
        max_increase_delta_s: 600,
        modify_min_interval: false,
    })
    .expect("within bounds")
}

fn parsed(networks: &[&str]) -> Vec<IpNet> {
    networks.iter().map(|net| net.parse().unwrap()).collect()
}
