//! Puts the parts together: from a configuration to a running tracker, on to the next configuration,
//! and back down.

mod announce_urls;
mod builder;
mod control;
mod engine;
mod figures;
mod found;
mod frontends;
mod handle;
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

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use tokio::runtime::Runtime;

pub use builder::Builder;
pub use control::{request_reload, request_status};
pub use figures::{Stats, Swarm};
pub use frontends::Frontend;
pub use handle::{Reloaded, Tracker};

use crate::{
    config::{Config, ConfigFile},
    metrics::Metrics,
    privileges,
};
use builder::own_runtime;
use control::Control;
use found::Occasion;
use hooks::{HookMaker, OwnHooks};
use notify::Watchdog;
use preflight::Examined;
use reload::Reloads;
use signals::{Signal, Signals};
use start::Started;

/// Tracks until SIGINT or SIGTERM; see [`Builder::run`]. The calling thread only answers: what reads files or waits for
/// others, the start and each reload, has a thread of its own.
fn run(builder: Builder) -> anyhow::Result<()> {
    privileges::limit()?;
    let runtime = own_runtime(true)?;
    let ended = track(&runtime, builder);
    // What still waits for a disk or a server has nothing to do any more.
    runtime.shutdown_background();
    ended
}

fn track(runtime: &Runtime, builder: Builder) -> anyhow::Result<()> {
    // Before anything slow, so that a signal during the start is not the end.
    let _runtime = runtime.enter();
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut watchdog = Watchdog::new();
    let source = builder.source.clone();
    let builder = builder.runtime(runtime.handle().clone());
    let started = runtime.block_on(start::start(builder, &mut signals, &mut watchdog))?;
    let Some(Started { tracker, is_reload_wanted }) = started else { return Ok(()) };
    let socket = tracker.configured(|config| config.control_socket.clone()).unwrap_or_default();
    let mut control = Control::listen(&socket, tracker.status(), &source);
    tracing::info!("ready");
    notify::ready();
    let mut reloads = Reloads::new(source, tracker, runtime.handle());
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
    reloads.end(signals::ending(stopped_by));
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
    let Examined { prepared, warnings, notes, file } =
        preflight::examine(&file.clone().into(), &hooks, occasion)?;
    Ok(Checked { config: prepared.config().clone(), warnings, notes, file })
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
