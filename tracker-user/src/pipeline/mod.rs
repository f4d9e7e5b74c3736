//! What happens to a request, whatever protocol brought it: pre-hooks, storage, reply, post-hooks.

mod compiled;
mod grant;
mod hook;
mod list_kind;
mod live;
mod networks;
mod pending;
mod request;
mod storage;

use std::sync::Arc;

pub(crate) use compiled::Compiled;
pub use grant::{Grant, GrantSink, NoGrants};
pub use hook::{Interest, KeyList, List, Offload, PostHook, PreHook, PreferredSubnet, TorrentList};
pub use list_kind::ListKind;
pub use live::{Follower, Live};
pub use networks::NetworkList;
pub use pending::{Asking, Pending};
pub use request::{AnnounceRequest, AnnounceResponse, Params, Refusal, ScrapeRequest, SwarmStats};
pub use storage::Storage;

use tracker_common::policy::Ranks;

pub(crate) use storage::nobody_in_the_other_family;

/// The hooks around a storage, in the order of the configuration.
pub struct Pipeline {
    pre_hooks: Vec<Box<dyn PreHook>>,
    /// What they amount to.
    compiled: Compiled,
    post_hooks: Vec<Box<dyn PostHook>>,
    storage: Arc<dyn Storage>,
    interval_s: u32,
    min_interval_s: u32,
}

impl Pipeline {
    /// Puts `storage` behind the hooks.
    ///
    /// # Panics
    /// If there are more than [`RANKS`](tracker_common::policy::RANKS) pre-hooks with lists.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        pre_hooks: Vec<Box<dyn PreHook>>,
        post_hooks: Vec<Box<dyn PostHook>>,
        interval_s: u32,
        min_interval_s: u32,
    ) -> Self {
        let compiled = Compiled::of(&pre_hooks);
        Self { pre_hooks, compiled, post_hooks, storage, interval_s, min_interval_s }
    }

    /// Answers an announce: `response` is overwritten.
    ///
    /// # Errors
    /// The refusal of the first pre-hook that has one; the swarm is then unchanged.
    pub fn announce(
        &self,
        request: &AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        response.interval_s = self.interval_s;
        response.min_interval_s = self.min_interval_s;
        self.admit(request, response)?;
        response.swarm = self.storage.announce(request, &mut response.peers)?;
        Ok(())
    }

    /// Peers and figures of the other address family, for an announce that has been answered. Of `response` the
    /// intervals are left as they are.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn look(
        &self,
        request: &AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        response.swarm = self.storage.look(request, &mut response.peers)?;
        Ok(())
    }

    /// Asks the pre-hooks alone, for a swarm that is not in the storage. The response comes with its intervals,
    /// which they may change.
    ///
    /// # Errors
    /// As for [`Pipeline::announce`].
    pub fn admit(
        &self,
        request: &AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        let refused = self.compiled.refuse(request);
        for (hook, before) in self.called() {
            self.compiled.first_of(refused & before)?;
            hook.announce(request, response)?;
        }
        self.compiled.first_of(refused)
    }

    /// To be called once a reply is on its way: runs the post-hooks.
    pub fn announced(&self, request: &AnnounceRequest, response: &AnnounceResponse) {
        for hook in &self.post_hooks {
            hook.announced(request, response);
        }
    }

    /// To be called for an announce that the kernel has answered: runs those post-hooks that want to see
    /// such. `floor` is what all of them are told at least.
    pub fn told(
        &self,
        kind: Interest,
        floor: Interest,
        request: &AnnounceRequest,
        response: &AnnounceResponse,
    ) {
        let hooks = self.post_hooks().filter(|hook| hook.interest().max(floor) >= kind);
        hooks.for_each(|hook| hook.announced(request, response));
    }

    /// Answers a scrape, one entry for each info-hash of the request, in order. Unknown torrents
    /// have zeros.
    ///
    /// # Errors
    /// The refusal of the first pre-hook that has one.
    pub fn scrape(
        &self,
        request: &ScrapeRequest,
        swarms: &mut Vec<SwarmStats>,
    ) -> Result<(), Refusal> {
        self.admit_scrape(request)?;
        swarms.clear();
        for info_hash in &request.info_hashes {
            swarms.push(self.storage.scrape(info_hash, &request.source)?);
        }
        Ok(())
    }

    /// Adds the figures of the address family that the request, which has been answered, did not come by.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn scrape_other_family(
        &self,
        request: &ScrapeRequest,
        swarms: &mut [SwarmStats],
    ) -> Result<(), Refusal> {
        let other = nobody_in_the_other_family(&request.source);
        for (info_hash, swarm) in request.info_hashes.iter().zip(swarms) {
            *swarm += self.storage.scrape(info_hash, &other)?;
        }
        Ok(())
    }

    /// Asks the pre-hooks alone, for swarms that are not in the storage.
    ///
    /// # Errors
    /// As for [`Pipeline::scrape`].
    pub fn admit_scrape(&self, request: &ScrapeRequest) -> Result<(), Refusal> {
        let refused = self.compiled.refuse_scrape(request);
        for (hook, before) in self.called() {
            self.compiled.first_of(refused & before)?;
            hook.scrape(request)?;
        }
        self.compiled.first_of(refused)
    }

    /// The hooks that are called, each with the ranks of those before it.
    fn called(&self) -> impl Iterator<Item = (&dyn PreHook, Ranks)> {
        let called = self.compiled.called.iter();
        called.map(|&(index, before)| (&*self.pre_hooks[index], before))
    }

    /// Another number whenever a pre-hook may have come to refuse what it admitted before.
    #[must_use]
    pub fn revision(&self) -> u64 {
        // Each number only grows, so the sum changes with each of them.
        let lists = self.compiled.revision();
        self.pre_hooks.iter().fold(lists, |sum, hook| sum.wrapping_add(hook.revision()))
    }

    /// What the pre-hooks amount to, for the data plane.
    #[cfg_attr(not(feature = "xdp"), allow(dead_code, reason = "for the data plane alone"))]
    pub(crate) const fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The post-hooks, for the data plane to ask what they want to see.
    pub fn post_hooks(&self) -> impl Iterator<Item = &dyn PostHook> {
        self.post_hooks.iter().map(|hook| &**hook)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicU32, Ordering},
    };

    use tracker_common::{id::InfoHash, peers::PeerBuf};

    use super::*;
    use crate::middleware::tests::announce_of;

    struct Nowhere;

    impl Pipeline {
        /// A pipeline of pre-hooks alone.
        pub(crate) fn of_hooks(hooks: Vec<Box<dyn PreHook>>) -> Self {
            Self::new(Arc::new(Nowhere), hooks, Vec::new(), 1800, 900)
        }
    }

    impl Storage for Nowhere {
        fn announce(&self, _: &AnnounceRequest, _: &mut PeerBuf) -> Result<SwarmStats, Refusal> {
            Ok(SwarmStats::default())
        }

        fn scrape(&self, _: &InfoHash, _: &SocketAddr) -> Result<SwarmStats, Refusal> {
            Ok(SwarmStats::default())
        }
    }

    struct Counts(Interest, AtomicU32);

    impl PostHook for Counts {
        fn name(&self) -> &'static str {
            "counts"
        }

        fn announced(&self, _: &AnnounceRequest, _: &AnnounceResponse) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }

        fn interest(&self) -> Interest {
            self.0
        }
    }

    #[test]
    fn of_what_the_kernel_answers_each_post_hook_is_told_what_it_wants() {
        use Interest::{Every, Nothing, Transitions};
        let hooks =
            [Nothing, Transitions, Every].map(|interest| Arc::new(Counts(interest, 0.into())));
        let boxed = hooks.iter().map(|hook| Box::new(Arc::clone(hook)) as _).collect();
        let pipeline = Pipeline::new(Arc::new(Nowhere), Vec::new(), boxed, 1800, 900);
        let (request, response) = (announce_of(InfoHash([1; 20])), AnnounceResponse::default());
        let told = |kind, floor| {
            pipeline.told(kind, floor, &request, &response);
            [0, 1, 2].map(|hook: usize| hooks[hook].1.swap(0, Ordering::Relaxed))
        };
        assert_eq!(told(Every, Nothing), [0, 0, 1]);
        assert_eq!(told(Transitions, Nothing), [0, 1, 1]);
        assert_eq!(told(Every, Transitions), [0, 0, 1]);
        assert_eq!(told(Transitions, Transitions), [1, 1, 1]);
        assert_eq!(told(Every, Every), [1, 1, 1]);
        pipeline.announced(&request, &response);
        assert_eq!(hooks[0].1.load(Ordering::Relaxed), 1, "what the daemon answers all are told");
    }
}
