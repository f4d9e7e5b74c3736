//! Answering in the kernel: loads the XDP program, shares the table with it, attaches it, and tells
//! it what the daemon knows.
//!
//! * `load`: the program and its maps; `probe` says whether this host can run it;
//! * `policy`: what the kernel may do, from the configuration and the hooks;
//! * `attach`, `endpoints`: interfaces and addresses, followed as they change; `link` knows more of an
//!   interface than files tell;
//! * `publish`: switches the program to a new configuration;
//! * `counters`, `events`: what the kernel has done.

mod attach;
mod counters;
mod endpoints;
mod events;
mod link;
mod load;
mod policy;
mod probe;
mod publish;

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tracker_common::connection::ConnectionIds;

pub use load::Kernel;

use crate::{
    config::{AttachMode, Config},
    metrics::Metrics,
    pipeline::Pipeline,
    storage::memory::{MemoryStorage, TableSize},
};
use attach::Attacher;
use endpoints::Endpoints;
use events::Events;
use publish::Publisher;

/// How often interfaces and addresses are looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often events and logs are fetched: the program wakes nobody for them.
const EVENTS_INTERVAL: Duration = Duration::from_millis(50);

/// Loads the program for a table of this size, or says in the log why all is served from
/// userspace, and returns `None`.
///
/// # Errors
/// When an interface does not exist, or the configuration insists on a mode that cannot be had.
pub fn load(config: &Config, size: &TableSize) -> anyhow::Result<Option<Kernel>> {
    let names =
        config.xdp.interface_names().context("xdp.interfaces: `auto` cannot be resolved")?;
    if config.xdp.mode == AttachMode::Off || config.udp.addr.is_empty() {
        tracing::info!("serving from userspace only: xdp.mode is off, or there is no udp.addr");
        return Ok(None);
    }
    if names.is_empty() {
        tracing::info!("serving from userspace only: xdp.interfaces names no interface");
        return Ok(None);
    }
    for name in &names {
        attach::check_exists(name)?;
    }
    let kernel = probe::check_host().and_then(|()| Kernel::load(config, size));
    match kernel {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error) if config.xdp.mode == AttachMode::Auto => {
            tracing::warn!("serving from userspace only: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context("xdp.mode insists on the kernel; `auto` would do without")),
    }
}

/// The running data plane. When it is dropped the program is detached.
pub struct DataPlane {
    /// Dropped to stop the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DataPlane {
    /// Publishes the configuration to the kernel, attaches, and goes on following interfaces,
    /// addresses and events in a thread.
    ///
    /// # Errors
    /// When a map cannot be used, or an interface cannot be attached to in the mode that the
    /// configuration insists on.
    pub fn start(
        mut kernel: Kernel,
        config: &Config,
        connection_ids: ConnectionIds,
        storage: &Arc<MemoryStorage>,
        pipeline: &Arc<ArcSwap<Pipeline>>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        counters::register(&mut kernel, metrics)?;
        let policy = policy::compile(config, connection_ids, storage, &pipeline.load());
        let names: Vec<_> = config.xdp.interface_names()?.into_iter().collect();
        let endpoints = Endpoints::new(&config.udp, names.clone(), metrics);
        let publisher = Publisher::new(&mut kernel, policy)?;
        let events = Events::new(&mut kernel, config, &policy, Arc::clone(pipeline))?;
        let mut worker = Worker {
            attacher: Attacher::new(kernel, names, &config.xdp, Arc::clone(metrics)),
            endpoints,
            publisher,
            events,
        };
        worker.follow()?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("data-plane".to_owned())
            .spawn(move || worker.run(&stopped))
            .context("cannot start the data plane's thread")?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the data plane's thread had panicked");
        }
    }
}

struct Worker {
    attacher: Attacher,
    endpoints: Endpoints,
    publisher: Publisher,
    events: Events,
}

impl Worker {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let pause = if self.events.are_wanted() { EVENTS_INTERVAL } else { FOLLOW_INTERVAL };
        let mut follow_at = Instant::now() + FOLLOW_INTERVAL;
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            self.events.drain();
            if Instant::now() >= follow_at {
                if let Err(error) = self.follow() {
                    tracing::error!("{error:#}");
                }
                follow_at = Instant::now() + FOLLOW_INTERVAL;
            }
        }
        self.attacher.detach();
        self.events.drain();
    }

    /// Brings what the kernel knows up to date: first addresses, so that an interface never answers
    /// for ones it has lost, then interfaces.
    fn follow(&mut self) -> anyhow::Result<()> {
        if let Some((v4, v6)) = self.endpoints.changed() {
            self.publisher
                .set_endpoints(&v4, &v6)
                .context("cannot tell the kernel the tracker's addresses")?;
        } else {
            self.publisher.set_clock()?;
        }
        self.attacher.follow()
    }
}
