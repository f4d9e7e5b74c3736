//! One connection, from the reply that makes a WebSocket of it to its end.

use std::{
    future::poll_fn, mem::replace, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
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
    outlet::{Inlet, Waiting},
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

/// How long a client may take for that where another address has announced its peer id. It is long enough for a bad
/// line, so that announcing the peer id of another client does not end that client's connection.
const SIGN_WAIT: Duration = Duration::from_secs(10);

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
        let conversation = Conversation {
            socket,
            outbox,
            client,
            inlet,
            pings,
            reviews,
            is_heard: true,
            is_ping_due: false,
            sign_due: None,
            is_flushed: true,
            in_flight: None,
        };
        // What ends it is the client's affair.
        let _ = conversation.run(stopped).await;
    }
}

/// An open WebSocket.
///
/// What the client has asked for (replies, pongs) it has to take within the write timeout, and meanwhile it is not
/// heard. What others send it, and pings, it may take slowly: the session goes on to read from it, more messages wait
/// or are dropped, and the connection ends when a ping is not answered.
struct Conversation<S> {
    socket: WebSocketStream<S>,
    outbox: Arc<Outbox>,
    client: Client,
    inlet: Inlet,
    pings: Interval,
    reviews: Interval,
    /// The client has sent something since the last ping.
    is_heard: bool,
    /// A ping is to be sent when all that was written has left.
    is_ping_due: bool,
    /// Until when it has to send something, where it was asked to.
    sign_due: Option<Instant>,
    /// All that was written has left.
    is_flushed: bool,
    /// The message of another client that is leaving.
    in_flight: Option<Waiting>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    async fn run(mut self, stopped: Stopped) -> Result<(), Error> {
        let mut stopped = pin!(stopped.wait());
        loop {
            if self.is_flushed && replace(&mut self.is_ping_due, false) {
                // A slow reader has as long for its answer as others.
                self.pings.reset();
                self.begin(Message::Ping(Vec::new().into())).await?;
            }
            tokio::select! {
                turn = turn(&mut self.socket, self.is_flushed) => match turn? {
                    Turn::Flushed => self.flushed(),
                    Turn::Received(message) => {
                        self.is_heard = true;
                        self.sign_due = None;
                        self.receive(message).await?;
                    }
                    Turn::Ended => return Ok(()),
                },
                () = &mut stopped => {
                    let (code, reason) = (CloseCode::Away, Utf8Bytes::default());
                    return self.reply(Message::Close(Some(CloseFrame { code, reason }))).await;
                }
                relayed = self.inlet.next(), if self.is_flushed => self.pass_on(relayed).await?,
                _ = self.reviews.tick() => self.client.review().await,
                () = self.inlet.asked(), if self.is_flushed && self.sign_due.is_none() => {
                    self.sign_due = Some(Instant::now() + SIGN_WAIT);
                    self.is_ping_due = true;
                }
                () = passed(self.sign_due) => return Ok(()),
                _ = self.pings.tick() => {
                    if !replace(&mut self.is_heard, false) {
                        return Ok(());
                    }
                    self.is_ping_due = true;
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
            // would keep the answers for a client that does not read them.
            Message::Ping(_) | Message::Close(_) => {
                self.outbox.set_patient(false);
                self.socket.flush().await?;
                self.flushed();
                return Ok(());
            }
            Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        if let Some(answered) = answered {
            self.outbox.push(answered);
        }
        match reply {
            Some(reply) => self.reply(Message::text(reply)).await,
            None => Ok(()),
        }
    }

    /// Sends what the client has asked for, behind what is on its way.
    async fn reply(&mut self, message: Message) -> Result<(), Error> {
        self.outbox.set_patient(false);
        self.socket.send(message).await?;
        self.flushed();
        Ok(())
    }

    /// Begins to send a message of another client.
    async fn pass_on(&mut self, mut relayed: Waiting) -> Result<(), Error> {
        let text = std::mem::take(&mut relayed.text);
        self.in_flight = Some(relayed);
        self.begin(Message::text(text)).await
    }

    /// Begins to send a message where all before has left, so this does not wait.
    async fn begin(&mut self, message: Message) -> Result<(), Error> {
        self.outbox.set_patient(true);
        self.is_flushed = false;
        self.socket.feed(message).await
    }

    fn flushed(&mut self) {
        self.is_flushed = true;
        self.in_flight = None;
    }
}

/// Ends at that time, if there is one.
async fn passed(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What a connection does next.
enum Turn {
    Received(Message),
    Flushed,
    Ended,
}

/// Reads, and writes what has not left.
async fn turn<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    is_flushed: bool,
) -> Result<Turn, Error> {
    poll_fn(|context| {
        if !is_flushed && let Poll::Ready(flushed) = socket.poll_flush_unpin(context) {
            return Poll::Ready(flushed.map(|()| Turn::Flushed));
        }
        socket.poll_next_unpin(context).map(|message| match message {
            Some(message) => message.map(Turn::Received),
            None => Ok(Turn::Ended),
        })
    })
    .await
}
