//! Browsers' announces over WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};

use super::{
    connections::{Server, patient, pipe},
    waiting::server_that_asks,
    *,
};
use crate::{
    http::WebTorrentOptions,
    middleware::{TorrentApproval, TorrentApprovalOptions},
    pipeline::Live,
};

const TORRENT: &str = "a\u{0}\"\u{7f}\u{80}\u{ff}aaaaaaaaaaaaaa";

fn options() -> HttpOptions {
    let routes = vec!["/".to_owned(), "/:passkey/announce".to_owned()];
    let webtorrent = WebTorrentOptions {
        routes,
        offers_max: 2,
        torrents_max: 2,
        connections_max: 3,
        ..WebTorrentOptions::default()
    };
    // Connections that are not kept for another request become WebSockets all the same.
    HttpOptions { webtorrent, keepalive: false, ..patient() }
}

/// A client, and the id of its peer.
struct Browser<S = TcpStream> {
    socket: WebSocketStream<S>,
    peer_id: String,
}

impl Browser {
    async fn open(server: &Server, path: &str, name: char) -> Self {
        let url = format!("ws://tracker{path}");
        let socket = client_async(url, server.connect().await).await.unwrap().0;
        Self { socket, peer_id: String::from(name).repeat(20) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Browser<S> {
    /// Answers pings for so long, as the library does with what it reads.
    async fn stays(&mut self, seconds: u64) {
        let socket = &mut self.socket;
        let reads = async { while socket.next().await.is_some() {} };
        let _ = timeout(Duration::from_secs(seconds), reads).await;
    }

    async fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message that is not a ping.
    async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other}"),
            }
        }
    }

    fn announce(&self, more: &Value) -> Value {
        let mut message = json!({
            "numwant": 50, "uploaded": 0, "downloaded": 0, "left": null,
            "action": "announce", "info_hash": TORRENT, "peer_id": self.peer_id,
        });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    }

    /// The reply to an announce.
    async fn enter(&mut self, more: Value) -> Value {
        self.send(&self.announce(&more)).await;
        self.next().await
    }

    /// Nothing has come that was not asked for.
    async fn is_left_alone(&mut self) {
        let reply = self.enter(json!({ "info_hash": "short" })).await;
        assert_eq!(reply, json!({ "failure reason": "provided invalid id" }));
    }
}

fn swarm(complete: u32, incomplete: u32) -> Value {
    json!({
        "action": "announce", "info_hash": TORRENT, "interval": 120,
        "complete": complete, "incomplete": incomplete,
    })
}

fn failure(reason: &str) -> Value {
    json!({ "action": "announce", "info_hash": TORRENT, "failure reason": reason })
}

#[tokio::test]
async fn a_peer_is_told_of_its_swarm_and_counts_until_it_leaves_or_its_connection_ends() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    assert_eq!(one.enter(json!({ "event": "started" })).await, swarm(0, 1));
    let mut two = Browser::open(&server, "/", '2').await;
    assert_eq!(two.enter(json!({ "left": 0 })).await, swarm(1, 1));
    assert_eq!(one.enter(json!({ "event": "completed", "left": 0 })).await, swarm(2, 0));
    assert_eq!(two.enter(json!({ "event": "stopped" })).await, swarm(1, 0));
    assert_eq!(two.enter(json!({ "event": "stopped" })).await, swarm(1, 0));
    drop(one);
    while two.enter(json!({ "event": "update" })).await != swarm(0, 1) {}
    server.stop().await;
}

#[tokio::test]
async fn offers_are_passed_on_to_others_and_their_answers_back() {
    let server = Server::start(options()).await;
    let mut browsers = [
        Browser::open(&server, "/", '1').await,
        Browser::open(&server, "/", '2').await,
        Browser::open(&server, "/", '3').await,
    ];
    for browser in &mut browsers {
        browser.enter(json!({ "offers": [] })).await;
    }
    let [one, two, three] = &mut browsers;
    let offers = ["x", "y", "z"].map(
        |name| json!({ "offer": { "sdp": name, "type": "offer" }, "offer_id": [name, "\u{ff}"] }),
    );
    assert_eq!(one.enter(json!({ "offers": offers })).await, swarm(0, 3));
    let mut offered = Vec::new();
    for other in [&mut *two, three] {
        let offer = other.next().await;
        let sdp = offer["offer"]["sdp"].as_str().unwrap().to_owned();
        let expected = json!({
            "action": "announce", "info_hash": TORRENT, "peer_id": one.peer_id,
            "offer": { "sdp": sdp, "type": "offer" }, "offer_id": [sdp, "\u{ff}"],
        });
        assert_eq!(offer, expected);
        offered.push(sdp);
        let answer = json!({
            "action": "announce", "info_hash": TORRENT, "peer_id": other.peer_id,
            "to_peer_id": one.peer_id, "answer": { "sdp": "w" }, "offer_id": offer["offer_id"],
        });
        other.send(&answer).await;
        let mut expected = answer;
        expected.as_object_mut().unwrap().remove("to_peer_id");
        assert_eq!(one.next().await, expected);
        other.is_left_alone().await;
    }
    offered.sort();
    assert_eq!(offered, ["x", "y"], "one too many is not passed on");
    server.stop().await;
}

#[tokio::test]
async fn a_seeder_s_offers_are_for_leechers() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    let mut two = Browser::open(&server, "/", '2').await;
    one.enter(json!({ "left": 0 })).await;
    let offer = json!({ "offers": [{ "offer": {}, "offer_id": "x" }], "left": 0 });
    two.enter(offer.clone()).await;
    one.is_left_alone().await;
    one.enter(json!({ "event": "stopped" })).await;
    one.enter(json!({ "left": 1 })).await;
    two.enter(offer).await;
    assert_eq!(one.next().await["peer_id"], two.peer_id);
    server.stop().await;
}

#[tokio::test]
async fn who_answers_must_be_in_the_swarm() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    let mut two = Browser::open(&server, "/", '2').await;
    one.enter(json!({})).await;
    let answer = two.announce(&json!({ "to_peer_id": one.peer_id, "answer": {}, "offer_id": 1 }));
    two.send(&answer).await;
    two.is_left_alone().await;
    one.is_left_alone().await;
    two.enter(json!({})).await;
    let mut again = Browser::open(&server, "/", '2').await;
    again.enter(json!({})).await;
    two.send(&answer).await;
    two.is_left_alone().await;
    one.is_left_alone().await;
    again.send(&answer).await;
    assert_eq!(one.next().await["peer_id"], again.peer_id);
    server.stop().await;
}

#[tokio::test]
async fn hooks_judge_by_the_parameters_of_the_url_and_are_told_of_what_was_answered() {
    let server = Server::start(options()).await;
    let mut refused = Browser::open(&server, "/k3y/announce?refuse=1", '1').await;
    assert_eq!(refused.enter(json!({})).await, failure("unapproved client"));
    assert_eq!(server.tracker.announced(), 0);
    let mut admitted = Browser::open(&server, "/k3y/announce", '2').await;
    assert_eq!(admitted.enter(json!({})).await, swarm(0, 1));
    admitted.is_left_alone().await;
    assert_eq!(server.tracker.announced(), 1);
    let seen = std::mem::take(&mut *server.tracker.journal.responses.lock().unwrap());
    let errors: Vec<_> = seen.iter().map(|(_, _, error)| &**error).collect();
    assert_eq!(errors, ["unapproved client", "", "provided invalid id"]);
    server.stop().await;
}

/// Refuses everybody.
struct Closed;

impl PreHook for Closed {
    fn name(&self) -> &'static str {
        "closed"
    }

    fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        Err(Refusal::Client("closed".into()))
    }
}

#[tokio::test]
async fn who_is_refused_leaves_the_swarm() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    let storage = Arc::new(Swarms::default());
    let closed = Pipeline::new(storage, vec![Box::new(Closed)], vec![], 1800, 900);
    server.tracker.pipeline.store(Arc::new(closed));
    assert_eq!(browser.enter(json!({})).await, failure("closed"));
    assert_eq!(server.tracker.webtorrent.leechers.get(), 0);
    server.stop().await;
}

/// A browser on a connection in memory, for tests that stop the clock.
async fn in_memory(tracker: &Tracker, path: &str, name: char) -> Browser<DuplexStream> {
    let (client, _task) = pipe(tracker, 4 << 10);
    let url = format!("ws://tracker{path}");
    let socket = client_async(url, client).await.unwrap().0;
    Browser { socket, peer_id: String::from(name).repeat(20) }
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_has_not_announced_for_two_intervals_leaves_its_swarm() {
    let tracker = Tracker::new(options());
    let mut silent = in_memory(&tracker, "/", '1').await;
    silent.enter(json!({})).await;
    silent.stays(200).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    let mut other = in_memory(&tracker, "/", '2').await;
    assert_eq!(other.enter(json!({})).await, swarm(0, 2));
    silent.stays(51).await;
    let offers = json!({ "offers": [{ "offer": {}, "offer_id": "x" }] });
    assert_eq!(other.enter(offers).await, swarm(0, 1));
    assert_eq!(tracker.webtorrent.offers.get(), 0, "an offer for a peer that has left");
    assert_eq!(silent.enter(json!({})).await, swarm(0, 2), "it may come back");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_announces_in_each_interval_stays() {
    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    for _ in 0..10 {
        assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
        browser.stays(119).await;
        assert_eq!(tracker.webtorrent.leechers.get(), 1);
    }
}

/// Refuses a passkey from a moment on.
struct Revocable(Live<&'static str>);

impl PreHook for Revocable {
    fn name(&self) -> &'static str {
        "revocable"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        match request.params.get("passkey") {
            Some(key) if key == **self.0.load() => Err(Refusal::Client("revoked".into())),
            _ => Ok(()),
        }
    }

    fn revision(&self) -> u64 {
        self.0.revision()
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_key_is_revoked_its_browsers_leave_without_an_announce() {
    let tracker = Tracker::new(options());
    let revoked = Live::new("");
    let hook = Box::new(Revocable(revoked.clone()));
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![hook], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    let mut one = in_memory(&tracker, "/k3y/announce", '1').await;
    let mut two = in_memory(&tracker, "/k4y/announce", '2').await;
    one.enter(json!({})).await;
    two.enter(json!({})).await;
    one.stays(30).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 2);
    revoked.replace("k3y");
    one.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    let offers = json!({ "offers": [{ "offer": {}, "offer_id": "x" }] });
    assert_eq!(two.enter(offers).await, swarm(0, 1));
    assert_eq!(tracker.webtorrent.offers.get(), 0, "an offer for a peer that was refused");
    assert_eq!(one.enter(json!({})).await, failure("revoked"));
}

#[tokio::test(start_paused = true)]
async fn when_hooks_are_reloaded_the_browsers_that_they_refuse_leave_without_an_announce() {
    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    browser.enter(json!({})).await;
    let blacklist = TorrentApprovalOptions {
        blacklist: vec![InfoHash(*b"a\0\"\x7f\x80\xffaaaaaaaaaaaaaa")],
        ..TorrentApprovalOptions::default()
    };
    let hook = TorrentApproval::new(blacklist, &Metrics::new().unwrap()).unwrap();
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![Box::new(hook)], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    browser.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 0);
    let reply = browser.enter(json!({})).await;
    assert_eq!(reply["failure reason"], "unapproved torrent");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_has_no_judgement_is_asked_again_and_nobody_leaves_meanwhile() {
    /// Fails until it is told to refuse.
    struct Failing(Live<bool>);

    impl PreHook for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }

        fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
            Err(if **self.0.load() {
                Refusal::Client("refused".into())
            } else {
                Refusal::Internal("no answer".to_owned())
            })
        }
    }

    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    browser.enter(json!({})).await;
    let refuses = Live::new(false);
    let hook = Box::new(Failing(refuses.clone()));
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![hook], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    browser.stays(30).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    refuses.replace(true);
    browser.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 0);
}

#[tokio::test]
async fn an_announce_waits_for_a_hook_that_has_to_ask() {
    let (server, mut asked) = server_that_asks(1, options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    browser.send(&browser.announce(&json!({}))).await;
    drop(asked.recv().await.unwrap());
    assert_eq!(browser.next().await, swarm(0, 1));
    server.stop().await;
}

#[tokio::test]
async fn scrapes_tell_of_one_torrent_or_several() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    browser.enter(json!({ "event": "started" })).await;
    browser.enter(json!({ "event": "completed" })).await;
    let other = "b".repeat(20);
    let [there, nobody] =
        [1, 0].map(|n| json!({ "complete": n, "downloaded": n, "incomplete": 0 }));
    browser.send(&json!({ "action": "scrape", "info_hash": TORRENT })).await;
    let files = json!({ TORRENT: there });
    assert_eq!(browser.next().await, json!({ "action": "scrape", "files": files }));
    browser.send(&json!({ "action": "scrape", "info_hash": [other, TORRENT] })).await;
    let files = json!({ TORRENT: there, other: nobody });
    assert_eq!(browser.next().await, json!({ "action": "scrape", "files": files }));
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_told() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    for (more, reason) in [
        (json!({ "peer_id": "short" }), "provided invalid id"),
        (json!({ "peer_id": "\u{100}".repeat(20) }), "provided invalid id"),
        (json!({ "peer_id": null }), "failed to provide valid peer_id"),
        (json!({ "answer": {} }), "invalid to_peer_id"),
        (json!({ "answer": {}, "to_peer_id": browser.peer_id }), "invalid offer_id"),
        (json!({ "action": "dance" }), "invalid action"),
    ] {
        assert_eq!(browser.enter(more.clone()).await, failure(reason), "{more}");
    }
    for (more, reason) in [
        (json!({ "info_hash": null }), "no info_hash parameter supplied"),
        (json!({ "info_hash": 1 }), "failed to parse message"),
        (json!({ "action": null }), "failed to parse message"),
    ] {
        // Nothing of an announce without its info-hash: that ends some clients.
        assert_eq!(
            browser.enter(more.clone()).await,
            json!({ "failure reason": reason }),
            "{more}"
        );
    }
    browser.send(&json!({ "action": "scrape" })).await;
    let expected =
        json!({ "action": "scrape", "failure reason": "no info_hash parameter supplied" });
    assert_eq!(browser.next().await, expected);
    browser.socket.send(Message::binary(b"{".as_slice())).await.unwrap();
    assert_eq!(browser.next().await, json!({ "failure reason": "failed to parse message" }));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_announces_no_more_torrents_than_it_may() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    for letter in ["b", "c"] {
        let info_hash = letter.repeat(20);
        assert_eq!(browser.enter(json!({ "info_hash": info_hash })).await["incomplete"], 1);
    }
    assert_eq!(browser.enter(json!({})).await, failure("too many torrents"));
    let again = browser.enter(json!({ "info_hash": "c".repeat(20) })).await;
    assert_eq!(again["incomplete"], 1);
    browser.enter(json!({ "info_hash": "b".repeat(20), "event": "stopped" })).await;
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_none_counts_among_those_of_http() {
    let server = Server::start(HttpOptions { connections_max: 1, ..options() }).await;
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
    options.webtorrent.connections_per_source_max = 1;
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

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    // The other end may be gone before all of it is.
    let _ = browser.socket.send(Message::text("x".repeat(65 << 10))).await;
    while let Some(Ok(_)) = browser.socket.next().await {}
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
    let tracker = Tracker::new(HttpOptions { write_timeout: Duration::from_secs(3), ..options() });
    let (mut client, session) = pipe(&tracker, 64);
    let start = Instant::now();
    client.write_all(request("/").as_bytes()).await.unwrap();
    session.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_pings_and_does_not_read_has_the_write_timeout_and_is_not_answered_on_and_on() {
    let tracker = Tracker::new(HttpOptions { write_timeout: Duration::from_secs(3), ..options() });
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

/// A request for a WebSocket: the example of RFC 6455.
fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: tracker\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The head of the reply to that request, with something exchanged in it.
async fn handshake(server: &Server, path: &str, header: &str, instead: &str) -> String {
    let mut stream = server.connect().await;
    stream.write_all(request(path).replace(header, instead).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
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
    let server = Server::start(HttpOptions {
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
