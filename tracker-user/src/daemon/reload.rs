//! Reloads, each on a thread of its own: the main loop goes on answering while lists are read and keys fetched.
//!
//! One runs at a time. What is asked for meanwhile is one more reload when it has ended, however often it is
//! asked for: the file may have changed after it was read.

use std::{
    mem,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    Parts, Report,
    control::Client,
    found::Occasion,
    notify,
    preflight::{self, Examined},
    tracker::Tracker,
};
use crate::privileges;

/// How many clients may wait for a reload.
const CLIENTS_MAX: usize = 64;

/// The reloads of a tracker.
pub(super) struct Reloads {
    parts: Arc<Parts>,
    tracker: Shared,
    running: Option<Running>,
    /// To be begun when the one that runs has ended.
    next: Option<Request>,
}

/// Empty when the tracker ends.
type Shared = Arc<Mutex<Option<Tracker>>>;

fn lock(tracker: &Shared) -> MutexGuard<'_, Option<Tracker>> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Request {
    asked_by: &'static str,
    /// Another one ran when it was asked for.
    has_waited: bool,
    clients: Vec<Client>,
}

struct Running {
    has_waited: bool,
    ended: oneshot::Receiver<Report>,
    clients: Vec<Client>,
}

impl Reloads {
    pub(super) fn new(parts: &Arc<Parts>, tracker: Tracker) -> Self {
        let tracker = Arc::new(Mutex::new(Some(tracker)));
        Self { parts: Arc::clone(parts), tracker, running: None, next: None }
    }

    /// Whether one runs.
    pub(super) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a reload, now or after the one that runs. The client is told what comes of it.
    pub(super) fn want(&mut self, asked_by: &'static str, client: Option<Client>) {
        let has_waited = self.runs();
        let new = || Request { asked_by, has_waited, clients: Vec::new() };
        let next = self.next.get_or_insert_with(new);
        match client {
            Some(client) if next.clients.len() >= CLIENTS_MAX => {
                let lines = vec!["too many wait for a reload already".to_owned()];
                self.answer(vec![client], &Report { is_applied: false, lines });
            }
            client => next.clients.extend(client),
        }
        if has_waited {
            tracing::info!(
                "{asked_by}: a reload is under way; {} is read again when it has ended",
                self.parts.file
            );
        } else {
            self.begin();
        }
    }

    /// Waits for the end of the one that runs, if one does, and tells what came of it. Returns the control
    /// socket of the configuration in force.
    pub(super) async fn ended(&mut self) -> PathBuf {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let mut report = (&mut running.ended).await.unwrap_or_else(|_| Report {
            is_applied: false,
            lines: vec!["the reload has panicked".to_owned()],
        });
        if running.has_waited {
            let line = "another reload was under way; this one began when it had ended";
            report.lines.push(line.to_owned());
        }
        let clients = mem::take(&mut running.clients);
        self.running = None;
        notify::ready();
        self.answer(clients, &report);
        let socket = lock(&self.tracker).as_ref().map(|it| it.config().control_socket.clone());
        if self.next.is_some() {
            self.begin();
        }
        socket.unwrap_or_default()
    }

    /// No reload changes anything from now on. Returns the tracker, when it has been changed as a whole.
    pub(super) fn end(self) -> Option<Tracker> {
        lock(&self.tracker).take()
    }

    fn begin(&mut self) {
        let Some(Request { asked_by, has_waited, clients }) = self.next.take() else { return };
        tracing::info!("{asked_by}: reloading {}", self.parts.file);
        notify::reloading();
        let (send, ended) = oneshot::channel();
        let (parts, tracker) = (Arc::clone(&self.parts), Arc::clone(&self.tracker));
        let thread = privileges::spawn("reload", move || {
            // When the tracker ends, no client waits for the answer.
            let _ = send.send(reload(&parts, &tracker));
        });
        if let Err(error) = thread {
            tracing::error!("there can be no thread to reload: {error}");
        }
        self.running = Some(Running { has_waited, ended, clients });
    }

    fn answer(&self, clients: Vec<Client>, report: &Report) {
        for client in clients {
            let report = report.clone();
            self.parts.runtime.spawn(async move { client.answer(&report).await });
        }
    }
}

/// Reads the configuration again and applies what can be applied. Whatever is wrong leaves
/// everything as it was.
fn reload(parts: &Parts, tracker: &Shared) -> Report {
    let examined = preflight::examine(&parts.file, &parts.hooks, Occasion::Reload);
    let reloaded = examined.and_then(|Examined { prepared, warnings: mut lines, .. }| {
        let waiting = match &mut *lock(tracker) {
            Some(tracker) => tracker.reload(prepared),
            None => anyhow::bail!("the tracker ends"),
        };
        if !waiting.is_empty() {
            lines
                .push(format!("these changes take effect after a restart: {}", waiting.join(", ")));
        }
        Ok(lines)
    });
    parts.metrics.reloads().count(reloaded.is_ok());
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
