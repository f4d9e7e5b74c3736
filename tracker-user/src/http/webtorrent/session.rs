//! One connection, from the reply that makes a WebSocket of it to its end.

use std::{iter, mem::replace, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Utf8Bytes,
        protocol::{CloseFrame, Message, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    client::{Client, Outcome},
    outlet::{Inlet, WAITING_MAX},
    review::REVIEW_INTERVAL,
};
use crate::{
    http::{HttpFrontend, connection::Outbox, places::Place},
    pipeline::Params,
    stopped::Stopped,
};

/// The longest message: ten offers of the longest that browsers make.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Each connection has so much for reading, and for writing, at all times.
const BUFFER_BYTES: usize = 4 << 10;

/// How often a client is asked for a sign of life, and must have given one.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A WebSocket to be, and who opens it.
pub(in crate::http) struct Session {
    pub(in crate::http) socket: OnUpgrade,
    pub(in crate::http) outbox: Arc<Outbox>,
    pub(in crate::http) source: SocketAddr,
    /// Of the URL.
    pub(in crate::http) params: Params,
    pub(in crate::http) place: Place,
}

impl Session {
    /// Serves the client until it goes. The reply must have been sent.
    pub(in crate::http) async fn run(self, frontend: Arc<HttpFrontend>, stopped: Stopped) {
        let Self { socket, outbox, source, params, place: _place } = self;
        let Ok(stream) = socket.await else { return };
        outbox.hand_over();
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = TokioIo::new(stream);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let (client, inlet) = Client::new(frontend, source, params);
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reviews = interval_at(Instant::now() + REVIEW_INTERVAL, REVIEW_INTERVAL);
        reviews.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What ends it is the client's affair.
        let _ = Conversation { socket, outbox, client, inlet, pings, reviews }.run(stopped).await;
    }
}

/// An open WebSocket. What is written to it has the write timeout, as all that is written to its stream.
struct Conversation<S> {
    socket: WebSocketStream<S>,
    outbox: Arc<Outbox>,
    client: Client,
    inlet: Inlet,
    pings: Interval,
    reviews: Interval,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    async fn run(mut self, stopped: Stopped) -> Result<(), Error> {
        let mut stopped = pin!(stopped.wait());
        let mut is_heard = true;
        loop {
            tokio::select! {
                message = self.socket.next() => {
                    let Some(message) = message else { return Ok(()) };
                    is_heard = true;
                    self.receive(message?).await?;
                }
                () = &mut stopped => {
                    let (code, reason) = (CloseCode::Away, Utf8Bytes::default());
                    return self.socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
                }
                relayed = self.inlet.next() => self.pass_on(relayed).await?,
                _ = self.reviews.tick() => self.client.review().await,
                _ = self.pings.tick() => {
                    if !replace(&mut is_heard, false) {
                        return Ok(());
                    }
                    self.socket.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), Error> {
        let Outcome { reply, answered } = match &message {
            Message::Text(text) => self.client.receive(text).await,
            Message::Binary(bytes) => match str::from_utf8(bytes) {
                Ok(text) => self.client.receive(text).await,
                Err(_) => return Err(Error::Utf8("binary".to_owned())),
            },
            // The library answers a ping, and the end of a conversation. That leaves before more is read: it
            // would keep the answers for who does not read them.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                return self.socket.flush().await;
            }
        };
        if let Some(answered) = answered {
            self.outbox.push(answered);
        }
        match reply {
            Some(reply) => self.socket.send(Message::text(reply)).await,
            None => Ok(()),
        }
    }

    /// Sends a message of another client, and those that have come after it, at once.
    async fn pass_on(&mut self, first: String) -> Result<(), Error> {
        let Self { socket, inlet, .. } = self;
        socket.feed(Message::text(first)).await?;
        for next in iter::from_fn(|| inlet.waiting()).take(WAITING_MAX) {
            socket.feed(Message::text(next)).await?;
        }
        socket.flush().await
    }
}
