//! `/metrics` over HTTP.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, TEXT_FORMAT, TextEncoder};
use tokio::{
    net::{TcpListener, TcpStream},
    pin,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Metrics;

/// Scrapes at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;

/// From the accept to the last byte. A connection serves one request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// How long to leave the listener alone when it fails, as it does without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `/metrics` until `shutdown` is ready; scrapes in progress are then broken off.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, shutdown: impl Future) {
    let exhausted = metrics.limit_reached("metrics_connections");
    let mut connections = JoinSet::new();
    pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_one(stream, Arc::clone(&metrics)));
                    if connections.len() == CONNECTIONS_MAX {
                        exhausted.inc();
                    }
                }
                Err(error) => {
                    tracing::debug!("metrics: accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn serve_one(stream: TcpStream, metrics: Arc<Metrics>) {
    let service = service_fn(|request| {
        let response = respond(&request, &metrics);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("metrics: {error}"),
        Err(_) => tracing::debug!("metrics: a scrape took longer than {CONNECTION_TIME_MAX:?}"),
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    } else {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&metrics.served().gather(), &mut text) {
            Ok(()) => {
                let kind = HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                *response.body_mut() = text.into();
            }
            Err(error) => {
                tracing::warn!("metrics cannot be encoded: {error}");
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::SocketAddr,
    };
    use tokio::{sync::oneshot, task::spawn_blocking};

    async fn exchange(server: SocketAddr, request: &'static str) -> String {
        let exchange = move || -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect(server)?;
            stream.write_all(request.as_bytes())?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply)?;
            Ok(reply)
        };
        spawn_blocking(exchange).await.unwrap().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn metrics_are_served_until_shutdown() {
        let metrics = Arc::new(Metrics::new().unwrap());
        metrics.storage().infohashes.set(42);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, metrics, stopped));

        let reply = exchange(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("content-type: text/plain; version=0.0.4"), "{reply}");
        assert!(reply.contains("\nchihaya_storage_infohashes_count 42\n"), "{reply}");
        let reply = exchange(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
        let reply = exchange(address, "DELETE /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
        let reply = exchange(address, "nonsense\r\n\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");

        stop.send(()).unwrap();
        server.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn idle_connections_beyond_the_limit_wait_and_are_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let exhausted = metrics.limit_reached("metrics_connections");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, metrics, stopped));

        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        while exhausted.get() == 0 {
            tokio::task::yield_now().await;
        }
        let request = "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";
        let waiting = tokio::spawn(exchange(address, request));
        drop(idle);
        assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));

        stop.send(()).unwrap();
        server.await.unwrap();
    }
}
