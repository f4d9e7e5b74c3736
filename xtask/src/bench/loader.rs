//! A load from userspace, over one socket that sends from every client's address.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use loadgen::{Player, Request, Ticket, client_v4, kind};
use tracker_common::wire::action;
use tracker_tests::Namespace;

use super::{cable::PORT, datagrams::Datagrams, processor, requests};

/// Where trackers serve.
pub const TRACKER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Requests that may wait for their replies.
const WINDOW: u64 = 1024;

const PATIENCE: Duration = Duration::from_nanos(Player::PATIENCE_NS);

/// How often connects that got no reply are repeated.
const ATTEMPTS: usize = 5;

/// How long a list is played.
pub enum Length {
    /// Each request once.
    Once,
    /// So long.
    For(Duration),
}

/// What came of it.
#[derive(Clone, Copy, Default)]
pub struct Played {
    /// Replies that are no errors.
    pub good: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Asks the tracker of a host, on the host itself.
pub struct Loader<'a> {
    host: &'a Namespace,
}

impl<'a> Loader<'a> {
    /// Makes the addresses of all clients the host's own.
    ///
    /// # Errors
    /// `ip` is missing.
    pub fn new(host: &'a Namespace) -> Result<Self> {
        host.run("ip", &["route", "add", "local", "32.0.0.0/4", "dev", "lo"])?;
        Ok(Self { host })
    }

    /// Sets the connection ids of a list.
    ///
    /// # Errors
    /// A client gets none.
    pub fn connect(&self, list: &mut [Request], clients: u32) -> Result<()> {
        let mut ids = vec![None; clients as usize];
        for _ in 0..ATTEMPTS {
            let connects: Vec<_> = (0..)
                .zip(&ids)
                .filter(|(_, id)| id.is_none())
                .map(|(client, _)| Request { client, kind: kind::CONNECT, ..Request::default() })
                .collect();
            if connects.is_empty() {
                for request in list {
                    request.connection_id = ids[request.client as usize].unwrap_or_default();
                }
                return Ok(());
            }
            self.play(&connects, Length::Once, |message| {
                let (index, id) = connected(message)?;
                ids[connects.get(index as usize)?.client as usize] = Some(id);
                Some(())
            })?;
        }
        bail!("connects got no reply")
    }

    /// Plays a list, and shows each reply to `see`.
    ///
    /// # Errors
    /// The network fails.
    pub fn play(
        &self,
        list: &[Request],
        length: Length,
        see: impl FnMut(&[u8]) -> Option<()> + Send,
    ) -> Result<Played> {
        self.host.enter(|| {
            processor::claim(0)?;
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            Session { socket, list, next: 0, lap: 0, sent: 0, replied: 0, lost: 0, good: 0 }
                .play(length, see)
        })
    }
}

struct Session<'a> {
    socket: UdpSocket,
    list: &'a [Request],
    next: usize,
    lap: u32,
    sent: u64,
    replied: u64,
    lost: u64,
    good: u64,
}

impl Session<'_> {
    fn play(mut self, length: Length, mut see: impl FnMut(&[u8]) -> Option<()>) -> Result<Played> {
        let (start, mut progress) = (Instant::now(), Instant::now());
        let (mut requests, mut replies) = (Datagrams::new(), Datagrams::new());
        loop {
            let is_over = match length {
                Length::Once => self.lap > 0,
                Length::For(time) => start.elapsed() > time,
            };
            let waiting = self.sent.saturating_sub(self.replied + self.lost);
            if is_over && (waiting == 0 || matches!(length, Length::For(_))) {
                break;
            }
            if !is_over && waiting < WINDOW {
                self.send(&mut requests, matches!(length, Length::Once))?;
            }
            replies.receive(&self.socket)?;
            let before = self.replied;
            for message in replies.messages() {
                self.replied += 1;
                self.good += u64::from(!message.starts_with(&action::ERROR));
                see(message);
            }
            if self.replied > before {
                progress = Instant::now();
            } else if progress.elapsed() > PATIENCE {
                self.lost += waiting;
            } else if waiting >= WINDOW || is_over {
                thread::sleep(Duration::from_micros(20));
            }
        }
        Ok(Played { good: self.good, elapsed: start.elapsed() })
    }

    fn send(&mut self, requests: &mut Datagrams, once: bool) -> Result<()> {
        while !(requests.is_full() || once && self.lap > 0) {
            let request = &self.list[self.next];
            let (index, lap) = (self.next as u32, self.lap);
            requests.push(client_v4(request.client), |message| {
                requests::write(request, index, lap, message);
            });
            self.next += 1;
            if self.next == self.list.len() {
                (self.next, self.lap) = (0, self.lap + 1);
            }
        }
        self.sent += requests.send(&self.socket, SocketAddr::from((TRACKER, PORT)))? as u64;
        Ok(())
    }
}

/// Which connect was answered, with which id.
fn connected(message: &[u8]) -> Option<(u32, [u8; 8])> {
    let (action, rest) = message.split_first_chunk()?;
    let (transaction_id, id) = rest.split_first_chunk()?;
    let ticket = Ticket(u32::from_be_bytes(*transaction_id));
    (*action == action::CONNECT).then_some((ticket.index(), id.try_into().ok()?))
}
