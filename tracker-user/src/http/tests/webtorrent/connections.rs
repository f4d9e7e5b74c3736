//! Connections: how they begin, how many there are, and how they end.

use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::{
    client::IntoClientRequest as _, protocol::frame::coding::CloseCode,
};

use super::*;

#[tokio::test]
async fn one_connection_too_many_is_refused_and_none_counts_among_those_of_http() {
    let server = Server::start_with_connections(1, options()).await;
    let mut browsers = Vec::new();
    for name in ['1', '2', '3'] {
        browsers.push(Browser::open(&server, "/", name).await);
    }
    let reply = handshake(&server, "/", "Host", "X-Host").await;
    assert!(reply.starts_with("http/1.1 503 "), "{reply}");
    drop(browsers.pop());
    while !handshake(&server, "/", "Host", "X-Host").await.starts_with("http/1.1 101 ") {}
    server.stop().await;
}

#[tokio::test]
async fn a_source_takes_no_more_places_of_browsers_than_its_share() {
    let mut options = options();
    options.webtorrent.max_connections_per_source = Some(1);
    let server = Server::start(options).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    let reply = handshake(&server, "/", "Host", "X-Host").await;
    assert!(reply.starts_with("http/1.1 503 "), "{reply}");
    assert_eq!(server.tracker.webtorrent.source_exhausted.get(), 1);
    assert_eq!(server.tracker.webtorrent.connections_exhausted.get(), 0);
    let other = server.connect_from("127.0.0.2").await;
    client_async("ws://tracker/", other).await.unwrap();
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    server.stop().await;
}

/// Whether a client is still served after two pings, which it answers or not.
async fn is_served_after_pings(answers: bool) -> bool {
    let tracker = Tracker::new(options());
    let (client, _task) = pipe(&tracker, 1 << 10);
    let (mut socket, _) = client_async("ws://tracker/", client).await.unwrap();
    if answers {
        // The library answers what it reads.
        let _ = timeout(Duration::from_secs(70), async { while socket.next().await.is_some() {} })
            .await;
    } else {
        sleep(Duration::from_secs(70)).await;
    }
    tracker.webtorrent.connections.get() == 1
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_pings_is_gone() {
    assert!(is_served_after_pings(true).await);
    assert!(!is_served_after_pings(false).await);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_the_reply_that_makes_a_websocket_has_the_write_timeout() {
    let tracker = Tracker::new(HttpConfig { write_timeout: GoDuration::from_secs(3), ..options() });
    let (mut client, session) = pipe(&tracker, 64);
    let start = Instant::now();
    client.write_all(request("/").as_bytes()).await.unwrap();
    session.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_pings_and_does_not_read_has_the_write_timeout_and_is_not_answered_on_and_on() {
    let tracker = Tracker::new(HttpConfig { write_timeout: GoDuration::from_secs(3), ..options() });
    let (client, session) = pipe(&tracker, 1 << 10);
    let (mut socket, _) = client_async("ws://tracker/", client).await.unwrap();
    let start = Instant::now();
    let pings = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat().repeat(1000);
    assert!(socket.get_mut().write_all(&pings).await.is_err());
    session.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(tracker.webtorrent.connections.get(), 0);
}

#[tokio::test]
async fn who_is_connected_when_the_tracker_stops_is_told() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    browser.enter(json!({})).await;
    server.stop().await;
    let Some(Ok(Message::Close(Some(close)))) = browser.socket.next().await else {
        panic!("no close")
    };
    assert_eq!(close.code, CloseCode::Away);
}

#[tokio::test]
async fn a_request_for_a_websocket_is_answered_as_it_should() {
    let server = Server::start(options()).await;
    let reply = handshake(&server, "/", "", "").await;
    assert!(reply.starts_with("http/1.1 101 "), "{reply}");
    assert!(reply.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{reply}");
    assert!(reply.contains("connection: upgrade") && !reply.contains("content-length"), "{reply}");
    for (path, header, instead, status) in [
        ("/", "Version: 13", "Version: 8", "426"),
        ("/", "Sec-WebSocket-Key", "X", "400"),
        ("/?%zz", "Host", "X-Host", "400"),
        ("/", "Host", "Content-Length: 1\r\nHost", "400"),
        ("/", "Upgrade: WebSocket", "Upgrade: h2c", "404"),
        ("/", "keep-alive, Upgrade", "keep-alive", "404"),
        ("/", "GET", "POST", "404"),
        ("/missing", "Host", "X-Host", "404"),
    ] {
        let reply = handshake(&server, path, header, instead).await;
        assert!(reply.starts_with(&format!("http/1.1 {status} ")), "{path} {instead}: {reply}");
    }
    server.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_a_browser_is_where_the_last_line_of_its_header_says() {
    let server = Server::start(HttpConfig {
        real_ip_header: Some("X-Forwarded-For".to_owned()),
        trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
        ..options()
    })
    .await;
    let mut request = "ws://tracker/".into_client_request().unwrap();
    for line in ["192.0.2.66", "203.0.113.5:4711"] {
        request.headers_mut().append("x-forwarded-for", line.parse().unwrap());
    }
    let socket = client_async(request, server.connect().await).await.unwrap().0;
    let mut browser = Browser { socket, peer_id: "1".repeat(20) };
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    browser.is_left_alone().await;
    let announced = server.tracker.journal.announced.lock().unwrap()[0].ip();
    assert_eq!(announced, IpAddr::from([203, 0, 113, 5]));
    let forged = "X-Forwarded-For: 192.0.2.66, unknown\r\nHost";
    let reply = handshake(&server, "/", "Host", forged).await;
    assert!(reply.starts_with("http/1.1 400 "), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn without_routes_there_are_no_websockets() {
    let server = Server::start(patient()).await;
    let reply = handshake(&server, "/announce", "Host", "X-Host").await;
    assert!(reply.starts_with("http/1.1 200 "), "an announce that lacks all: {reply}");
    server.stop().await;
}
