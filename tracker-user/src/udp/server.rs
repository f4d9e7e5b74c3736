//! Serves UDP: workers, each a thread with a socket of its own for each address.

use std::{
    io::{self, PipeReader, PipeWriter},
    net::SocketAddr,
    os::fd::AsFd,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use socket2::Socket;

use super::{
    Observe,
    answer::{Datagram, Outcome, Scratch, UdpFrontend},
    batch::{BATCH, Batch, Poll, Request},
    listen::{self, listen},
    settings::UdpSettings,
};
use crate::{
    clock::wall_ns,
    log_limit::LogLimit,
    pipeline::{Pipeline, Refusal},
    privileges,
};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// No socket for this address.
    #[error("cannot listen on udp {addr}{}", advice(.source))]
    Listen {
        /// One of the configuration's.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No thread, or no means to stop it.
    #[error("cannot start a UDP worker")]
    Worker(#[source] io::Error),
}

/// What to do about it, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program listens there, or it is configured twice; `ss -ulpn` names it"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        io::ErrorKind::PermissionDenied => {
            ": ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// Tells whether a server of the addresses `all` could listen at `addr`, one of them.
///
/// # Errors
/// Why not.
pub(crate) fn try_listen(addr: SocketAddr, all: &[SocketAddr]) -> Result<(), UdpError> {
    listen::try_listen(addr, all).map_err(|source| UdpError::Listen { addr, source })
}

/// Running workers. They end when this is dropped; [`UdpServer::stop`] also waits for that.
pub struct UdpServer {
    frontend: Arc<ArcSwap<UdpFrontend>>,
    addrs: Vec<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    stop: PipeWriter,
}

impl UdpServer {
    /// Binds all sockets, then starts the workers. The pipeline may be exchanged at any time; it is
    /// looked up once for each batch of requests.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread cannot be started; nothing is running then.
    pub fn start(
        settings: UdpSettings,
        pipeline: Arc<ArcSwap<Pipeline>>,
        observer: Arc<dyn Observe>,
    ) -> Result<Self, UdpError> {
        let mut addrs = Vec::new();
        let mut sockets_of_workers: Vec<Vec<Socket>> = Vec::new();
        sockets_of_workers.resize_with(settings.workers().get(), Vec::new);
        for addr in settings.addrs() {
            let failed = |source| UdpError::Listen { addr, source };
            for sockets in listen(addr, &settings).map_err(failed)? {
                let bound = sockets[0].local_addr().map_err(failed)?;
                addrs.extend(bound.as_socket());
                for (worker, socket) in sockets_of_workers.iter_mut().zip(sockets) {
                    worker.push(socket);
                }
            }
        }
        let (stopped, stop) = io::pipe().map_err(UdpError::Worker)?;
        let frontend = Arc::new(ArcSwap::from_pointee(UdpFrontend::at(settings, &addrs)));
        let mut workers = Vec::new();
        for (index, sockets) in sockets_of_workers.into_iter().enumerate() {
            let worker = Worker {
                sockets,
                stopped: stopped.try_clone().map_err(UdpError::Worker)?,
                frontend: Arc::clone(&frontend),
                pipeline: Arc::clone(&pipeline),
                observer: Arc::clone(&observer),
                batch: Batch::new(),
                scratches: std::iter::repeat_with(Scratch::default).take(BATCH).collect(),
                complaints: LogLimit::default(),
            };
            let thread = privileges::spawn(format!("udp-{index}"), move || worker.run());
            workers.push(thread.map_err(UdpError::Worker)?);
        }
        Ok(Self { frontend, addrs, workers, stop })
    }

    /// Replaces the settings from the next batch of requests on, but for addresses, workers and
    /// buffers: those of the start stay.
    pub fn reload(&self, settings: UdpSettings) {
        self.frontend.store(Arc::new(UdpFrontend::at(settings, &self.addrs)));
    }

    /// Where the server listens, with the ports that the system chose for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Stops the workers and waits for them: each answers the batch in its hands. Then the sockets
    /// are closed.
    pub fn stop(self) {
        drop(self.stop);
        for worker in self.workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

struct Worker {
    sockets: Vec<Socket>,
    /// Closed at its other end to stop the workers, which wakes all of them.
    stopped: PipeReader,
    frontend: Arc<ArcSwap<UdpFrontend>>,
    pipeline: Arc<ArcSwap<Pipeline>>,
    observer: Arc<dyn Observe>,
    batch: Batch,
    /// One for each request of a batch, since post-hooks see them when all are answered.
    scratches: Box<[Scratch]>,
    /// Strangers can provoke them.
    complaints: LogLimit,
}

impl Worker {
    fn run(mut self) {
        let stopped = self.sockets.len();
        let files = self.sockets.iter().map(AsFd::as_fd).chain([self.stopped.as_fd()]);
        let mut poll = Poll::new(files);
        loop {
            if let Err(error) = poll.wait() {
                tracing::error!(%error, "a UDP worker ends: it cannot wait for requests");
                return;
            }
            if poll.is_ready(stopped) {
                return;
            }
            for socket in 0..self.sockets.len() {
                if poll.is_ready(socket) {
                    self.serve(socket);
                }
            }
        }
    }

    /// Answers one batch; what has arrived beyond it makes the next `poll` return at once.
    fn serve(&mut self, socket: usize) {
        let socket = &self.sockets[socket];
        let wall_ns = wall_ns();
        if let Err(error) = self.batch.receive(socket) {
            // Another worker may have been faster; an error belongs to an earlier reply.
            if error.kind() != io::ErrorKind::WouldBlock {
                complain(&self.complaints, &error.to_string());
            }
            return;
        }
        let (frontend, pipeline) = (self.frontend.load(), self.pipeline.load());
        let mut answered = 0;
        for (request, scratch) in self.batch.requests().zip(&mut self.scratches) {
            let Request { bytes, source, interface, reply } = request;
            let start = frontend.settings().config.enable_request_timing.then(Instant::now);
            let datagram = Datagram { bytes, source, interface, wall_ns };
            let outcome = frontend.answer(&pipeline, &datagram, scratch, reply);
            let elapsed = start.map_or(Duration::ZERO, |start| start.elapsed());
            let client = outcome.is_read.then(|| source.ip());
            self.observer.response(outcome.action, client, outcome.error(), elapsed);
            if let Outcome { refusal: Some(Refusal::Internal(cause)), .. } = &outcome {
                complain(&self.complaints, cause);
            }
            answered += 1;
        }
        let lost = self.batch.send(socket);
        if lost > 0 {
            self.observer.replies_lost(lost);
        }
        if pipeline.post_hooks().next().is_some() {
            for scratch in &self.scratches[..answered] {
                if let Some((request, response)) = scratch.announced() {
                    pipeline.announced(request, response);
                }
            }
        }
    }
}

fn complain(complaints: &LogLimit, cause: &str) {
    if let Some(times) = complaints.admit() {
        tracing::error!(cause, withheld = times - 1, "a UDP request could not be served");
    }
}
