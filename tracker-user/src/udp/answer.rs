//! Decides what one datagram is answered with.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use tracker_common::{
    family::{V4, V6},
    id::InfoHash,
    source::{is_answered_port, socket_can_be_a_peer},
    wire::{
        AnnounceReply, ConnectReply, Failure, PROTOCOL_ID, ReplyHead, RequestHead, SCRAPE_MAX,
        ScrapeEntry, action, is_told_of_bad_id,
    },
};

use super::{
    Action, announce,
    layout::{bytes, split},
    own::OwnEndpoints,
    settings::UdpSettings,
};
use crate::{
    config::BadConnectionId,
    pipeline::{
        AnnounceRequest, AnnounceResponse, Params, Pipeline, Refusal, ScrapeRequest, SwarmStats,
    },
};

/// What a client reads when the fault is ours.
const INTERNAL_ERROR: &str = "internal server error";

/// Of a source that gets no reply at all: a label of metrics.
const UNANSWERED_SOURCE: Refusal = Refusal::Client(Cow::Borrowed("unanswered source"));

/// One request as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The payload.
    pub bytes: &'a [u8],
    /// Who sent it; an IPv4-mapped address counts as IPv4.
    pub source: SocketAddr,
    /// The index of the interface that it came by; 0 where that is not known.
    pub interface: u32,
    /// `CLOCK_MONOTONIC_COARSE`, as in the kernel, so that each accepts the other's connection ids.
    pub wall_ns: u64,
}

/// What became of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was asked for; unknown where the head or the connection id is wrong.
    pub action: Option<Action>,
    /// Whether it could be read. Until then Chihaya does not know the client's address family.
    pub is_read: bool,
    /// What was wrong, whether or not the client was told.
    pub refusal: Option<Refusal>,
}

impl Outcome {
    fn unread(action: Option<Action>, failure: Failure) -> Self {
        Self { action, is_read: false, refusal: Some(failure.into()) }
    }

    /// As a metric label: "" for success.
    #[must_use]
    pub fn error(&self) -> &str {
        match &self.refusal {
            None => "",
            Some(Refusal::Client(text)) => text,
            Some(Refusal::Internal(_)) => "internal error",
            Some(Refusal::Pending(_)) => "undecided",
        }
    }
}

/// Memory that is reused from one request to the next, and the announce that was answered last.
#[derive(Debug)]
pub struct Scratch {
    announced: Option<AnnounceRequest>,
    response: AnnounceResponse,
    scrape: ScrapeRequest,
    swarms: Vec<SwarmStats>,
    url_data: Vec<u8>,
}

impl Scratch {
    /// For post-hooks: what was asked and answered, if the last datagram was a good announce.
    #[must_use]
    pub fn announced(&self) -> Option<(&AnnounceRequest, &AnnounceResponse)> {
        self.announced.as_ref().map(|request| (request, &self.response))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        let nobody = SocketAddr::from(([0; 4], 0));
        Self {
            announced: None,
            response: AnnounceResponse::default(),
            scrape: ScrapeRequest {
                info_hashes: Vec::new(),
                source: nobody,
                params: Params::default(),
            },
            swarms: Vec::new(),
            url_data: Vec::new(),
        }
    }
}

/// Why a request with a good connection id was not served.
struct Unserved {
    is_read: bool,
    refusal: Refusal,
}

/// Of what reading finds.
impl From<Failure> for Unserved {
    fn from(failure: Failure) -> Self {
        Self { is_read: false, refusal: failure.into() }
    }
}

/// Of what the pipeline says to a request that could be read.
impl From<Refusal> for Unserved {
    fn from(refusal: Refusal) -> Self {
        Self { is_read: true, refusal }
    }
}

/// The UDP tracker protocol, without sockets.
pub struct UdpFrontend {
    settings: UdpSettings,
    own: OwnEndpoints,
}

impl UdpFrontend {
    /// A frontend with these settings.
    #[must_use]
    pub fn new(settings: UdpSettings) -> Self {
        let own = OwnEndpoints::new(settings.addrs());
        Self { settings, own }
    }

    /// The same, where the system has chosen ports for those that the settings leave open.
    pub(super) fn at(settings: UdpSettings, addrs: &[SocketAddr]) -> Self {
        Self { settings, own: OwnEndpoints::new(addrs.to_vec()) }
    }

    /// The settings that it was made with.
    pub(super) const fn settings(&self) -> &UdpSettings {
        &self.settings
    }

    /// Answers one datagram. `reply` is overwritten, and empty afterwards if silence is the answer.
    pub fn answer(
        &self,
        pipeline: &Pipeline,
        datagram: &Datagram<'_>,
        scratch: &mut Scratch,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        reply.clear();
        scratch.announced = None;
        let Some((head, _)) = split::<RequestHead>(datagram.bytes) else {
            return Outcome::unread(None, Failure::MalformedPacket);
        };
        if !self.is_answered(datagram.source) {
            return Outcome { action: None, is_read: false, refusal: Some(UNANSWERED_SOURCE) };
        }
        if head.action == action::CONNECT {
            return self.connect(head, datagram, reply);
        }
        if !self.is_valid(head.connection_id, datagram) {
            return self.refuse_connection_id(head, datagram, reply);
        }
        let (action, served) = match head.action {
            action::ANNOUNCE | action::ANNOUNCE_V6 => {
                (Some(Action::Announce), self.announce(pipeline, head, datagram, scratch, reply))
            }
            action::SCRAPE => {
                (Some(Action::Scrape), self.scrape(pipeline, head, datagram, scratch, reply))
            }
            _ => (None, Err(Failure::UnknownAction.into())),
        };
        let (is_read, refusal) = match served {
            Ok(()) => (true, None),
            Err(Unserved { is_read, refusal }) => (is_read, Some(refusal)),
        };
        match &refusal {
            None => {}
            Some(Refusal::Client(text)) => write_error(head, text, reply),
            Some(Refusal::Internal(_)) => write_error(head, INTERNAL_ERROR, reply),
            // A client that hears nothing asks again.
            Some(Refusal::Pending(_)) => {}
        }
        Outcome { action, is_read, refusal }
    }

    /// Whether a client can be there, rather than a service that answers whatever it gets, or ourselves.
    fn is_answered(&self, source: SocketAddr) -> bool {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        is_answered_port(source.port()) && socket_can_be_a_peer(source) && !self.own.contain(source)
    }

    fn connect(&self, head: &RequestHead, datagram: &Datagram<'_>, reply: &mut Vec<u8>) -> Outcome {
        let action = Some(Action::Connect);
        if head.connection_id != PROTOCOL_ID {
            return Outcome::unread(action, Failure::MalformedPacket);
        }
        let (ids, now_ns) = (&self.settings.connection_ids, datagram.wall_ns);
        let connection_id = match client(datagram) {
            IpAddr::V4(source) => ids.issue::<V4>(&source.octets(), now_ns),
            IpAddr::V6(source) => ids.issue::<V6>(&source.octets(), now_ns),
        };
        let transaction_id = head.transaction_id;
        let connect = ConnectReply { action: action::CONNECT, transaction_id, connection_id };
        reply.extend_from_slice(bytes(&connect));
        Outcome { action, is_read: true, refusal: None }
    }

    fn is_valid(&self, connection_id: [u8; 8], datagram: &Datagram<'_>) -> bool {
        let (ids, now_ns) = (&self.settings.connection_ids, datagram.wall_ns);
        match client(datagram) {
            IpAddr::V4(source) => ids.is_valid::<V4>(connection_id, &source.octets(), now_ns),
            IpAddr::V6(source) => ids.is_valid::<V6>(connection_id, &source.octets(), now_ns),
        }
    }

    /// The source may be forged: it is never sent more bytes than it sent, nor anything that another tracker would
    /// answer.
    fn refuse_connection_id(
        &self,
        head: &RequestHead,
        datagram: &Datagram<'_>,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let is_told = is_told_of_bad_id(head, datagram.bytes.len());
        if is_told && self.settings.bad_connection_id == BadConnectionId::Reply {
            write_error(head, Failure::BadConnectionId.text(), reply);
        }
        Outcome::unread(None, Failure::BadConnectionId)
    }

    fn announce(
        &self,
        pipeline: &Pipeline,
        head: &RequestHead,
        datagram: &Datagram<'_>,
        scratch: &mut Scratch,
        reply: &mut Vec<u8>,
    ) -> Result<(), Unserved> {
        let Scratch { announced, response, url_data, .. } = scratch;
        let mut request =
            announce::parse(datagram.bytes, client(datagram), &self.settings, url_data)?;
        request.interface = datagram.interface;
        pipeline.announce(&request, response)?;
        reply.extend_from_slice(bytes(&AnnounceReply {
            action: head.action,
            transaction_id: head.transaction_id,
            interval: response.interval_s.to_be_bytes(),
            leechers: response.swarm.leechers.to_be_bytes(),
            seeders: response.swarm.seeders.to_be_bytes(),
        }));
        reply.extend_from_slice(response.peers.as_bytes());
        *announced = Some(request);
        Ok(())
    }

    fn scrape(
        &self,
        pipeline: &Pipeline,
        head: &RequestHead,
        datagram: &Datagram<'_>,
        scratch: &mut Scratch,
        reply: &mut Vec<u8>,
    ) -> Result<(), Unserved> {
        let (info_hashes, rest) = datagram.bytes[size_of::<RequestHead>()..].as_chunks::<20>();
        if info_hashes.is_empty() || !rest.is_empty() {
            return Err(Failure::MalformedPacket.into());
        }
        let max = self.settings.config.max_scrape_infohashes.min(SCRAPE_MAX) as usize;
        let Scratch { scrape, swarms, .. } = scratch;
        scrape.source = SocketAddr::new(client(datagram), datagram.source.port());
        scrape.info_hashes.clear();
        scrape.info_hashes.extend(info_hashes.iter().copied().take(max).map(InfoHash));
        pipeline.scrape(scrape, swarms)?;

        let transaction_id = head.transaction_id;
        reply.extend_from_slice(bytes(&ReplyHead { action: action::SCRAPE, transaction_id }));
        for swarm in swarms {
            reply.extend_from_slice(bytes(&ScrapeEntry {
                seeders: swarm.seeders.to_be_bytes(),
                completed: swarm.completed.to_be_bytes(),
                leechers: swarm.leechers.to_be_bytes(),
            }));
        }
        Ok(())
    }
}

/// The address that connection ids and swarms go by. A socket of both families, as somebody else's may be,
/// shows IPv4 as IPv6.
fn client(datagram: &Datagram<'_>) -> IpAddr {
    datagram.source.ip().to_canonical()
}

/// The text ends with a NUL, as Chihaya's does.
fn write_error(head: &RequestHead, text: &str, reply: &mut Vec<u8>) {
    let transaction_id = head.transaction_id;
    reply.extend_from_slice(bytes(&ReplyHead { action: action::ERROR, transaction_id }));
    reply.extend_from_slice(text.as_bytes());
    reply.push(0);
}
