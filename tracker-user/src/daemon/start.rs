//! The start, on a thread of its own: it reads files and waits for servers, and must not keep signals waiting.
//!
//! Told to stop, the daemon does not wait for a start that has only read so far. One that is at the kernel's
//! tables already gets a moment to end, so that the tracker can be stopped as any other; one that still waits
//! then is broken off, and leaves what a crash would.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Parts,
    found::Occasion,
    notify::{self, Watchdog},
    preflight,
    prepared::Prepared,
    signals::{Signal, Signals},
    tracker::Tracker,
};
use crate::privileges;

/// How long a start that has begun to change something may take to end.
const END_MAX: Duration = Duration::from_secs(2);

/// A tracker that tracks.
pub(super) struct Started {
    pub(super) tracker: Tracker,
    /// A signal has asked for it meanwhile.
    pub(super) is_reload_wanted: bool,
}

/// How far a start has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It reads and asks, and changes nothing.
    #[default]
    Prepares,
    /// It changes what the kernel has, or the network.
    Starts,
    /// It shall not begin to.
    IsStopped,
}

/// Shared by the thread that starts and the one that waits.
#[derive(Default)]
struct Progress(Mutex<Phase>);

impl Progress {
    /// Goes on to a phase, unless the start is at another than that of preparing. Returns whether it is there.
    fn go_on(&self, next: Phase) -> bool {
        let mut phase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Prepares {
            *phase = next;
        }
        *phase == next
    }
}

/// Starts the tracker, and answers signals and the watchdog meanwhile. Returns nothing where it was told to stop.
/// From then on this thread has no capabilities.
///
/// # Errors
/// What cannot be started.
pub(super) async fn start(
    parts: &Arc<Parts>,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) -> anyhow::Result<Option<Started>> {
    let progress = Arc::new(Progress::default());
    let (send, mut outcome) = oneshot::channel();
    let work = {
        let (parts, progress) = (Arc::clone(parts), Arc::clone(&progress));
        // It needs the capabilities of this one.
        move || {
            let started = make(&parts, &progress);
            privileges::drop_all();
            // To drop it would take away what the next daemon is to take over.
            if let Err(Some(Ok(tracker))) = send.send(started) {
                mem::forget(tracker);
            }
        }
    };
    thread::Builder::new().name("start".into()).spawn(work).context("cannot start a thread")?;
    privileges::drop_all();
    let mut is_reload_wanted = false;
    let stopped_by = loop {
        tokio::select! {
            ended = &mut outcome => {
                let ended = ended.context("the start has panicked")?;
                let tracker = ended.transpose()?;
                return Ok(tracker.map(|tracker| Started { tracker, is_reload_wanted }));
            }
            signal = signals.next() => match signal {
                Signal::Stop(name) => break name,
                Signal::Reload(name) => {
                    tracing::info!("{name}: the configuration is read again after the start");
                    is_reload_wanted = true;
                }
            },
            () = watchdog.tick(true) => {}
        }
    };
    tracing::info!("{stopped_by}: the start is broken off");
    notify::stopping();
    if progress.go_on(Phase::IsStopped) {
        return Ok(None);
    }
    let ended = match timeout(END_MAX, &mut outcome).await {
        Ok(ended) => ended.ok(),
        Err(_) => {
            // It may have come at the last moment.
            outcome.close();
            outcome.try_recv().ok()
        }
    };
    match ended.flatten() {
        Some(Ok(tracker)) => end(tracker, parts, stopped_by),
        Some(Err(error)) => tracing::error!("{error:#}"),
        None => tracing::warn!(
            "what the start has left in the kernel is for the next one; `xdp-tracker detach` removes it"
        ),
    }
    Ok(None)
}

/// Stops a tracker that has just started: in a thread, since that waits for the runtime, which this one is in.
fn end(tracker: Tracker, parts: &Parts, signal: &str) {
    let stopped =
        thread::scope(|scope| scope.spawn(|| tracker.stop(&parts.runtime, signal)).join());
    if stopped.is_err() {
        tracing::error!("the end has panicked");
    }
}

/// The work of the thread. Returns nothing where it is not wanted any more.
fn make(parts: &Parts, progress: &Progress) -> Option<anyhow::Result<Tracker>> {
    let prepared = match prepare(parts) {
        Ok(prepared) => prepared,
        Err(error) => return Some(Err(error)),
    };
    if !progress.go_on(Phase::Starts) {
        return None;
    }
    Some(Tracker::start(prepared, parts.hooks.grants(), &parts.metrics, &parts.runtime))
}

fn prepare(parts: &Parts) -> anyhow::Result<Prepared> {
    let examined = preflight::examine(&parts.file, &parts.hooks, Occasion::Start)?;
    for warning in &examined.warnings {
        tracing::warn!("{warning}");
    }
    Ok(examined.prepared)
}
