//! What a tracker is started with.

use std::{panic::resume_unwind, sync::Arc, thread};

use anyhow::Context as _;
use prometheus::Registry;
use tokio::runtime::{self, Handle, Runtime};

use super::{
    found::Occasion,
    handle::{Parts, Tracker},
    hooks::{HookMaker, OwnHooks},
    preflight,
};
use crate::{
    config::ConfigSource,
    metrics::Metrics,
    pipeline::{PostHook, PreHook},
    privileges,
};

/// A tracker to be: its configuration, and what the program that embeds it brings along. See [`Tracker::builder`].
#[derive(Clone, Default)]
#[must_use]
pub struct Builder {
    pub(super) source: ConfigSource,
    own: OwnHooks,
    registry: Option<Registry>,
    runtime: Option<Handle>,
    drops_capabilities: bool,
}

impl Builder {
    /// Goes by this configuration: a [`Config`](crate::config::Config) that was made in code, or a
    /// [`ConfigFile`](crate::config::ConfigFile) that [`start`](Self::start) reads. Without one there is
    /// [`Config::default`](crate::config::Config::default), which listens nowhere, and so does not start.
    pub fn config(mut self, source: impl Into<ConfigSource>) -> Self {
        self.source = source.into();
        self
    }

    /// Adds a hook that runs before a reply is made, after those of the configuration and those that were added
    /// before. It stays when the configuration is reloaded. To keep a handle on it, give a clone of its `Arc`.
    pub fn pre_hook(mut self, hook: impl PreHook + 'static) -> Self {
        self.own.pre_hooks.push(Arc::new(hook));
        self
    }

    /// Adds a hook that runs after a reply has been made; otherwise as [`pre_hook`](Self::pre_hook).
    pub fn post_hook(mut self, hook: impl PostHook + 'static) -> Self {
        self.own.post_hooks.push(Arc::new(hook));
        self
    }

    /// Has this registry show the tracker's metrics until the tracker stops, and `/metrics`, where the configuration
    /// has an address for it, serve all that the registry has. Without one, the tracker has a registry of its own,
    /// with the figures of the process (memory, processor time, file descriptors) among the others.
    ///
    /// A registry shows one tracker: a second needs one of its own, with labels perhaps
    /// ([`Registry::new_custom`]).
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Runs what is served over TCP in this runtime, which has to drive I/O and time, and has to have a thread other
    /// than those that call [`Tracker::stop`]. Without one, the tracker has a runtime of its own.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Has the tracker's threads run without capabilities: the start keeps those that it takes to load and attach the
    /// XDP program and to bind ports, and drops them too when it ends. Those of the calling thread stay. Threads of a
    /// [`runtime`](Self::runtime) that was given are the caller's to see to.
    pub fn drop_capabilities(mut self) -> Self {
        self.drops_capabilities = true;
        self
    }

    /// Starts the tracker. It listens when this returns.
    ///
    /// It takes as long as it takes to read the lists of the hooks and to fetch their keys. In asynchronous code, call
    /// it by `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    /// All that is wrong with the configuration, in the words of `xdp-tracker check`; or what cannot be started, and
    /// what to do about it. Nothing runs then.
    pub fn start(self) -> anyhow::Result<Tracker> {
        // The start blocks, which a thread of a runtime must not; and what it drops is not the caller's.
        let start = || {
            if self.drops_capabilities {
                privileges::limit()?;
                privileges::drop_in_threads();
            }
            self.start_here(|| true)?.context("it was told to start")
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("start".into()).spawn_scoped(scope, start);
            thread
                .context("cannot start a thread")?
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs as the daemon does, until SIGINT or SIGTERM: takes signals, serves the control socket, tells the service
    /// manager what it does (`sd_notify`), and drops the capabilities of the calling thread and of all its own.
    /// SIGUSR1, SIGHUP and `xdp-tracker reload` have it go by the configuration anew, which a file is read again for.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn run(self) -> anyhow::Result<()> {
        super::run(self)
    }

    /// Starts the tracker on this thread. `begin` is called when all that can be wrong has been looked at, and nothing
    /// has been changed yet. Returns nothing where it says no.
    pub(super) fn start_here(
        self,
        begin: impl FnOnce() -> bool,
    ) -> anyhow::Result<Option<Tracker>> {
        let metrics = match &self.registry {
            None => Metrics::new(),
            Some(registry) => Metrics::shown_by(registry),
        };
        let metrics = Arc::new(metrics.context(
            "the metrics registry shows another tracker already; each needs one of its own",
        )?);
        let started = self.start_with(&metrics, begin);
        if !matches!(started, Ok(Some(_))) {
            metrics.hide();
        }
        started
    }

    fn start_with(
        self,
        metrics: &Arc<Metrics>,
        begin: impl FnOnce() -> bool,
    ) -> anyhow::Result<Option<Tracker>> {
        let hooks = HookMaker::new(&self.own, metrics);
        let examined = preflight::examine(&self.source, &hooks, Occasion::Start)?;
        for warning in &examined.warnings {
            tracing::warn!("{warning}");
        }
        if !begin() {
            return Ok(None);
        }
        let (runtime, own_runtime) = match self.runtime {
            Some(handle) => (handle, None),
            None => {
                let runtime = own_runtime(self.drops_capabilities)?;
                (runtime.handle().clone(), Some(runtime))
            }
        };
        let parts = Parts { hooks, metrics: Arc::clone(metrics), runtime };
        Tracker::start(examined.prepared, parts, own_runtime).map(Some)
    }
}

/// The threads of the async runtime.
pub(super) fn own_runtime(drops_capabilities: bool) -> anyhow::Result<Runtime> {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.enable_all();
    if drops_capabilities {
        builder.on_thread_start(privileges::drop_all);
    }
    builder.build().context("cannot start the threads of the async runtime")
}
