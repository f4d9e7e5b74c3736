//! Answering in the kernel: loads the XDP program, shares the table with it, attaches it, and tells
//! it what the daemon knows.
//!
//! * `load`: the program and its maps; `probe` says whether this host can run it;
//! * `pins`: what of it outlives the daemon;
//! * `policy`: what the kernel may do, from the configuration and the hooks;
//! * `attach`, `endpoints`, `local`: interfaces and addresses, followed as they change; `link` and `nic` know
//!   more of an interface than files tell;
//! * `plan`, `refusal`, `occupant`: where the program may run on an interface, why the kernel does not let it, and
//!   which program is there already;
//! * `lists`, `grants`: what hooks let the program look up;
//! * `publish`: switches the program to a new configuration;
//! * `jiffies`: by which clock it goes;
//! * `grace`: waits until the kernel reads no more what it found before;
//! * `survey`: what the host can do, for `xdp-tracker probe`;
//! * `counters`, `events`: what the kernel has done.

mod attach;
mod counters;
mod endpoints;
mod events;
mod grace;
mod grants;
mod jiffies;
mod link;
mod lists;
mod load;
mod local;
mod nic;
mod occupant;
mod pins;
mod plan;
mod policy;
mod probe;
mod publish;
mod refusal;
mod state;
mod survey;

use std::{
    mem,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tracker_common::abi::flag;

pub use load::Kernel;
pub(crate) use pins::{PinsError, check as check_pins};
pub(crate) use probe::check_host;
pub use survey::{Finding, survey};

use crate::{
    config::{AttachMode, Config, XdpConfig},
    metrics::Metrics,
    pipeline::Pipeline,
    privileges,
    routes::Router,
    storage::memory::{MemoryStorage, TableSize},
    udp::UdpSettings,
};
use attach::Attacher;
use endpoints::Endpoints;
use events::Events;
use grace::wait_for_kernel;
pub use grants::Grants;
pub use jiffies::jiffies;
pub use lists::HookMaps;
use pins::Pins;
use policy::{InKernel, Policies};
use publish::Publisher;

/// How often interfaces and addresses are looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How often events and logs are fetched: the program wakes nobody for them.
const EVENTS_INTERVAL: Duration = Duration::from_millis(50);

/// What becomes of a tracker without the kernel.
pub(crate) const USERSPACE: &str = "serving from userspace only";

/// What becomes of one without a folder of pins.
pub(crate) const WITHOUT_PINS: &str = "a restart will lose the swarms and leave a gap";

pub(crate) const INSISTS: &str = "xdp.mode insists on the kernel; `auto` would do without";

/// The interfaces that the kernel shall answer on; none where all is served from userspace.
///
/// # Errors
/// When one of them does not exist.
pub fn interfaces(config: &Config) -> anyhow::Result<Vec<String>> {
    if config.xdp.mode == AttachMode::Off || config.udp.addr.is_empty() {
        return Ok(Vec::new());
    }
    let names =
        config.xdp.interface_names().context("xdp.interfaces: `auto` cannot be resolved")?;
    for name in &names {
        attach::check_exists(name)?;
    }
    Ok(names.into_iter().collect())
}

/// What is wrong with the interfaces that the configuration names: each that does not exist.
#[must_use]
pub fn missing_interfaces(config: &Config) -> Vec<anyhow::Error> {
    if config.xdp.mode == AttachMode::Off || config.udp.addr.is_empty() {
        return Vec::new();
    }
    match config.xdp.interface_names() {
        Err(error) => {
            let error =
                anyhow::Error::new(error).context("xdp.interfaces: `auto` cannot be resolved");
            vec![error]
        }
        Ok(names) => names.iter().filter_map(|name| attach::check_exists(name).err()).collect(),
    }
}

/// Loads the program for a table of this size, or says in the log why all is served from
/// userspace, and returns `None`.
///
/// # Errors
/// When an interface does not exist, or the configuration insists on a mode that cannot be had.
pub fn load(config: &Config, size: &TableSize) -> anyhow::Result<Option<Kernel>> {
    if interfaces(config)?.is_empty() {
        let why = match config.xdp.mode {
            AttachMode::Off => "xdp.mode is off",
            _ if config.udp.addr.is_empty() => "there is no udp.addr",
            _ => "xdp.interfaces names no interface",
        };
        tracing::info!("{USERSPACE}: {why}");
        remove_leftovers(config);
        return Ok(None);
    }
    let kernel = check_host().and_then(|()| Kernel::load(config, size, open_pins(config)));
    match kernel {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error) if config.xdp.mode == AttachMode::Auto => {
            tracing::warn!("{USERSPACE}: {error:#}");
            remove_leftovers(config);
            Ok(None)
        }
        Err(error) => Err(error.context(INSISTS)),
    }
}

/// The folder of pins, or a warning and none: a tracker without it serves no worse while it runs.
fn open_pins(config: &Config) -> Option<Pins> {
    let folder = &config.xdp.pin_path;
    if folder.as_os_str().is_empty() {
        return None;
    }
    let pins = Pins::open(folder).with_context(|| format!("xdp.pin_path: {}", folder.display()));
    pins.inspect_err(|error| {
        tracing::warn!("{error:#}; {WITHOUT_PINS}");
    })
    .ok()
}

/// The kernel must not answer from a table that nobody keeps any more.
fn remove_leftovers(config: &Config) {
    match detach(config) {
        Ok(0) => {}
        Ok(_) => tracing::info!("detached the program of the tracker before"),
        Err(error) => tracing::debug!("{error:#}"),
    }
}

/// Removes every trace that a tracker which runs no more has left in the kernel. Returns how many pins
/// there were.
///
/// # Errors
/// When a tracker runs, or something cannot be removed.
pub fn detach(config: &Config) -> anyhow::Result<usize> {
    let folder = &config.xdp.pin_path;
    pins::remove(folder).with_context(|| format!("xdp.pin_path: {}", folder.display()))
}

/// What the data plane's thread is told. Without anybody to tell it more, it removes everything.
enum Order {
    /// Go by another configuration.
    Reload(Box<Update>),
    /// End, and leave the kernel answering.
    Leave,
}

/// What a reload brings.
struct Update {
    policies: Policies,
    interfaces: Vec<String>,
    config: XdpConfig,
    /// Of announces.
    routes: Arc<Router>,
    /// Told when the kernel leaves to the daemon all that is going to be decided otherwise.
    ready: mpsc::Sender<()>,
    /// Ends when the daemon goes by the new configuration.
    changed: mpsc::Receiver<()>,
}

/// The running data plane. When it is dropped the program is removed.
pub struct DataPlane {
    /// Dropped to stop the thread.
    orders: Option<mpsc::Sender<Order>>,
    storage: Arc<MemoryStorage>,
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
        udp: &UdpSettings,
        storage: &Arc<MemoryStorage>,
        pipeline: &Arc<ArcSwap<Pipeline>>,
        grants: &Grants,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        counters::register(&mut kernel, metrics)?;
        grants.connect(kernel.ebpf())?;
        let policies = Policies::new(config, udp.connection_ids, storage, pipeline.load_full());
        let names = interfaces(config)?;
        let endpoints = Endpoints::new(&config.udp, names.clone(), metrics);
        let publisher = Publisher::new(&mut kernel, *config.xdp.orphan_limit)?;
        let events =
            Events::new(&mut kernel, &config.xdp, &policies.abi_config(), &udp.routes, pipeline)?;
        let maps = HookMaps::take(kernel.ebpf())?;
        let attacher = Attacher::new(kernel, names, &config.xdp, Arc::clone(metrics));
        let mut worker = Worker {
            storage: Arc::clone(storage),
            attacher,
            endpoints,
            publisher,
            events,
            policies,
            maps,
            in_kernel: None,
        };
        worker.exchange(|| {})?;
        let followed = worker.follow();
        match config.xdp.mode {
            AttachMode::Auto => followed?,
            _ => followed.context(INSISTS)?,
        }
        worker.attacher.tidy();
        let (orders, received) = mpsc::channel();
        let thread = privileges::spawn("data-plane", move || worker.run(&received))
            .context("cannot start the data plane's thread")?;
        let storage = Arc::clone(storage);
        Ok(Self { orders: Some(orders), storage, thread: Some(thread) })
    }

    /// Has the kernel go by another configuration and other hooks, on other interfaces. What it
    /// logs stays as it was. `change` has the daemon do so; it is called when the kernel has left to the
    /// daemon what it is going to decide otherwise.
    pub fn reload(
        &self,
        config: &Config,
        udp: &UdpSettings,
        pipeline: Arc<Pipeline>,
        change: impl FnOnce(),
    ) {
        let interfaces = match interfaces(config) {
            Ok(interfaces) => interfaces,
            Err(error) => {
                change();
                return tracing::error!("the kernel goes on as before: {error:#}");
            }
        };
        let policies = Policies::new(config, udp.connection_ids, &self.storage, pipeline);
        let routes = Arc::clone(&udp.routes);
        let config = config.xdp.clone();
        let ((ready, is_ready), (has_changed, changed)) = (mpsc::channel(), mpsc::channel());
        let update = Update { policies, interfaces, config, routes, ready, changed };
        self.order(Order::Reload(Box::new(update)));
        // Without its thread there is nobody to wait for.
        let _ = is_ready.recv();
        change();
        drop(has_changed);
    }

    /// Ends, and leaves the kernel answering for the next daemon to take over. What is not pinned ends
    /// with the process.
    pub fn leave(self) {
        self.order(Order::Leave);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Without its thread, the data plane has said why.
            let _ = orders.send(order);
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.orders = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the data plane's thread had panicked");
        }
    }
}

struct Worker {
    storage: Arc<MemoryStorage>,
    attacher: Attacher,
    endpoints: Endpoints,
    publisher: Publisher,
    events: Events,
    policies: Policies,
    maps: HookMaps,
    /// What the kernel was told last.
    in_kernel: Option<InKernel>,
}

impl Worker {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        let mut follow_at = Instant::now() + FOLLOW_INTERVAL;
        loop {
            let pause = if self.events.are_wanted() { EVENTS_INTERVAL } else { FOLLOW_INTERVAL };
            match orders.recv_timeout(pause) {
                Ok(Order::Reload(update)) => {
                    self.apply(*update);
                    follow_at = Instant::now();
                }
                Ok(Order::Leave) => return self.leave(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.events.drain();
            if Instant::now() >= follow_at {
                if let Err(error) = self.follow() {
                    tracing::error!("{error:#}");
                }
                follow_at = Instant::now() + FOLLOW_INTERVAL;
            }
        }
        let Self { attacher, mut events, .. } = self;
        attacher.remove();
        events.drain();
    }

    /// From this last sign of life on, the program goes on alone.
    fn leave(mut self) {
        if let Err(error) = self.publisher.set_clock() {
            tracing::error!("{error:#}");
        }
        self.events.drain();
    }

    /// The rest is for [`Worker::follow`].
    fn apply(&mut self, update: Update) {
        let Update { policies, interfaces, config, routes, ready, changed } = update;
        self.publisher.set_orphan_limit(*config.orphan_limit);
        // Until the daemon has others, its hooks go by the lists that they have.
        let before = mem::replace(&mut self.policies, policies);
        self.events.reload(&self.policies.abi_config(), config.events.into(), routes);
        let exchanged = self.exchange(|| {
            // Whoever has gone does not wait.
            let _ = ready.send(());
            let _ = changed.recv();
        });
        drop(before);
        if let Err(error) = exchanged {
            tracing::error!("the kernel goes by the configuration before: {error:#}");
        }
        self.attacher.reload(&interfaces, &config);
        self.endpoints.reload(interfaces);
    }

    /// Has kernel and daemon go by what is coming. `change` returns when the daemon does.
    fn exchange(&mut self, change: impl FnOnce()) -> anyhow::Result<()> {
        self.policies.prepare();
        let coming = self.policies.coming();
        let others_decide = self.others_decide(&coming.in_kernel);
        let held_back = self.publisher.hold_back(others_decide);
        self.policies.hold_back(&coming);
        // A run of the program may still go by what it was told before.
        wait_for_kernel();
        self.policies.commit();
        change();
        let in_kernel = self.policies.enter(coming);
        held_back?;
        self.go_by(in_kernel, others_decide)
    }

    /// Whether it is not for lists of torrents alone to decide otherwise than before.
    fn others_decide(&self, coming: &InKernel) -> bool {
        let InKernel { config, listed, networks } = coming;
        // What the maps hold that a daemon before has filled is not known.
        let are_listed = match &self.in_kernel {
            Some(before) => (&before.listed, &before.networks) == (listed, networks),
            None => listed.is_empty() && networks.is_empty(),
        };
        !are_listed || self.publisher.decides_by() != publish::decides_by(config)
    }

    fn go_by(&mut self, in_kernel: InKernel, others_decide: bool) -> anyhow::Result<()> {
        let mut config = in_kernel.config;
        if others_decide && let Err(error) = self.maps.set(&in_kernel.listed, &in_kernel.networks) {
            tracing::error!("the daemon serves every announce: {error:#}");
            config.policy.pass_all();
            config.flags |= flag::JUDGES;
        }
        self.in_kernel = Some(in_kernel);
        self.publisher.set_policy(&config)
    }

    /// Brings what the kernel knows up to date: lists that are to change, then addresses, so that an
    /// interface never answers for ones it has lost, then interfaces, then how the program tells the time.
    fn follow(&mut self) -> anyhow::Result<()> {
        if self.policies.prepare() {
            self.exchange(|| {})?;
        }
        if let Some((v4, v6)) = self.endpoints.changed() {
            self.publisher
                .set_endpoints(&v4, &v6)
                .context("cannot tell the kernel the tracker's addresses")?;
        } else {
            self.publisher.set_clock()?;
        }
        self.publisher
            .set_local(&local::addresses())
            .context("cannot tell the kernel this machine's addresses")?;
        let followed = self.attacher.follow();
        let links = self.attacher.links();
        self.storage.set_counted(self.attacher.seen(&links));
        self.publisher
            .set_links(links)
            .context("cannot tell the kernel the interfaces' MAC addresses")?;
        self.publisher.set_jiffies(self.attacher.jiffies()?);
        followed
    }
}
