//! Tells the program what is in force.

use std::time::Duration;

use anyhow::Context as _;
use aya::maps::{Array, MapData};
use tracker_common::{
    abi::{self, EndpointV4, EndpointV6, LINKS, Link, flag, name},
    policy::Policy,
    table::layout::Gate,
    time::Jiffies,
};

use super::{Kernel, grace::wait_for_kernel, state::State};
use crate::clock;

/// Writes the configuration that is not in force, then switches to it: the program never reads one
/// that is half written.
pub(super) struct Publisher {
    map: Array<MapData, State>,
    state: abi::State,
    config: abi::Config,
    orphan_limit: Duration,
}

impl Publisher {
    /// Publishes nothing yet: until then the program passes everything, or goes by what the daemon
    /// before has published. Without a sign of life it goes by a configuration for `orphan_limit`.
    ///
    /// # Errors
    /// When the program's maps are not what they should be.
    pub(super) fn new(kernel: &mut Kernel, orphan_limit: Duration) -> anyhow::Result<Self> {
        let map: Array<_, State> = kernel.take(name::STATE)?;
        let mut state: State = map.get(&0, 0).context("map STATE")?;
        state.0.control.active &= 1;
        state.0.control.jiffies = kernel.jiffies()?;
        let config = *state.config();
        Ok(Self { map, state: state.0, config, orphan_limit })
    }

    /// Changes how long the program goes on without us.
    pub(super) fn set_orphan_limit(&mut self, orphan_limit: Duration) {
        self.orphan_limit = orphan_limit;
    }

    /// Publishes the configuration with these endpoints, at most [`abi::ENDPOINTS_MAX`] each.
    ///
    /// # Errors
    /// When the kernel refuses; the old configuration stays in force.
    pub(super) fn set_endpoints(
        &mut self,
        v4: &[EndpointV4],
        v6: &[EndpointV6],
    ) -> anyhow::Result<()> {
        self.config.endpoints_v4_len = fill(&mut self.config.endpoints_v4, v4);
        self.config.endpoints_v6_len = fill(&mut self.config.endpoints_v6, v6);
        self.publish()
    }

    /// Publishes the configuration with these addresses of this machine, if they are others than before; what there
    /// is no room for is left out.
    ///
    /// # Errors
    /// As for [`Publisher::set_endpoints`].
    pub(super) fn set_local(&mut self, addresses: &[[u64; 2]]) -> anyhow::Result<()> {
        let before = (self.config.local, self.config.local_len);
        self.config.local_len = fill(&mut self.config.local, addresses);
        self.publish_if(before != (self.config.local, self.config.local_len))
    }

    /// Publishes the configuration with these interfaces, if they are others than before.
    ///
    /// # Errors
    /// As for [`Publisher::set_endpoints`].
    pub(super) fn set_links(&mut self, links: [Link; LINKS]) -> anyhow::Result<()> {
        let is_new = self.config.links != links;
        self.config.links = links;
        self.publish_if(is_new)
    }

    fn publish_if(&mut self, is_new: bool) -> anyhow::Result<()> {
        if is_new { self.publish() } else { Ok(()) }
    }

    /// Publishes another configuration with the endpoints of the last.
    ///
    /// # Errors
    /// As for [`Publisher::set_endpoints`].
    pub(super) fn set_policy(&mut self, policy: &abi::Config) -> anyhow::Result<()> {
        self.config = abi::Config {
            endpoints_v4: self.config.endpoints_v4,
            endpoints_v6: self.config.endpoints_v6,
            endpoints_v4_len: self.config.endpoints_v4_len,
            endpoints_v6_len: self.config.endpoints_v6_len,
            links: self.config.links,
            local: self.config.local,
            local_len: self.config.local_len,
            ..*policy
        };
        self.publish()
    }

    /// What the program decides by, whatever the torrent.
    pub(super) fn decides_by(&self) -> (Policy, u32) {
        decides_by(&self.config)
    }

    /// Has the program pass, until the next policy, what is announced of torrents that it does not know;
    /// with `all`, all announces and scrapes, so that it does not look into lists.
    ///
    /// # Errors
    /// As for [`Publisher::set_endpoints`].
    pub(super) fn hold_back(&mut self, all: bool) -> anyhow::Result<()> {
        let policy = &mut self.config.policy;
        if all {
            *policy = Policy::default();
            policy.pass_all();
            self.config.flags |= flag::JUDGES;
        }
        policy.unlisted_gate = Gate::Pass as u32;
        self.publish()
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        // A run of the program may still read what was in force before the last switch.
        wait_for_kernel();
        let next = 1 - self.state.control.active;
        self.state.configs[next as usize] = self.config;
        self.write()?;
        self.state.control.active = next;
        let switched = self.set_clock();
        if switched.is_err() {
            self.state.control.active = 1 - next;
        }
        switched
    }

    /// Has the program tell the time by this, from the next [`Publisher::set_clock`] on.
    pub(super) fn set_jiffies(&mut self, jiffies: Jiffies) {
        self.state.control.jiffies = jiffies;
    }

    /// Tells the program that we live, and what time it is, so that its connection ids follow the wall
    /// clock.
    ///
    /// # Errors
    /// When the kernel refuses; the old configuration stays in force.
    pub(super) fn set_clock(&mut self) -> anyhow::Result<()> {
        let now_ns = clock::monotonic_ns();
        let limit_ns = u64::try_from(self.orphan_limit.as_nanos()).unwrap_or(u64::MAX);
        let control = &mut self.state.control;
        control.wall_offset_ns = clock::wall_ns().wrapping_sub(now_ns);
        control.passes_from_ns = now_ns.saturating_add(limit_ns);
        self.write()
    }

    /// What has not changed is written again as it is, which no run of the program sees.
    fn write(&mut self) -> anyhow::Result<()> {
        self.map.set(0, State(self.state), 0).context("map STATE")
    }
}

/// What a configuration decides by, whatever the torrent.
pub(super) fn decides_by(config: &abi::Config) -> (Policy, u32) {
    let policy = Policy { unlisted_gate: Gate::Open as u32, ..config.policy };
    (policy, config.flags & flag::TELL_OPTIONS)
}

/// Copies as many as there is room for, and returns their number.
fn fill<T: Copy + Default>(slots: &mut [T], endpoints: &[T]) -> u32 {
    slots.fill(T::default());
    for (slot, endpoint) in slots.iter_mut().zip(endpoints) {
        *slot = *endpoint;
    }
    endpoints.len().min(slots.len()) as u32
}
