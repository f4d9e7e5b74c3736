//! What the lists of the approval hooks say of an announce or a scrape.

use core::ptr::read_volatile;

use aya_ebpf::{maps::lpm_trie::Key, programs::XdpContext};
use tracker_common::{
    abi::{Config, GrantKey, client_key, flag, network},
    family::{Family, V4, V6},
    wire::{AnnounceRequest, RequestHead},
};

use crate::{
    maps::{CLIENTS, Env, GENERATION, GRANTS, NETWORKS_V4, NETWORKS_V6, grant_key},
    packet::{Datagram, Ip},
    scrape::is_well_formed,
};

/// Flags of a configuration that has lists to look into.
pub const LISTS: u32 = flag::CLIENTS_ALLOWED | flag::CLIENTS_DENIED | flag::NETWORKS | flag::GRANTS;

/// The client is not approved.
pub const CLIENT: u32 = 1;

/// The source is not approved.
pub const SOURCE: u32 = 1 << 1;

/// The torrent is not approved.
pub const TORRENT: u32 = 1 << 2;

/// Only the daemon can tell.
pub const UNKNOWN: u32 = 1 << 3;

/// What the lists have against an announce: bits of the above.
#[inline(always)]
pub fn announce<F: Ip>(ctx: &XdpContext, l3: u32, wall_ns: u64) -> u32 {
    let Some(datagram) = Datagram::<F, AnnounceRequest>::again(ctx, l3) else { return UNKNOWN };
    let Env { config, .. } = Env::get();
    let fixed = &datagram.payload.fixed;
    let mut objections = source::<F>(config, &F::source(datagram.ip));
    if config.flags & (flag::CLIENTS_ALLOWED | flag::CLIENTS_DENIED) != 0 {
        // SAFETY: nobody deletes from a list that is in force.
        let listed = unsafe { CLIENTS.get(client_key(fixed.peer_id.client_id())) }.is_some();
        let wrong = if listed { flag::CLIENTS_DENIED } else { flag::CLIENTS_ALLOWED };
        if config.flags & wrong != 0 {
            objections |= CLIENT;
        }
    }
    if config.flags & flag::GRANTS != 0
        && (lacks_options(&datagram, config) || !is_granted(&datagram, wall_ns))
    {
        objections |= UNKNOWN;
    }
    objections
}

/// The same of a scrape. One that is malformed is told so, and nothing else.
#[inline(always)]
pub fn scrape<F: Ip>(ctx: &XdpContext, l3: u32) -> u32 {
    let Some(datagram) = Datagram::<F, RequestHead>::again(ctx, l3) else { return UNKNOWN };
    let Env { config, .. } = Env::get();
    if !is_well_formed(datagram.payload_len()) {
        return 0;
    }
    source::<F>(config, &F::source(datagram.ip))
}

/// Whether the announce has no options though they are to be told: URL data with a key, which nobody
/// shall leave out who is granted to announce.
#[inline(always)]
fn lacks_options<F: Ip>(datagram: &Datagram<F, AnnounceRequest>, config: &Config) -> bool {
    config.flags & flag::TELL_OPTIONS != 0 && datagram.rest_len() == 0
}

#[inline(always)]
fn source<F: Ip>(config: &Config, addr: &F::Addr) -> u32 {
    if config.flags & flag::NETWORKS == 0 {
        return 0;
    }
    let admitted = match F::network(addr) {
        Some(kind) => kind == network::ALLOWED,
        None => config.flags & flag::NETWORKS_REFUSE_OTHERS == 0,
    };
    if admitted { 0 } else { SOURCE }
}

#[inline(always)]
fn is_granted<F: Ip>(datagram: &Datagram<F, AnnounceRequest>, wall_ns: u64) -> bool {
    let Some(key) = grant_key() else { return false };
    let addr = F::mapped(&F::source(datagram.ip));
    let info_hash = datagram.payload.fixed.info_hash.0;
    key.set(GrantKey { addr, info_hash, _pad: [0; 4] });
    // SAFETY: the cell stays as it is while the map is looked into.
    let key = unsafe { &*key.as_ptr() };
    // SAFETY: an entry that the map forgets meanwhile may be read as another grant that is being made.
    let Some(grant) = (unsafe { GRANTS.get(key) }) else { return false };
    let Some(generation) = GENERATION.get(0) else { return false };
    // SAFETY: a reference is readable. The daemon takes all grants back at any moment.
    let generation = unsafe { read_volatile(generation) };
    grant.generation == generation && wall_ns < grant.end_ns
}

/// What lists keep of an address.
pub trait Listed: Family {
    /// The smallest listed network that holds an address: one of [`network`].
    fn network(addr: &Self::Addr) -> Option<u32>;
}

/// A key as the stack must be accessed.
#[repr(C, align(8))]
struct Aligned<K>(Key<K>);

impl Listed for V4 {
    #[inline(always)]
    fn network(addr: &[u8; 4]) -> Option<u32> {
        let key = Aligned(Key::new(32, *addr));
        NETWORKS_V4.get(&key.0).copied()
    }
}

impl Listed for V6 {
    #[inline(always)]
    fn network(addr: &[u8; 16]) -> Option<u32> {
        let key = Aligned(Key::new(128, *addr));
        NETWORKS_V6.get(&key.0).copied()
    }
}
