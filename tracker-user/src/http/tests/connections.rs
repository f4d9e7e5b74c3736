use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    http::{Plain, Transport, connection::Connection, serve, server::serve_stream},
    stopped::{Stop, Stopped},
};

const PATIENT: GoDuration = GoDuration::from_secs(600);

/// Timeouts that no test reaches.
pub(super) fn patient() -> HttpConfig {
    HttpConfig {
        enable_keepalive: true,
        read_timeout: PATIENT,
        write_timeout: PATIENT,
        idle_timeout: PATIENT,
        ..HttpConfig::default()
    }
}

/// A tracker on loopback.
pub(super) struct Server {
    pub(super) tracker: Tracker,
    pub(super) address: SocketAddr,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(options: HttpConfig) -> Self {
        Self::start_on(Plain, Tracker::new(options)).await
    }

    /// One that serves so many connections at a time.
    pub(super) async fn start_with_connections(max: usize, config: HttpConfig) -> Self {
        Self::start_on(Plain, Tracker::with_connections(max, config)).await
    }

    pub(super) async fn start_on<T: Transport + Sync>(transport: T, tracker: Tracker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = Stopped::new();
        let frontend = Arc::clone(&tracker.frontend);
        let task = tokio::spawn(serve(listener, transport, frontend, stopped));
        Self { tracker, address, stop, task }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects from an address of loopback.
    pub(super) async fn connect_from(&self, source: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: tracker\r\n\r\n").into_bytes()
}

/// Reads one reply up to the end of its bencoded or plain body.
pub(super) async fn read_reply(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut reply = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&reply).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let start = reply.len() - reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap() - 4;
            assert!(start <= length, "more than one reply: {body}");
            if start == length {
                return text;
            }
        }
        reply.push(stream.read_u8().await.expect("the connection ended within a reply"));
    }
}

/// What comes until the other side closes.
pub(super) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn an_http_client_announces_twice_on_one_connection() {
    let server = Server::start(patient()).await;
    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for incomplete in ["10:incompletei1e", "10:incompletei2e"] {
        let port = if incomplete.contains('2') { 2 } else { 1 };
        let request = Request::get(announce(port, "")).body(Empty::<Bytes>::new()).unwrap();
        let reply = client.send_request(request).await.unwrap();
        assert_eq!(reply.headers()["content-type"], "text/plain; charset=utf-8");
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let body = body.escape_ascii().to_string();
        assert!(body.contains(incomplete), "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    let paths = [announce(1, ""), "/missing".to_owned(), announce(2, "")];
    let requests: Vec<u8> = paths.iter().flat_map(|path| get(path)).collect();
    stream.write_all(&requests).await.unwrap();
    assert!(read_reply(&mut stream).await.contains("incompletei1e"));
    assert!(read_reply(&mut stream).await.starts_with("http/1.1 404"));
    assert!(read_reply(&mut stream).await.contains("incompletei2e"));
    server.stop().await;
}

#[tokio::test]
async fn without_keep_alive_a_connection_carries_one_request() {
    let server = Server::start(HttpConfig { enable_keepalive: false, ..patient() }).await;
    let mut stream = server.connect().await;
    stream.write_all(&get(&announce(1, ""))).await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert!(reply.contains("connection: close") && reply.contains("5:peers6:"), "{reply}");
    let mut stream = server.connect().await;
    stream.write_all(b"GET /scrape HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert!(reply.contains("connection: close\r\n") && !reply.contains("keep-alive"), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    let line = format!("X-Padding: {}\r\n", "x".repeat(1000));
    let head = format!("GET /announce HTTP/1.1\r\n{}", line.repeat(40));
    let _ = stream.write_all(head.as_bytes()).await;
    let reply = read_to_end(&mut stream).await;
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431"), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"\x13BitTorrent protocol\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 400"));
    server.stop().await;
}

/// A connection that has had a reply, and is kept for another request.
async fn idle(server: &Server, source: &str) -> TcpStream {
    let mut stream = server.connect_from(source).await;
    stream.write_all(&get(&announce(1, ""))).await.unwrap();
    assert!(read_reply(&mut stream).await.contains("8:interval"));
    stream
}

#[tokio::test]
async fn at_the_limit_a_connection_waits_for_another_to_end_where_none_is_idle() {
    let server = Server::start_with_connections(1, patient()).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /announce").await.unwrap();
    let mut second = server.connect().await;
    second.write_all(&get(&announce(2, ""))).await.unwrap();
    while *server.tracker.journal.exhausted.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(second.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert!(read_reply(&mut second).await.contains("incompletei1e"));
    server.stop().await;
}

#[tokio::test]
async fn at_the_limit_the_connection_that_has_been_idle_longest_makes_way() {
    let server = Server::start_with_connections(16, patient()).await;
    let mut kept = Vec::new();
    for number in 0..16 {
        kept.push(idle(&server, &format!("127.0.0.{}", number + 1)).await);
    }
    // The first one has a request meanwhile.
    kept[0].write_all(&get(&announce(1, ""))).await.unwrap();
    read_reply(&mut kept[0]).await;
    let mut new = Vec::new();
    for longest_idle in &mut kept[1..] {
        new.push(idle(&server, "127.0.0.99").await);
        assert_eq!(read_to_end(longest_idle).await, "");
    }
    kept[0].write_all(&get(&announce(1, ""))).await.unwrap();
    read_reply(&mut kept[0]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_source_takes_no_more_connections_than_its_share_and_a_second_one_is_served_at_once() {
    let options = HttpConfig { max_connections_per_source: 2, ..patient() };
    let server = Server::start_with_connections(4, options).await;
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect_from("127.0.0.1").await;
        stream.write_all(b"GET /announce").await.unwrap();
        greedy.push(stream);
    }
    for _ in 0..20 {
        let mut refused = server.connect_from("127.0.0.1").await;
        assert_eq!(read_to_end(&mut refused).await, "");
    }
    assert_eq!(*server.tracker.journal.sources_exhausted.lock().unwrap(), 20);
    let _other = idle(&server, "127.0.0.2").await;
    assert_eq!(*server.tracker.journal.exhausted.lock().unwrap(), 0);
    drop(greedy);
    server.stop().await;
}

#[tokio::test]
async fn beyond_its_share_a_source_loses_an_idle_connection_of_its_own() {
    let options = HttpConfig { max_connections_per_source: 2, ..patient() };
    let server = Server::start(options).await;
    let mut other = idle(&server, "127.0.0.2").await;
    let mut first = idle(&server, "127.0.0.1").await;
    let _second = idle(&server, "127.0.0.1").await;
    let _third = idle(&server, "127.0.0.1").await;
    assert_eq!(read_to_end(&mut first).await, "");
    other.write_all(&get(&announce(1, ""))).await.unwrap();
    read_reply(&mut other).await;
    assert_eq!(*server.tracker.journal.sources_exhausted.lock().unwrap(), 1);
    server.stop().await;
}

#[tokio::test]
async fn proxies_have_no_share_of_connections() {
    let trusted = HttpConfig {
        real_ip_header: Some("X-Real-IP".to_owned()),
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        max_connections_per_source: 1,
        ..patient()
    };
    let any = HttpConfig { trusted_proxies: Vec::new(), ..trusted.clone() };
    for options in [trusted, any] {
        let server = Server::start(options).await;
        let mut first = idle(&server, "127.0.0.1").await;
        let _others = [idle(&server, "127.0.0.1").await, idle(&server, "127.0.0.1").await];
        first.write_all(&get(&announce(1, ""))).await.unwrap();
        read_reply(&mut first).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_ends() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(&get(&announce(1, ""))).await.unwrap();
    read_reply(&mut stream).await;
    let address = server.address;
    server.stop().await;
    assert_eq!(read_to_end(&mut stream).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_request_that_never_ends() {
    let short = Duration::from_millis(10).into();
    let options = HttpConfig { read_timeout: short, write_timeout: short, ..patient() };
    let server = Server::start(options).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /announce").await.unwrap();
    server.stop().await;
    assert_eq!(read_to_end(&mut stream).await, "");
}

/// A connection in memory, so that tests can stop the clock: it moves on only when nobody has
/// anything to do. The pipe holds `capacity` bytes each way.
pub(super) fn pipe(tracker: &Tracker, capacity: usize) -> (DuplexStream, JoinHandle<()>) {
    pipe_from([192, 0, 2, 1], tracker, capacity)
}

/// The same from another address.
pub(super) fn pipe_from(
    address: [u8; 4],
    tracker: &Tracker,
    capacity: usize,
) -> (DuplexStream, JoinHandle<()>) {
    let (client, stream) = duplex(capacity);
    let frontend = Arc::clone(&tracker.frontend);
    let task = tokio::spawn(async move {
        let settings = frontend.settings();
        let remote = SocketAddr::from((address, 40000));
        let (_stop, stopped) = Stopped::new();
        let share = frontend.settings().connection_share(remote.ip());
        let place = frontend.connections.enter(share).await.unwrap();
        let stream = Connection::new(stream, true, place.activity(), &settings.config);
        let session = serve_stream(stream, remote, &place, &frontend, &stopped, &settings).await;
        drop(place);
        if let Some(session) = session {
            session.run(frontend, stopped).await;
        }
    });
    (client, task)
}

fn hasty() -> HttpConfig {
    HttpConfig {
        enable_keepalive: true,
        read_timeout: GoDuration::from_secs(2),
        write_timeout: GoDuration::from_secs(3),
        idle_timeout: GoDuration::from_secs(30),
        ..HttpConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_has_the_read_timeout() {
    let (mut client, _) = pipe(&Tracker::new(hasty()), 4096);
    let start = Instant::now();
    assert_eq!(read_to_end(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_drips_has_no_longer() {
    let (mut client, _) = pipe(&Tracker::new(hasty()), 4096);
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    read_reply(&mut client).await;
    let start = Instant::now();
    let mut sent = 0;
    while client.write_all(b"G").await.is_ok() {
        sent += 1;
        sleep(Duration::from_millis(300)).await;
    }
    assert!(sent < 10, "{sent} bytes in {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_has_the_idle_timeout_after_each_request() {
    let (mut client, _) = pipe(&Tracker::new(hasty()), 4096);
    for port in [1, 2] {
        client.write_all(&get(&announce(port, ""))).await.unwrap();
        read_reply(&mut client).await;
        sleep(Duration::from_secs(29)).await;
    }
    client.write_all(&get(&announce(3, ""))).await.unwrap();
    read_reply(&mut client).await;
    let start = Instant::now();
    assert_eq!(read_to_end(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_has_the_write_timeout() {
    let (mut client, server) = pipe(&Tracker::new(hasty()), 64);
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    let start = Instant::now();
    server.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn post_hooks_wait_until_the_reply_has_left() {
    let tracker = Tracker::new(hasty());
    let (mut client, _) = pipe(&tracker, 64);
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tracker.announced(), 0);
    read_reply(&mut client).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tracker.announced(), 1);
}

#[tokio::test(start_paused = true)]
async fn post_hooks_run_even_where_the_client_has_gone() {
    let tracker = Tracker::new(hasty());
    let (mut client, server) = pipe(&tracker, 64);
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    drop(client);
    server.await.unwrap();
    assert_eq!(tracker.announced(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_answered_on_and_on() {
    let tracker = Tracker::new(hasty());
    let (mut client, server) = pipe(&tracker, 64);
    let requests = get(&announce(1, "")).repeat(1000);
    assert!(client.write_all(&requests).await.is_err());
    server.await.unwrap();
    let answered = tracker.journal.responses.lock().unwrap().len();
    assert!(answered < 4, "{answered} replies were made and kept");
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    let head = format!("GET {} HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", announce(1, ""));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.contains("5:peers6:"));
    server.stop().await;
}
