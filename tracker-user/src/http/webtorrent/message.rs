//! The messages: JSON texts. An id is a string of 20 characters, one for each byte, as JavaScript has them.
//!
//! There is no specification but what `bittorrent-tracker`, the client of WebTorrent, sends and takes.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;
use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::{
    http::{
        Action,
        announce::{LEFT_UNKNOWN, parse_event},
        refusal::{NO_INFO_HASH, refusal},
    },
    pipeline::{Refusal, SwarmStats},
};

/// 24 days. Timers of JavaScript that are set to more go off at once.
const INTERVAL_MAX_S: u32 = 24 * 24 * 60 * 60;

/// What a client sends.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Announce(Announce<'a>),
    Answer(Answer<'a>),
    Scrape(Vec<InfoHash>),
}

/// Here is a peer, which would like others to connect to it.
#[derive(Debug)]
pub(super) struct Announce<'a> {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) event: Event,
    pub(super) left: u64,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) offers: Vec<Offer<'a>>,
}

/// How to connect to the announcer, for one other peer: WebRTC's affair.
#[derive(Debug, Deserialize)]
pub(super) struct Offer<'a> {
    #[serde(borrow)]
    pub(super) offer: &'a RawValue,
    #[serde(borrow)]
    pub(super) offer_id: &'a RawValue,
}

/// The reply of a peer to another one's offer.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) to_peer_id: PeerId,
    pub(super) answer: &'a RawValue,
    pub(super) offer_id: &'a RawValue,
}

/// Why a message cannot be read, and what it seems to be about.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) subject: Subject,
    pub(super) refusal: Refusal,
}

/// What a refusal is about: clients find out by it which request has failed, and some break off where it is
/// half known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) action: Action,
    pub(super) info_hash: Option<InfoHash>,
}

/// The fields of all messages. As in JavaScript, of several members of one name the last one counts.
#[derive(Default)]
struct Fields<'a> {
    members: [Option<&'a RawValue>; MEMBERS],
}

/// The members that messages may have.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Action,
    InfoHash,
    PeerId,
    Event,
    Left,
    Downloaded,
    Uploaded,
    /// A list of [`Offer`].
    Offers,
    Answer,
    OfferId,
    ToPeerId,
    #[serde(other)]
    Unknown,
}

const MEMBERS: usize = Member::Unknown as usize + 1;

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some((member, value)) = map.next_entry::<Member, &RawValue>()? {
                    fields.members[member as usize] = Some(value);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl<'a> Fields<'a> {
    /// The value of a member that is there, and not null.
    fn value(&self, member: Member) -> Option<&'a RawValue> {
        self.members[member as usize].filter(|value| value.get() != "null")
    }

    /// A member that must be of this kind, if it is there.
    fn parse<T: Deserialize<'a>>(&self, member: Member) -> Result<Option<T>, Refusal> {
        let parse = |value: &'a RawValue| serde_json::from_str(value.get());
        self.value(member).map(parse).transpose().map_err(|_| UNPARSED)
    }

    /// A number of bytes, rounded up, of a number or a text that is one; `None` for a negative one and for what is
    /// none. JavaScript has no integers, writes infinity as `null`, and reads numbers beyond its range as infinity.
    fn bytes(&self, member: Member) -> Option<u64> {
        let value = self.value(member)?.get();
        let text: String = serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
        let number: f64 = text.trim().parse().ok()?;
        // A part of a byte is something that a peer lacks.
        (number >= 0.0).then_some(number.ceil() as u64)
    }
}

const UNPARSED: Refusal = refusal("failed to parse message");

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong, for the client.
    pub(super) fn parse(text: &'a str) -> Result<Self, Unreadable> {
        let mut subject = Subject { action: Action::Announce, info_hash: None };
        let mut read = || {
            let fields: Fields = serde_json::from_str(text).map_err(|_| UNPARSED)?;
            let action: String = fields.parse(Member::Action)?.ok_or(UNPARSED)?;
            let info_hashes: Option<OneOrMany> = fields.parse(Member::InfoHash)?;
            let info_hashes = info_hashes.as_ref().map_or(&[][..], OneOrMany::as_slice);
            let info_hash = match info_hashes {
                [one] => Some(InfoHash(id(Some(one), NO_INFO_HASH)?)),
                _ => None,
            };
            subject.info_hash = info_hash;
            match &*action {
                "announce" => fields.announce(info_hash.ok_or(NO_INFO_HASH)?),
                "scrape" => {
                    subject.action = Action::Scrape;
                    scrape(info_hashes)
                }
                _ => Err(refusal("invalid action")),
            }
        };
        let read: Result<Self, Refusal> = read();
        read.map_err(|refusal| Unreadable { subject, refusal })
    }
}

impl<'a> Fields<'a> {
    fn announce(&self, info_hash: InfoHash) -> Result<Message<'a>, Refusal> {
        let peer_id: Option<String> = self.parse(Member::PeerId)?;
        let peer_id = PeerId(id(peer_id.as_ref(), refusal("failed to provide valid peer_id"))?);
        if let Some(answer) = self.value(Member::Answer) {
            let to_peer_id: Option<String> = self.parse(Member::ToPeerId)?;
            let to_peer_id = PeerId(id(to_peer_id.as_ref(), refusal("invalid to_peer_id"))?);
            let offer_id = self.value(Member::OfferId).ok_or(refusal("invalid offer_id"))?;
            return Ok(Message::Answer(Answer {
                info_hash,
                peer_id,
                to_peer_id,
                answer,
                offer_id,
            }));
        }
        // Clients have names of their own for none, `update` and `empty`. What is no text is none either.
        let event: Option<String> = self.parse(Member::Event).unwrap_or_default();
        let event = event.and_then(|name| parse_event(name.as_bytes())).unwrap_or_default();
        let downloaded = self.bytes(Member::Downloaded).unwrap_or(0);
        let uploaded = self.bytes(Member::Uploaded).unwrap_or(0);
        let left = self.bytes(Member::Left).unwrap_or(LEFT_UNKNOWN);
        let offers = self.value(Member::Offers).map(offers).unwrap_or_default();
        Ok(Message::Announce(Announce {
            info_hash,
            peer_id,
            event,
            left,
            downloaded,
            uploaded,
            offers,
        }))
    }
}

fn scrape<'a>(info_hashes: &[String]) -> Result<Message<'a>, Refusal> {
    if info_hashes.is_empty() {
        return Err(NO_INFO_HASH);
    }
    let info_hashes = info_hashes.iter().map(|text| id(Some(text), NO_INFO_HASH).map(InfoHash));
    info_hashes.collect::<Result<_, _>>().map(Message::Scrape)
}

/// Those of a list that are offers. The others are skipped, and so is what is no list.
fn offers(list: &RawValue) -> Vec<Offer<'_>> {
    let all: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    all.into_iter().filter_map(|offer| serde_json::from_str(offer.get()).ok()).collect()
}

/// 20 characters below U+0100.
fn id(text: Option<&String>, missing: Refusal) -> Result<[u8; 20], Refusal> {
    let text = text.ok_or(missing)?;
    let mut id = [0; 20];
    let mut places = id.iter_mut();
    for character in text.chars() {
        let byte = u8::try_from(character);
        let (Ok(byte), Some(place)) = (byte, places.next()) else { return Err(INVALID_ID) };
        *place = byte;
    }
    if places.next().is_some() { Err(INVALID_ID) } else { Ok(id) }
}

const INVALID_ID: Refusal = refusal("provided invalid id");

/// An id as [`id`] reads it.
struct Id([u8; 20]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| fmt::Write::write_char(f, byte.into()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a swarm is doing, and when to announce again.
#[derive(Serialize)]
struct AnnounceReply {
    action: &'static str,
    info_hash: Id,
    interval: u32,
    complete: u32,
    incomplete: u32,
}

/// An offer or answer on its way to another peer.
#[derive(Serialize)]
struct Relayed<'a> {
    action: &'static str,
    info_hash: Id,
    /// Who sends it.
    peer_id: Id,
    offer_id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ScrapeReply<'a> {
    action: &'static str,
    files: Files<'a>,
}

/// The figures of each torrent.
struct Files<'a>(&'a [InfoHash], &'a [SwarmStats]);

#[derive(Serialize)]
struct Figures {
    complete: u32,
    downloaded: u32,
    incomplete: u32,
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut files = serializer.serialize_map(Some(self.0.len()))?;
        for (info_hash, swarm) in self.0.iter().zip(self.1) {
            let &SwarmStats { seeders, leechers, completed } = swarm;
            let figures =
                Figures { complete: seeders, downloaded: completed, incomplete: leechers };
            files.serialize_entry(&Id(info_hash.0), &figures)?;
        }
        files.end()
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<Id>,
    #[serde(rename = "failure reason")]
    reason: &'a str,
}

/// The reply to an announce.
pub(super) fn announce_reply(info_hash: InfoHash, interval_s: u32, swarm: SwarmStats) -> String {
    let SwarmStats { seeders: complete, leechers: incomplete, .. } = swarm;
    let (action, interval) = (ANNOUNCE, interval_s.min(INTERVAL_MAX_S));
    text(&AnnounceReply { action, info_hash: Id(info_hash.0), interval, complete, incomplete })
}

/// The reply to a scrape.
pub(super) fn scrape_reply(info_hashes: &[InfoHash], swarms: &[SwarmStats]) -> String {
    text(&ScrapeReply { action: SCRAPE, files: Files(info_hashes, swarms) })
}

/// The reply to what is refused.
pub(super) fn failure(subject: Subject, refusal: &Refusal) -> String {
    let reason = match refusal {
        Refusal::Client(reason) => reason,
        Refusal::Internal(_) | Refusal::Pending(_) => "internal server error",
    };
    let action = match (subject.action, subject.info_hash) {
        (Action::Announce, Some(_)) => Some(ANNOUNCE),
        // A client that reads of an announce looks for its info-hash.
        (Action::Announce, None) => None,
        (Action::Scrape, _) => Some(SCRAPE),
    };
    text(&Failure { action, info_hash: subject.info_hash.map(|InfoHash(id)| Id(id)), reason })
}

/// An offer of `from`.
pub(super) fn relayed_offer(info_hash: InfoHash, from: PeerId, offer: &Offer) -> String {
    let &Offer { offer, offer_id } = offer;
    let (info_hash, peer_id) = (Id(info_hash.0), Id(from.0));
    let offer = Some(offer);
    text(&Relayed { action: ANNOUNCE, info_hash, peer_id, offer_id, offer, answer: None })
}

/// An answer to an offer.
pub(super) fn relayed_answer(answer: &Answer) -> String {
    let &Answer { info_hash, peer_id, answer, offer_id, .. } = answer;
    let (info_hash, peer_id) = (Id(info_hash.0), Id(peer_id.0));
    let answer = Some(answer);
    text(&Relayed { action: ANNOUNCE, info_hash, peer_id, offer_id, offer: None, answer })
}

const ANNOUNCE: &str = "announce";
const SCRAPE: &str = "scrape";

fn text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("texts and numbers have a form in JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields of messages, each with any value, some of them twice.
    fn fields() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let name = prop::sample::select(vec![
            "action",
            "answer",
            "downloaded",
            "event",
            "info_hash",
            "left",
            "offer",
            "offer_id",
            "offers",
            "peer_id",
            "to_peer_id",
            "uploaded",
        ]);
        let value = prop::sample::select(vec![
            "null",
            "-1",
            "1e400",
            "true",
            "{}",
            "[]",
            "[null]",
            r#""announce""#,
            r#""scrape""#,
            r#""stopped""#,
            r#""aaaaaaaaaaaaaaaaaaaa""#,
            r#"["aaaaaaaaaaaaaaaaaaaa"]"#,
            r#"[{"offer":1,"offer_id":[]}]"#,
        ]);
        prop::collection::vec((name, value), 0..8)
    }

    /// An announce with this member.
    fn announce(member: &str) -> (u64, u64, Event, usize) {
        let text = format!(
            r#"{{"action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaaa","peer_id":"bbbbbbbbbbbbbbbbbbbb",{member}}}"#
        );
        match Message::parse(&text) {
            Ok(Message::Announce(read)) => {
                (read.left, read.uploaded, read.event, read.offers.len())
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_figure_is_a_number_or_a_text_that_is_one_and_anything_else_is_unknown() {
        for (left, expected) in [("0", 0), ("0.5", 1), ("1.5", 2), (r#""10""#, 10), (r#"" 0 ""#, 0)]
        {
            assert_eq!(announce(&format!(r#""left":{left}"#)).0, expected, "{left}");
        }
        for unknown in ["-1", "null", r#""""#, r#""-1""#, r#""NaN""#, "true", "{}", "[0]"] {
            assert_eq!(announce(&format!(r#""left":{unknown}"#)).0, LEFT_UNKNOWN, "{unknown}");
            assert_eq!(announce(&format!(r#""uploaded":{unknown}"#)).1, 0, "{unknown}");
        }
    }

    #[test]
    fn a_number_beyond_all_is_no_reason_to_refuse_a_message() {
        for vast in ["1e400", "123456789012345678901234567890", r#""1e400""#] {
            assert_eq!(announce(&format!(r#""left":{vast}"#)).0, u64::MAX, "{vast}");
            assert_eq!(announce(&format!(r#""uploaded":-1,"numwant":{vast}"#)).1, 0, "{vast}");
        }
        assert_eq!(announce(r#""left":-1e400"#).0, LEFT_UNKNOWN);
        assert_eq!(announce(r#""left":1e-400"#).0, 0);
    }

    #[test]
    fn of_several_members_of_one_name_the_last_one_counts() {
        assert_eq!(announce(r#""left":1,"left":{},"left":2"#).0, 2);
        assert_eq!(announce(r#""left":1,"left":null"#).0, LEFT_UNKNOWN);
        assert_eq!(
            announce(r#""action":"announce","moon":1,"moon":2,"event":"stopped","event":3"#).2,
            Event::None
        );
    }

    #[test]
    fn an_offer_that_cannot_be_read_is_skipped_and_so_is_an_unknown_event() {
        let good = r#"{"offer":1,"offer_id":"x"}"#;
        for (offers, expected) in [
            (format!("[null,{good},{{}},[],1,{{\"offer\":1}},{good}]"), 2),
            ("{}".to_owned(), 0),
            ("null".to_owned(), 0),
            ("1".to_owned(), 0),
        ] {
            assert_eq!(announce(&format!(r#""offers":{offers}"#)).3, expected, "{offers}");
        }
        for event in ["update", "empty", "gone", ""] {
            assert_eq!(announce(&format!(r#""event":"{event}""#)).2, Event::None, "{event}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read_or_refused_in_json(fields in fields()) {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
            if let Err(Unreadable { subject, refusal }) = Message::parse(&format!("{{{}}}", fields.join(","))) {
                let reply = failure(subject, &refusal);
                let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
                prop_assert!(reply["failure reason"].is_string());
            }
        }

        #[test]
        fn an_id_is_read_as_it_is_written(id: [u8; 20], peer_id: [u8; 20]) {
            let id = serde_json::to_string(&Id(id)).unwrap();
            let peer_id = serde_json::to_string(&Id(peer_id)).unwrap();
            let text = format!(r#"{{"info_hash":{id},"peer_id":{peer_id},"action":"announce"}}"#);
            let Ok(Message::Announce(read)) = Message::parse(&text) else { panic!("{text}") };
            prop_assert_eq!(serde_json::to_string(&Id(read.info_hash.0)).unwrap(), id);
            prop_assert_eq!(serde_json::to_string(&Id(read.peer_id.0)).unwrap(), peer_id);
            prop_assert_eq!((read.left, read.event, read.offers.len()), (LEFT_UNKNOWN, Event::None, 0));
        }
    }
}
