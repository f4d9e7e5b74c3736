//! Puts the parts together: from a configuration to a running tracker, on to the next configuration,
//! and back down.

mod control;
mod found;
mod frontends;
mod hooks;
mod kept;
mod listen;
mod notify;
mod observe;
mod offline;
mod options;
mod preflight;
mod prepared;
mod reload;
mod restart;
mod secrets;
mod signals;
mod start;
#[cfg(test)]
mod tests;
mod tracker;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

pub use control::{request_reload, request_status};
pub use hooks::OwnHooks;

use crate::{
    config::{Config, ConfigFile},
    metrics::Metrics,
    privileges,
};
use control::Control;
use found::Occasion;
use hooks::HookMaker;
use notify::Watchdog;
use preflight::Examined;
use reload::Reloads;
use signals::{Signal, Signals};
use start::Started;

/// Tracks until SIGINT or SIGTERM. SIGUSR1, SIGHUP and the control socket make it read `file` again.
/// The calling thread loses its capabilities. It only answers: what reads files or waits for others, the start
/// and each reload, has a thread of its own.
///
/// # Errors
/// When something cannot be started; the message says what, and what to do about it.
pub fn run(file: &ConfigFile) -> anyhow::Result<()> {
    run_with(file, &OwnHooks::default())
}

/// As [`run`], with hooks of one's own after those of the configuration.
///
/// # Errors
/// As for [`run`].
pub fn run_with(file: &ConfigFile, own: &OwnHooks) -> anyhow::Result<()> {
    privileges::limit()?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(privileges::drop_all)
        .build()
        .context("cannot start the threads of the async runtime")?;
    let ended = track(&runtime, file, own);
    // What still waits for a disk or a server has nothing to do any more.
    runtime.shutdown_background();
    ended
}

fn track(runtime: &Runtime, file: &ConfigFile, own: &OwnHooks) -> anyhow::Result<()> {
    // Before anything slow, so that a signal during the start is not the end.
    let _runtime = runtime.enter();
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut watchdog = Watchdog::new();
    let metrics = Arc::new(Metrics::new()?);
    let hooks = HookMaker::new(own, &metrics);
    let handle = runtime.handle().clone();
    let parts = Arc::new(Parts { file: file.clone(), hooks, metrics, runtime: handle });
    let started = runtime.block_on(start::start(&parts, &mut signals, &mut watchdog))?;
    let Some(Started { tracker, is_reload_wanted }) = started else { return Ok(()) };
    let mut control = Control::listen(&tracker.config().control_socket, tracker.status());
    tracing::info!("ready");
    notify::ready();
    let mut reloads = Reloads::new(&parts, tracker);
    if is_reload_wanted {
        reloads.want("a signal during the start", None);
    }

    let stopped_by = loop {
        let is_reloading = reloads.runs();
        let event = runtime.block_on(async {
            tokio::select! {
                signal = signals.next() => Event::Signal(signal),
                client = control.next() => Event::Client(client),
                socket = reloads.ended() => Event::Reloaded(socket),
                () = watchdog.tick(is_reloading) => Event::Watchdog,
            }
        });
        match event {
            Event::Signal(Signal::Stop(name)) => break name,
            Event::Signal(Signal::Reload(name)) => reloads.want(name, None),
            Event::Client(client) => reloads.want("control socket", Some(client)),
            Event::Reloaded(socket) => control = control.follow(&socket),
            Event::Watchdog => {}
        }
    };
    tracing::info!("{stopped_by}: shutting down");
    notify::stopping();
    drop(control);
    if let Some(tracker) = reloads.end() {
        tracker.stop(runtime.handle(), stopped_by);
    }
    parts.hooks.stop();
    Ok(())
}

/// Where a configuration is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the tracker is going to run, or runs.
    Host,
    /// Anywhere: what belongs to the host is left out.
    Offline,
}

/// A configuration with which a tracker can start.
#[derive(Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What the operator should see to.
    pub warnings: Vec<String>,
    /// What cannot be told from here, and what looks wrong and is not.
    pub notes: Vec<String>,
    /// The file, as messages name it.
    pub file: String,
}

/// Tells whether a tracker could start with this configuration, here and as this user: by the steps that a start
/// takes before it changes anything. The calling thread loses the capabilities that a start has no need of.
///
/// # Errors
/// All that is wrong, in the words of a start.
pub fn check(file: &ConfigFile, place: Place) -> anyhow::Result<Checked> {
    privileges::limit()?;
    let hooks = HookMaker::new(&OwnHooks::default(), &Arc::new(Metrics::new()?));
    let occasion = match place {
        Place::Host => Occasion::Check,
        Place::Offline => Occasion::Offline,
    };
    let Examined { prepared, warnings, notes, file } = preflight::examine(file, &hooks, occasion)?;
    Ok(Checked { config: prepared.config().clone(), warnings, notes, file })
}

/// What a start and each reload are made with.
struct Parts {
    file: ConfigFile,
    hooks: HookMaker,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

enum Event {
    Signal(Signal),
    Client(control::Client),
    /// A reload has ended; this is the control socket of the configuration in force.
    Reloaded(PathBuf),
    Watchdog,
}

/// What came of a reload, for whoever asked for it.
#[derive(Debug, Clone)]
struct Report {
    is_applied: bool,
    lines: Vec<String>,
}
