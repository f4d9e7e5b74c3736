//! A running tracker, as the program that started it holds it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::Context as _;
use prometheus::Registry;
use tokio::runtime::{Handle, Runtime};
use tracker_common::id::InfoHash;

use super::{
    builder::Builder,
    control::Status,
    engine::{Ending, Engine},
    figures::{Stats, Swarm},
    found::Occasion,
    frontends::Frontend,
    hooks::HookMaker,
    preflight::{self, Examined},
    prepared::Prepared,
};
use crate::{
    config::{Config, ConfigSource},
    metrics::Metrics,
    storage::memory::MemoryStorage,
};

/// What a start and each reload are made with.
pub(super) struct Parts {
    pub(super) hooks: HookMaker,
    pub(super) metrics: Arc<Metrics>,
    pub(super) runtime: Handle,
}

/// What a reload has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What an operator should see to.
    pub warnings: Vec<String>,
    /// The keys that have changed and count when a tracker starts, and not before: where it listens, for example.
    pub needs_restart: Vec<&'static str>,
}

/// A running tracker. When it is dropped it stops, as by [`Tracker::stop`].
///
/// It installs no logger (its events are those of the crate `tracing`), takes no signals and drops no capabilities,
/// unless its [`Builder`] was asked to. A process may run several, at one time or one after the other. They share
/// nothing but what `docs/embedding.md` names.
#[must_use = "it stops when it is dropped"]
pub struct Tracker {
    parts: Parts,
    /// `None` when it has stopped.
    engine: Mutex<Option<Engine>>,
    /// Held during a reload, so that one runs at a time.
    reloading: Mutex<()>,
    storage: Arc<MemoryStorage>,
    addresses: Vec<(Frontend, SocketAddr)>,
    /// Where it has one of its own.
    runtime: Mutex<Option<Runtime>>,
}

impl Tracker {
    /// Begins to describe a tracker.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn start(
        prepared: Prepared,
        parts: Parts,
        own_runtime: Option<Runtime>,
    ) -> anyhow::Result<Self> {
        let engine = Engine::start(prepared, parts.hooks.grants(), &parts.metrics, &parts.runtime);
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                if let Some(runtime) = own_runtime {
                    runtime.shutdown_background();
                }
                return Err(error);
            }
        };
        Ok(Self {
            storage: Arc::clone(&engine.storage),
            addresses: engine.frontends.addresses.clone(),
            engine: Mutex::new(Some(engine)),
            reloading: Mutex::default(),
            runtime: Mutex::new(own_runtime),
            parts,
        })
    }

    /// Where each frontend listens. The system has chosen the port of an address that was configured with port 0.
    /// A frontend with several addresses is there several times.
    #[must_use]
    pub fn addresses(&self) -> &[(Frontend, SocketAddr)] {
        &self.addresses
    }

    /// The first address at which this frontend listens.
    #[must_use]
    pub fn address(&self, frontend: Frontend) -> Option<SocketAddr> {
        self.addresses.iter().find(|(listens, _)| *listens == frontend).map(|(_, addr)| *addr)
    }

    /// The swarms of a torrent, which look is no announce: it changes nothing. Browsers have swarms of their own,
    /// which are not among them.
    #[must_use]
    pub fn swarm(&self, info_hash: &InfoHash) -> Swarm {
        Swarm::of(&self.storage, info_hash)
    }

    /// Figures of the tracker as a whole. It takes as long as a scrape of `/metrics`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.storage, &self.parts.metrics)
    }

    /// All metrics of the tracker.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.parts.metrics.registry()
    }

    /// Goes by another configuration: no request is lost, and each goes by the one or by the other. The hooks that the
    /// builder was given stay. Reads lists and fetches keys as [`Builder::start`] does, and waits for a reload that is
    /// under way.
    ///
    /// # Errors
    /// All that is wrong with the configuration, or that the tracker has been stopped. Everything is as it was then.
    pub fn reload(&self, source: impl Into<ConfigSource>) -> anyhow::Result<Reloaded> {
        let reloaded = self.try_reload(&source.into());
        self.parts.metrics.reloads().count(reloaded.is_ok());
        reloaded
    }

    fn try_reload(&self, source: &ConfigSource) -> anyhow::Result<Reloaded> {
        let _reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let examined = preflight::examine(source, &self.parts.hooks, Occasion::Reload)?;
        let Examined { prepared, warnings, .. } = examined;
        let mut engine = self.engine();
        let engine = engine.as_mut().context("the tracker ends")?;
        Ok(Reloaded { warnings, needs_restart: engine.reload(prepared) })
    }

    /// Stops the tracker: it takes no more requests, answers those that it has, saves its snapshot where one is
    /// configured, and leaves nothing in the kernel. Waits for all that, for a few seconds at most where clients or
    /// servers are slow. In asynchronous code, call it by `tokio::task::spawn_blocking`.
    pub fn stop(self) {
        self.end(Ending::Whole);
    }

    /// Stops the tracker as a service does that is to be started again: where `xdp.on_exit` is `keep`, the kernel goes
    /// on answering until the next tracker takes over. Otherwise as [`stop`](Self::stop).
    pub fn stop_for_restart(self) {
        self.end(Ending::AsConfigured);
    }

    /// What it holds until it ends.
    pub(super) fn status(&self) -> Status {
        self.engine().as_ref().map(Engine::status).unwrap_or_default()
    }

    /// Reads something of the configuration in force; `None` when it has stopped.
    pub(super) fn configured<T>(&self, read: impl FnOnce(&Config) -> T) -> Option<T> {
        self.engine().as_ref().map(|engine| read(engine.config()))
    }

    /// Ends it, if that has not been done. A reload that runs changes nothing any more, or everything.
    pub(super) fn end(&self, ending: Ending) {
        let Some(engine) = self.engine().take() else { return };
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It waits for the runtime, which a thread of that must not.
        let stopped =
            thread::scope(|scope| scope.spawn(|| engine.stop(&self.parts.runtime, ending)).join());
        if stopped.is_err() {
            tracing::error!("the end has panicked");
        }
        self.parts.hooks.stop();
        self.parts.metrics.hide();
        if let Some(runtime) = runtime {
            // What still waits for a disk or a server has nothing to do any more.
            runtime.shutdown_background();
        }
    }

    fn engine(&self) -> MutexGuard<'_, Option<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.end(Ending::Whole);
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
