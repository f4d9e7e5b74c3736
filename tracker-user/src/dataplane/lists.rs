//! What the hooks list, in maps that the program looks into.

use std::{collections::HashMap, net::IpAddr};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{
        HashMap as BpfHashMap, MapData, MapError,
        lpm_trie::{Key as Prefix, LpmTrie},
    },
};
use ipnet::IpNet;
use tracker_common::{
    abi::{self, name},
    policy::{Key, Ranks},
};

use super::{load::take_map, policy::Composed};
use crate::pipeline::Pipeline;

/// The most clients and ports that the kernel knows together.
pub(super) const LISTED_MAX: u32 = 80 << 10;

/// The most networks of each family that the kernel knows.
pub(super) const NETWORKS_MAX: u32 = 1 << 20;

/// The maps. While they are being changed the program must not look into them.
pub struct HookMaps {
    listed: BpfHashMap<MapData, u64, Ranks>,
    networks_v4: LpmTrie<MapData, [u8; 4], Ranks>,
    networks_v6: LpmTrie<MapData, [u8; 16], Ranks>,
}

impl HookMaps {
    /// The maps of a program.
    ///
    /// # Errors
    /// When they are not what they should be, or have been taken already.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self {
            listed: take_map(ebpf, name::LISTED)?,
            networks_v4: take_map(ebpf, name::NETWORKS_V4)?,
            networks_v6: take_map(ebpf, name::NETWORKS_V6)?,
        })
    }

    /// Fills the maps with what the hooks of a pipeline list, but for torrents, which are in the table, and completes
    /// the configuration that the program is to go by.
    ///
    /// # Errors
    /// As for [`HookMaps::set`].
    pub fn apply(&mut self, pipeline: &Pipeline, config: &mut abi::Config) -> anyhow::Result<()> {
        let composed = Composed::of(pipeline.compiled());
        composed.configure(config);
        self.set(&composed.listed, &composed.networks)
    }

    /// Replaces what is listed.
    ///
    /// # Errors
    /// When there are more than [`LISTED_MAX`] keys or [`NETWORKS_MAX`] networks of a family, or the kernel refuses.
    pub(super) fn set(
        &mut self,
        listed: &HashMap<Key, Ranks>,
        networks: &HashMap<IpNet, Ranks>,
    ) -> anyhow::Result<()> {
        let old: Vec<_> = self.listed.keys().collect::<Result<_, _>>()?;
        old.iter().try_for_each(|key| self.listed.remove(key))?;
        clear(&mut self.networks_v4)?;
        clear(&mut self.networks_v6)?;
        for (key, ranks) in listed {
            self.listed.insert(key.word(), ranks, 0).with_context(|| {
                format!("the kernel takes at most {LISTED_MAX} listed clients and ports")
            })?;
        }
        for (network, ranks) in networks {
            self.add(*network, *ranks).with_context(|| {
                format!("the kernel takes at most {NETWORKS_MAX} networks of each family")
            })?;
        }
        Ok(())
    }

    fn add(&mut self, network: IpNet, ranks: Ranks) -> Result<(), MapError> {
        let length = network.prefix_len().into();
        match network.network() {
            IpAddr::V4(addr) => {
                self.networks_v4.insert(&Prefix::new(length, addr.octets()), ranks, 0)
            }
            IpAddr::V6(addr) => {
                self.networks_v6.insert(&Prefix::new(length, addr.octets()), ranks, 0)
            }
        }
    }
}

fn clear<K: aya::Pod>(trie: &mut LpmTrie<MapData, K, Ranks>) -> Result<(), MapError> {
    let old: Vec<_> = trie.keys().collect::<Result<_, _>>()?;
    old.iter().try_for_each(|key| trie.remove(key))
}
