//! The policy of the hooks, judged by with what is in the maps.

use core::ptr::read_volatile;

use aya_ebpf::{maps::lpm_trie::Key as Prefix, programs::XdpContext};
use tracker_common::{
    abi::{Config, GrantKey, Verdict, flag},
    family::{Family, V4, V6},
    policy::{Decision, Key, Objections, Ranks, SourceView, Subject, View},
    wire::{AnnounceRequest, RequestHead},
};

use crate::{
    maps::{Env, GENERATION, GRANTS, LISTED, NETWORKS_V4, NETWORKS_V6, grant_key},
    outcome::{Outcome, Step},
    packet::{Datagram, Ip},
    scrape::is_well_formed,
};

/// Where the program looks up what the rules ask of an announce.
struct Announced<'a, F: Ip> {
    datagram: &'a Datagram<'a, F, AnnounceRequest>,
    config: &'a Config,
    wall_ns: u64,
}

/// The same of a scrape, of which only the source is judged.
struct Scraped<'a, F: Ip>(&'a Datagram<'a, F>);

/// What the hooks have against an announce, but for those that list torrents.
#[inline(always)]
pub fn announce<F: Ip>(ctx: &XdpContext, l3: u32, wall_ns: u64) -> Objections {
    let Some(datagram) = Datagram::<F, AnnounceRequest>::again(ctx, l3) else {
        return Objections::ALL;
    };
    let Env { config, .. } = Env::get();
    let request = datagram.payload;
    let subject = Subject {
        client: request.fixed.peer_id.client_id(),
        port: u16::from_be_bytes(request.tail.port),
    };
    let view = Announced { datagram: &datagram, config, wall_ns };
    config.policy.object(&view, &subject)
}

/// Holds a scrape to the hooks. One that is malformed is told so, and nothing else.
#[inline(always)]
pub fn scrape<F: Ip>(ctx: &XdpContext, l3: u32) -> Outcome {
    let Some(datagram) = Datagram::<F, RequestHead>::again(ctx, l3) else {
        return Outcome::Pass(Verdict::Unusual);
    };
    if !is_well_formed(datagram.payload_len()) {
        return Outcome::Pass(Verdict::Unusual);
    }
    let policy = &Env::get().config.policy;
    match policy.decide_on_scrape(policy.object_to_scrape(&Scraped(&datagram))) {
        Decision::Serve => Outcome::Step(Step::Approved),
        Decision::Refuse(rule) => Outcome::Refuse(rule),
        Decision::Pass => Outcome::Pass(Verdict::Gated),
    }
}

impl<F: Ip> SourceView for Announced<'_, F> {
    #[inline(always)]
    fn refused_network(&self) -> Option<Ranks> {
        F::refused_network(&F::source(self.datagram.ip))
    }
}

impl<F: Ip> View for Announced<'_, F> {
    #[inline(always)]
    fn listed(&self, key: Key) -> Ranks {
        // SAFETY: the daemon deletes nothing from a list that is in force.
        unsafe { LISTED.get(key.word()) }.copied().unwrap_or(0)
    }

    /// An announce without options is not granted where they are to be told: a post-hook needs the key in the URL
    /// data, and a client with a grant shall not leave it out.
    #[inline(always)]
    fn is_granted(&self) -> bool {
        let lacks_options =
            self.config.flags & flag::TELL_OPTIONS != 0 && self.datagram.rest_len() == 0;
        !lacks_options && is_granted(self.datagram, self.wall_ns)
    }
}

impl<F: Ip> SourceView for Scraped<'_, F> {
    #[inline(always)]
    fn refused_network(&self) -> Option<Ranks> {
        F::refused_network(&F::source(self.0.ip))
    }
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
    /// The ranks that refuse the smallest listed network that an address is in.
    fn refused_network(addr: &Self::Addr) -> Option<Ranks>;
}

/// A key as the stack must be accessed.
#[repr(C, align(8))]
struct Aligned<K>(Prefix<K>);

impl Listed for V4 {
    #[inline(always)]
    fn refused_network(addr: &[u8; 4]) -> Option<Ranks> {
        let key = Aligned(Prefix::new(32, *addr));
        NETWORKS_V4.get(&key.0).copied()
    }
}

impl Listed for V6 {
    #[inline(always)]
    fn refused_network(addr: &[u8; 16]) -> Option<Ranks> {
        let key = Aligned(Prefix::new(128, *addr));
        NETWORKS_V6.get(&key.0).copied()
    }
}
