//! Browsers' announces over WebSocket: `swarms` and their peers, what is passed on (`relay`), `messages`, `hooks`,
//! and the `connections` themselves.

mod connections;
mod hooks;
mod messages;
mod relay;
mod swarms;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{
    connections::{Server, patient, pipe, pipe_from},
    *,
};
use crate::config::WebTorrentConfig;

const TORRENT: &str = "a\u{0}\"\u{7f}\u{80}\u{ff}aaaaaaaaaaaaaa";

fn options() -> HttpConfig {
    let routes = vec!["/".to_owned(), "/:passkey/announce".to_owned()];
    let webtorrent = WebTorrentConfig {
        routes,
        max_offers: 2,
        max_torrents: 2,
        max_connections: 3,
        ..WebTorrentConfig::default()
    };
    // Connections that are not kept for another request become WebSockets all the same.
    HttpConfig { webtorrent, enable_keepalive: false, ..patient() }
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

/// A browser on a connection in memory, for tests that stop the clock.
async fn in_memory(tracker: &Tracker, path: &str, name: char) -> Browser<DuplexStream> {
    over(pipe(tracker, 4 << 10).0, path, name).await
}

/// The same from the address 192.0.2.`host`.
async fn in_memory_from(host: u8, tracker: &Tracker, name: char) -> Browser<DuplexStream> {
    over(pipe_from([192, 0, 2, host], tracker, 4 << 10).0, "/", name).await
}

async fn over(client: DuplexStream, path: &str, name: char) -> Browser<DuplexStream> {
    let url = format!("ws://tracker{path}");
    let socket = client_async(url, client).await.unwrap().0;
    Browser { socket, peer_id: String::from(name).repeat(20) }
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
