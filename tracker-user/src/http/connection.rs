//! The byte stream of one connection, with deadlines, and with post-hooks that wait for the reply.
//!
//! hyper knows no timeout for writing, and one only for a request's head and the time before it
//! together; this stream sees every byte and so can tell them apart.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{frontend::Answered, places::Activity};
use crate::config::HttpConfig;

/// The announces whose replies hyper has not yet sent.
///
/// Post-hooks run on the connection's own task, so a client cannot announce faster than they do.
#[derive(Default)]
pub(super) struct Outbox {
    answered: Mutex<Vec<Answered>>,
    /// A request waits for a hook, which is not the client's fault.
    waits: AtomicBool,
    /// The stream is no longer HTTP's.
    is_handed_over: AtomicBool,
    /// What leaves has no deadline.
    is_patient: AtomicBool,
}

impl Outbox {
    pub(super) fn push(&self, answered: Answered) {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    }

    /// No deadline counts from here to the reply.
    pub(super) fn wait(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Whoever speaks another protocol from here on has deadlines of their own, but for what they write.
    #[cfg(feature = "webtorrent")]
    pub(super) fn hand_over(&self) {
        self.is_handed_over.store(true, Ordering::Relaxed);
    }

    /// Whether what is written from here on has no deadline. When it has one again, that begins then.
    #[cfg(feature = "webtorrent")]
    pub(super) fn set_patient(&self, is_patient: bool) {
        self.is_patient.store(is_patient, Ordering::Relaxed);
    }

    fn run_post_hooks(&self) {
        let mut waiting = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        for answered in waiting.drain(..) {
            answered.run_post_hooks();
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// A request has begun to arrive.
    Reading,
    /// A reply has begun to leave.
    Writing,
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when a phase takes too long.
pub(super) struct Connection<S> {
    stream: S,
    outbox: Arc<Outbox>,
    /// Where the connection is kept between requests, for others to know that it could make way.
    activity: Option<Activity>,
    read_timeout: Duration,
    write_timeout: Duration,
    idle_timeout: Duration,
    phase: Phase,
    deadline: Instant,
    /// Set to `deadline` no sooner than there is something to wait for.
    timer: Pin<Box<Sleep>>,
    /// The request that is being answered waited for a hook.
    has_waited: bool,
    /// The deadline has not counted meanwhile.
    was_patient: bool,
    /// Whether the stream has more to say at the end than that the socket is closed.
    says_goodbye: bool,
}

impl<S> Connection<S> {
    /// The first request has the read timeout to arrive.
    pub(super) fn new(
        stream: S,
        says_goodbye: bool,
        activity: Activity,
        config: &HttpConfig,
    ) -> Self {
        let deadline = Instant::now() + *config.read_timeout;
        Self {
            stream,
            outbox: Arc::default(),
            activity: config.enable_keepalive.then_some(activity),
            read_timeout: *config.read_timeout,
            write_timeout: *config.write_timeout,
            idle_timeout: *config.idle_timeout,
            phase: Phase::Reading,
            deadline,
            timer: Box::pin(sleep_until(deadline)),
            has_waited: false,
            was_patient: false,
            says_goodbye,
        }
    }

    /// The announces whose replies have not left yet.
    pub(super) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    fn enter(&mut self, phase: Phase) {
        let timeout = match phase {
            Phase::Idle => self.idle_timeout,
            Phase::Reading => self.read_timeout,
            Phase::Writing => self.write_timeout,
        };
        if let Some(activity) = &self.activity
            && (phase == Phase::Idle) != (self.phase == Phase::Idle)
        {
            activity.set_idle(phase == Phase::Idle);
        }
        self.phase = phase;
        self.deadline = Instant::now() + timeout;
    }

    /// To be polled where the stream itself is pending.
    fn poll_deadline<T>(&mut self, context: &mut Context) -> Poll<io::Result<T>> {
        let Outbox { waits, is_handed_over, is_patient, .. } = &*self.outbox;
        let is_watched = self.phase == Phase::Writing || !is_handed_over.load(Ordering::Relaxed);
        if waits.load(Ordering::Relaxed) || !is_watched {
            return Poll::Pending;
        }
        if is_patient.load(Ordering::Relaxed) {
            self.was_patient = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.was_patient) {
            self.enter(self.phase);
        }
        if self.timer.deadline() != self.deadline {
            self.timer.as_mut().reset(self.deadline);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_write_with(
        &mut self,
        context: &mut Context,
        write: impl FnOnce(&mut S, &mut Context) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.phase != Phase::Writing {
            self.has_waited = self.outbox.waits.swap(false, Ordering::Relaxed);
            self.enter(Phase::Writing);
        }
        match write(&mut self.stream, context) {
            Poll::Pending => self.poll_deadline(context),
            ready => {
                // A conversation has no end that it could be late for: it has to go on.
                if self.outbox.is_handed_over.load(Ordering::Relaxed) {
                    self.deadline = Instant::now() + self.write_timeout;
                }
                ready
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        buffer: &mut ReadBuf,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.poll_deadline(context),
            ready => {
                if self.phase == Phase::Idle && buffer.filled().len() > before {
                    self.enter(Phase::Reading);
                }
                ready
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        slices: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| {
            Pin::new(stream).poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.poll_deadline(context),
            Poll::Ready(result) => {
                if self.phase == Phase::Writing && result.is_ok() {
                    self.outbox.run_post_hooks();
                    self.enter(Phase::Idle);
                    // hyper does not read again if it did while a request waited.
                    if self.has_waited
                        && let Poll::Ready(late) = self.poll_deadline(context)
                    {
                        return Poll::Ready(late);
                    }
                }
                Poll::Ready(result)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        if !self.says_goodbye {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.poll_deadline(context),
            ready => ready,
        }
    }
}

/// The swarm has changed even where a reply found nobody.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.outbox.run_post_hooks();
    }
}
