//! Accepts connections, bounds them, and speaks HTTP/1.1 on them.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::ready,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::{
    Request, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    http::request::Parts,
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    HttpFrontend, Settings,
    connection::{Connection, Outbox},
    frontend::{Head, Reply, Scratch, WAITS_MAX},
    places::{Full, Place},
    upgrade,
    webtorrent::Session,
};
use crate::{config::HttpConfig, log_limit::LogLimit, pipeline::Pending, stopped::Stopped};

/// The smallest buffer that hyper takes.
const HEAD_BYTES_MIN: usize = 8192;

/// How long to wait after a failed accept, most likely for a file descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const LIKELY_CAUSE: &str = "is the limit of open files (LimitNOFILE, ulimit -n) too low?";

/// What lies between TCP and HTTP: nothing, or TLS.
pub trait Transport: Clone + Send + 'static {
    /// Whether there is something to say before the socket is closed.
    const SAYS_GOODBYE: bool;

    /// What HTTP is spoken on.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes that stream of an accepted connection, within the read timeout.
    ///
    /// # Errors
    /// The connection is then closed.
    fn open(&self, tcp: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// HTTP on bare TCP.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Transport for Plain {
    const SAYS_GOODBYE: bool = false;

    type Stream = TcpStream;

    async fn open(&self, tcp: TcpStream) -> io::Result<TcpStream> {
        Ok(tcp)
    }
}

/// Serves the connections of `listener` until it is stopped; then idle ones are closed at once,
/// the others when they have their reply, at the latest after the read and write timeouts.
///
/// The limit of connections is the frontend's. At the limit the connection that has been idle longest makes way
/// for a new one; where none is idle, a listener takes no more than the one connection that waits for another to
/// end. At the limit of one source a connection of that source makes way, or the new one is closed.
pub async fn serve<T: Transport>(
    listener: TcpListener,
    transport: T,
    frontend: Arc<HttpFrontend>,
    stopped: Stopped,
) {
    let mut connections = JoinSet::new();
    let failures = LogLimit::default();
    let mut stop = pin!(stopped.clone().wait());
    loop {
        let (tcp, remote, place) = tokio::select! {
            () = &mut stop => break,
            admitted = admit(&listener, &frontend, &failures) => admitted,
        };
        while connections.try_join_next().is_some() {}
        let frontend = Arc::clone(&frontend);
        let transport = transport.clone();
        let stopped = stopped.clone();
        connections.spawn(async move {
            let session =
                serve_connection(tcp, remote, &place, transport, &frontend, &stopped).await;
            drop(place);
            if let Some(session) = session {
                session.run(frontend, stopped).await;
            }
        });
    }
    drop(listener);
    let HttpConfig { read_timeout, write_timeout, .. } = frontend.settings().config;
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(*read_timeout + *write_timeout, ended).await;
    connections.shutdown().await;
}

/// The next connection, once it may be served.
async fn admit(
    listener: &TcpListener,
    frontend: &HttpFrontend,
    failures: &LogLimit,
) -> (TcpStream, SocketAddr, Place) {
    let observer = &frontend.observer;
    loop {
        let (tcp, remote) = accept(listener, failures).await;
        let share = frontend.settings().connection_share(remote.ip());
        let mut place = frontend.connections.try_enter(share);
        if place.as_ref().err() == Some(&Full::All) {
            observer.connections_exhausted();
            place = frontend.connections.enter(share).await;
        }
        match place {
            Ok(place) => {
                if place.is_beyond_share {
                    observer.source_exhausted();
                }
                return (tcp, remote, place);
            }
            Err(_) => observer.source_exhausted(),
        }
    }
}

/// The next connection. Failures are waited out: they concern one client, or a limit of the system.
async fn accept(listener: &TcpListener, failures: &LogLimit) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(times) = failures.admit() {
                    tracing::warn!(%error, times, "cannot accept HTTP connections: {LIKELY_CAUSE}");
                }
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection, and returns what it goes on as when HTTP is over.
async fn serve_connection<T: Transport>(
    tcp: TcpStream,
    remote: SocketAddr,
    place: &Place,
    transport: T,
    frontend: &Arc<HttpFrontend>,
    stopped: &Stopped,
) -> Option<Session> {
    let settings = frontend.settings();
    let config = &settings.config;
    match timeout(*config.read_timeout, transport.open(tcp)).await {
        Ok(Ok(stream)) => {
            let stream = Connection::new(stream, T::SAYS_GOODBYE, place.activity(), config);
            serve_stream(stream, remote, place, frontend, stopped, &settings).await
        }
        Ok(Err(_)) | Err(_) => {
            frontend.observer.handshake_failed();
            None
        }
    }
}

/// What ends a connection early is the client's affair: nothing is reported.
pub(super) async fn serve_stream(
    stream: Connection<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    remote: SocketAddr,
    place: &Place,
    frontend: &Arc<HttpFrontend>,
    stopped: &Stopped,
    settings: &Settings,
) -> Option<Session> {
    let outbox = stream.outbox();
    let session = Arc::default();
    let (frontend, upgraded) = (Arc::clone(frontend), Arc::clone(&session));
    let is_kept = settings.config.enable_keepalive;
    let connection = Handle { frontend, remote, outbox, is_kept, session: upgraded };
    let exchange = Exchange { connection, scratch: RefCell::default() };
    let connection = http(settings).serve_connection(TokioIo::new(stream), exchange);
    let mut connection = pin!(connection.with_upgrades());
    let is_told_to_end = async {
        tokio::select! {
            () = stopped.clone().wait() => {}
            () = place.makes_way() => {}
        }
    };
    let _ = tokio::select! {
        ended = &mut connection => ended,
        () = is_told_to_end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    session.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// hyper's own timeout is off: [`Connection`] has better ones. With vectored writes hyper makes no
/// second reply before the first has left, so a client that does not read costs one reply's memory.
///
/// Connections that shall not be kept are closed by a header of their reply: where hyper knew of it, it would
/// say so of those, too, that become WebSockets.
fn http(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .writev(true)
        .max_buf_size(settings.head_bytes_max.max(HEAD_BYTES_MIN))
        .header_read_timeout(None);
    builder
}

/// Hands the requests of one connection to the frontend, one at a time.
struct Exchange {
    connection: Handle,
    scratch: RefCell<Scratch>,
}

/// What the requests of a connection have in common.
#[derive(Clone)]
struct Handle {
    frontend: Arc<HttpFrontend>,
    remote: SocketAddr,
    outbox: Arc<Outbox>,
    /// It may carry another request.
    is_kept: bool,
    /// What the connection goes on as.
    session: Arc<Mutex<Option<Session>>>,
}

impl Service<Request<Incoming>> for Exchange {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(reply) = self.connection.upgrade(&mut request) {
            return Box::pin(ready(Ok(reply)));
        }
        let (request, received) = (request.into_parts().0, Instant::now());
        match self.connection.answer(&request, received, true, &mut self.scratch.borrow_mut()) {
            Ok(reply) => Box::pin(ready(Ok(reply))),
            Err(pending) => {
                let connection = self.connection.clone();
                connection.outbox.wait();
                Box::pin(
                    async move { Ok(connection.answer_after(pending, request, received).await) },
                )
            }
        }
    }
}

impl Handle {
    /// The reply to a request for a WebSocket.
    fn upgrade(&self, request: &mut Request<Incoming>) -> Option<Reply> {
        match upgrade::asked(request, self.remote, &self.outbox, &self.frontend)? {
            Ok((session, reply)) => {
                *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
                Some(reply)
            }
            Err(reply) => Some(self.closing(reply, request.version())),
        }
    }

    /// The reply to a request of that version as the last one, where the connection is for one request.
    fn closing(&self, mut reply: Reply, version: Version) -> Reply {
        if !self.is_kept {
            // Else hyper grants HTTP/1.0's clients the `keep-alive` that they ask for, beside the `close`.
            *reply.version_mut() = version;
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }

    fn answer(
        &self,
        request: &Parts,
        received: Instant,
        may_wait: bool,
        scratch: &mut Scratch,
    ) -> Result<Reply, Pending> {
        let Parts { method, uri, version, headers, .. } = request;
        let head = Head { method, uri, headers, remote: self.remote, received, may_wait };
        let (reply, answered) = self.frontend.answer(&head, scratch)?;
        if let Some(answered) = answered {
            self.outbox.push(answered);
        }
        Ok(self.closing(reply, *version))
    }

    async fn answer_after(self, mut pending: Pending, request: Parts, received: Instant) -> Reply {
        let mut waits = 0;
        loop {
            pending.ended().await;
            waits += 1;
            let scratch = &mut Scratch::default();
            match self.answer(&request, received, waits < WAITS_MAX, scratch) {
                Ok(reply) => return reply,
                Err(again) => pending = again,
            }
        }
    }
}
