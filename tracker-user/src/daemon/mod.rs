//! Puts the parts together: from a configuration to a running tracker, on to the next configuration,
//! and back down.

mod control;
mod frontends;
mod hooks;
mod listen;
mod notify;
mod observe;
mod options;
mod prepared;
mod restart;
mod secrets;
mod signals;
#[cfg(test)]
mod tests;
mod tracker;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::Builder;

pub use control::request_reload;
pub use hooks::OwnHooks;

use crate::{
    config::{Config, ConfigFile, OnExit},
    metrics::Metrics,
    privileges,
};
use control::Control;
use hooks::HookMaker;
use prepared::Prepared;
use signals::{Signal, Signals};
use tracker::Tracker;

/// Tracks until SIGINT or SIGTERM. SIGUSR1, SIGHUP and the control socket make it read `file` again.
/// The calling thread loses its capabilities.
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
    // Before anything slow, so that a signal during the start is not the end.
    let _runtime = runtime.enter();
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let loaded = file.load()?;
    loaded.log_warnings();
    let metrics = Arc::new(Metrics::new()?);
    let hooks = HookMaker::new(own, &metrics);
    let prepared = Prepared::new(loaded.config, &hooks)?;
    let mut tracker = Tracker::start(prepared, hooks.grants(), &metrics, &runtime)?;
    let mut control = Control::listen(&tracker.config().control_socket);
    privileges::drop_all();
    tracing::info!("ready");
    notify::ready();
    let mut watchdog = notify::watchdog();

    let is_kernel_kept = loop {
        let event = runtime.block_on(async {
            tokio::select! {
                signal = signals.next() => Event::Signal(signal),
                client = control.next() => Event::Client(client),
                () = tick(&mut watchdog) => Event::Watchdog,
            }
        });
        match event {
            Event::Signal(Signal::Stop(name)) => {
                tracing::info!("{name}: shutting down");
                // Who presses Ctrl-C is not about to start it again, and wants nothing left.
                break name == signals::TERMINATE && tracker.config().xdp.on_exit == OnExit::Keep;
            }
            Event::Signal(Signal::Reload(name)) => {
                reload(&mut tracker, file, &hooks, name, &metrics);
            }
            Event::Watchdog => notify::alive(),
            Event::Client(client) => {
                let report = reload(&mut tracker, file, &hooks, "control socket", &metrics);
                runtime.block_on(client.answer(&report));
            }
        }
        control = control.follow(&tracker.config().control_socket);
    };
    notify::stopping();
    drop(control);
    tracker.stop(&runtime, is_kernel_kept);
    hooks.stop();
    Ok(())
}

/// Tells whether a tracker could start with this configuration, as far as that can be told without
/// starting it: what is in the files that it names, too.
///
/// # Errors
/// What is wrong.
pub fn check(config: Config) -> anyhow::Result<()> {
    let hooks = HookMaker::new(&OwnHooks::default(), &Arc::new(Metrics::new()?));
    Prepared::new(config, &hooks).map(drop)
}

enum Event {
    Signal(Signal),
    Client(control::Client),
    Watchdog,
}

/// Waits for the next time to tell the watchdog that we live; for ever without one.
async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(watchdog) => _ = watchdog.tick().await,
        None => std::future::pending().await,
    }
}

/// What came of a reload, for whoever asked for it.
struct Report {
    is_applied: bool,
    lines: Vec<String>,
}

/// Reads the configuration again and applies what can be applied. Whatever is wrong leaves
/// everything as it was.
fn reload(
    tracker: &mut Tracker,
    file: &ConfigFile,
    hooks: &HookMaker,
    asked_by: &str,
    metrics: &Metrics,
) -> Report {
    tracing::info!("{asked_by}: reloading {}", file.path);
    notify::reloading();
    let reloaded = file.load().map_err(anyhow::Error::new).and_then(|loaded| {
        let mut lines: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        let prepared = Prepared::new(loaded.config, hooks)?;
        let waiting = tracker.reload(prepared);
        if !waiting.is_empty() {
            lines
                .push(format!("these changes take effect after a restart: {}", waiting.join(", ")));
        }
        Ok(lines)
    });
    metrics.reloads().count(reloaded.is_ok());
    notify::ready();
    match reloaded {
        Ok(lines) => {
            for line in &lines {
                tracing::warn!("{line}");
            }
            tracing::info!("reloaded");
            Report { is_applied: true, lines }
        }
        Err(error) => {
            tracing::error!("the configuration stays as it was: {error:#}");
            Report { is_applied: false, lines: vec![format!("{error:#}")] }
        }
    }
}
