//! Lists of clients and networks, in maps that the program looks into.

use std::net::IpAddr;

use anyhow::Context as _;
use aya::maps::{
    HashMap, MapData, MapError,
    lpm_trie::{Key, LpmTrie},
};
use ipnet::IpNet;
use tracker_common::{
    abi::{client_key, name, network},
    id::ClientId,
};

use super::Kernel;
use crate::pipeline::{ListKind, NetworkList};

/// The most clients that the kernel knows.
pub(super) const CLIENTS_MAX: u32 = 16 << 10;

/// The most networks of each family that the kernel knows.
pub(super) const NETWORKS_MAX: u32 = 1 << 20;

/// The maps. While they are being changed the program must not look into them.
pub(super) struct Lists {
    clients: HashMap<MapData, u64, u8>,
    networks_v4: LpmTrie<MapData, [u8; 4], u32>,
    networks_v6: LpmTrie<MapData, [u8; 16], u32>,
}

impl Lists {
    /// Empty lists.
    ///
    /// # Errors
    /// When the program's maps are not what they should be.
    pub(super) fn new(kernel: &mut Kernel) -> anyhow::Result<Self> {
        Ok(Self {
            clients: kernel.take(name::CLIENTS)?,
            networks_v4: kernel.take(name::NETWORKS_V4)?,
            networks_v6: kernel.take(name::NETWORKS_V6)?,
        })
    }

    /// Replaces the clients.
    ///
    /// # Errors
    /// When there are more than [`CLIENTS_MAX`], or the kernel refuses.
    pub(super) fn set_clients(
        &mut self,
        clients: impl Iterator<Item = ClientId>,
    ) -> anyhow::Result<()> {
        let old: Vec<_> = self.clients.keys().collect::<Result<_, _>>()?;
        for key in old {
            self.clients.remove(&key)?;
        }
        for client in clients {
            self.clients.insert(client_key(client), 0, 0).with_context(|| {
                format!("the kernel takes at most {CLIENTS_MAX} listed clients")
            })?;
        }
        Ok(())
    }

    /// Replaces the networks.
    ///
    /// # Errors
    /// When there are more than [`NETWORKS_MAX`] of a family, or the kernel refuses.
    pub(super) fn set_networks(&mut self, list: &NetworkList) -> anyhow::Result<()> {
        clear(&mut self.networks_v4)?;
        clear(&mut self.networks_v6)?;
        for (net, kind) in list.iter() {
            let meaning = match kind {
                ListKind::Allow => network::ALLOWED,
                ListKind::Deny => network::DENIED,
            };
            self.add(net, meaning).with_context(|| {
                format!("the kernel takes at most {NETWORKS_MAX} networks of each family")
            })?;
        }
        Ok(())
    }

    fn add(&mut self, net: IpNet, meaning: u32) -> Result<(), MapError> {
        let length = net.prefix_len().into();
        match net.network() {
            IpAddr::V4(addr) => {
                self.networks_v4.insert(&Key::new(length, addr.octets()), meaning, 0)
            }
            IpAddr::V6(addr) => {
                self.networks_v6.insert(&Key::new(length, addr.octets()), meaning, 0)
            }
        }
    }
}

fn clear<K: aya::Pod>(trie: &mut LpmTrie<MapData, K, u32>) -> Result<(), MapError> {
    let old: Vec<_> = trie.keys().collect::<Result<_, _>>()?;
    old.iter().try_for_each(|key| trie.remove(key))
}
