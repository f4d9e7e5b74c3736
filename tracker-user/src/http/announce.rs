//! Reads an announce (BEP 3) from its query.

use std::net::{IpAddr, SocketAddr};

use tracker_common::{announce::Event, id::PeerId, source::may_be_claimed};

use super::{
    claims::{Place, places},
    query::Query,
    refusal::{NO_ADDRESS, NO_INFO_HASH, refusal},
};
use crate::{
    config::HttpConfig,
    pipeline::{AnnounceRequest, Params, Refusal},
};

/// An announce and how its reply shall look.
#[derive(Debug)]
pub(super) struct Announce {
    pub(super) request: AnnounceRequest,
    /// Where it came from; `None` where the peer's word was taken and the proxy's was unreadable.
    pub(super) client: Option<IpAddr>,
    /// Where the peer is in the other address family, if it says so (BEP 7).
    pub(super) also_at: Option<SocketAddr>,
    /// Peers as a string (BEP 23) instead of dictionaries.
    pub(super) compact: bool,
    /// Peer ids are not wanted in those dictionaries.
    pub(super) no_peer_id: bool,
}

impl Announce {
    /// The same announce in the swarm of the other address family, where the peer is in both.
    pub(super) fn also(&self) -> Option<AnnounceRequest> {
        Some(AnnounceRequest { peer: self.also_at?, ..self.request.clone() })
    }
}

/// The parameters that an [`Announce`] holds; hooks are given the others.
const PARSED: [&str; 9] = [
    "compact",
    "downloaded",
    "event",
    "left",
    "no_peer_id",
    "numwant",
    "peer_id",
    "port",
    "uploaded",
];

/// The `left` of a client that does not know it yet, for it has a magnet link only: the most that a signed number
/// holds, as databases and other languages have them.
pub(super) const LEFT_UNKNOWN: u64 = i64::MAX as u64;

/// Checks come in Chihaya's order, so that a request with several faults gets the same answer. What a tracker can do
/// without is no fault: an unknown event, and figures that are absent or no numbers.
///
/// # Errors
/// A [`Refusal::Client`] for the first fault.
pub(super) fn parse(
    query: &Query,
    route_params: Vec<(&str, String)>,
    client: Option<IpAddr>,
    config: &HttpConfig,
) -> Result<Announce, Refusal> {
    let event = query.get("event").and_then(parse_event).unwrap_or_default();
    let info_hash = match query.info_hashes() {
        [] => return Err(NO_INFO_HASH),
        [info_hash] => *info_hash,
        _ => return Err(refusal("multiple info_hash parameters supplied")),
    };
    let peer_id = query.get("peer_id").ok_or_else(|| unparsed("peer_id"))?;
    let peer_id = peer_id.try_into().map_err(|_| refusal("failed to provide valid peer_id"))?;
    let left = number(query, "left").unwrap_or(LEFT_UNKNOWN);
    let downloaded = number(query, "downloaded").unwrap_or(0);
    let uploaded = number(query, "uploaded").unwrap_or(0);
    let wish = number(query, "numwant").unwrap_or(config.default_numwant.into());
    let numwant = wish.min(config.max_numwant.into()).min(u16::MAX.into()) as u16;
    let port = number(query, "port").and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| unparsed("port"))?;
    let (place, other) = if config.allow_ip_spoofing {
        places(query, client)?
    } else {
        (Place { address: client.ok_or(NO_ADDRESS)?, port: None }, None)
    };
    if port == 0 {
        return Err(refusal("invalid port"));
    }
    let peer = place.peer(port);
    if !may_be_claimed(peer, client) {
        return Err(refusal("invalid IP"));
    }
    let also_at = other.map(|other| other.peer(port)).filter(|&at| may_be_claimed(at, client));
    let params = params(query, &PARSED, route_params);
    let request = AnnounceRequest {
        info_hash,
        peer_id: PeerId(peer_id),
        peer,
        event,
        left,
        downloaded,
        uploaded,
        numwant,
        seed: fastrand::u32(..),
        interface: 0,
        params,
    };
    let compact = query.get("compact").is_some_and(is_set);
    let no_peer_id = query.get("no_peer_id").is_some_and(is_set);
    Ok(Announce { request, client, also_at, compact, no_peer_id })
}

/// What a query leaves for the hooks, and after it, so that they win, the route's parameters.
pub(super) fn params(query: &Query, parsed: &[&str], route_params: Vec<(&str, String)>) -> Params {
    let mut params = Params::default();
    for (key, value) in query.iter() {
        if !parsed.iter().any(|name| name.as_bytes() == key) {
            params.push(String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        }
    }
    for (name, value) in route_params {
        params.push(name, value);
    }
    params
}

/// In any case, as Chihaya reads it; nothing is no event. An unknown one is none for HTTP.
pub(super) fn parse_event(name: &[u8]) -> Option<Event> {
    let events: [(&[u8], Event); 6] = [
        (b"", Event::None),
        (b"none", Event::None),
        (b"started", Event::Started),
        (b"stopped", Event::Stopped),
        (b"completed", Event::Completed),
        (b"paused", Event::Paused),
    ];
    events.into_iter().find(|(text, _)| name.eq_ignore_ascii_case(text)).map(|(_, event)| event)
}

/// An unsigned decimal number, or the largest one where it is larger; `None` for a negative one and for what is no
/// number. Rust would take a leading plus sign, Go does not.
fn number(query: &Query, key: &str) -> Option<u64> {
    let digits = query.get(key)?.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX))
}

fn unparsed(key: &str) -> Refusal {
    Refusal::Client(format!("failed to parse parameter: {key}").into())
}

fn is_set(flag: &[u8]) -> bool {
    !matches!(flag, b"" | b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4050-bbbbbbbbbbbb\
                        &left=1&downloaded=2&uploaded=3&port=6881";

    /// Parses an announce from 192.0.2.1, or from a proxy that says nothing readable.
    fn parse_from(
        text: &str,
        client: Option<&str>,
        options: &HttpConfig,
    ) -> Result<Announce, String> {
        let mut query = Query::default();
        query.parse(text).map_err(|error| error.to_string())?;
        let client = client.map(|address| address.parse().unwrap());
        parse(&query, vec![("passkey", "k3y".to_owned())], client, options).map_err(|refusal| {
            match refusal {
                Refusal::Client(reason) => reason.into_owned(),
                other => panic!("{other:?}"),
            }
        })
    }

    fn parse_text(text: &str) -> Result<Announce, String> {
        parse_from(text, Some("192.0.2.1"), &HttpConfig::default())
    }

    /// The failure reason of the good announce with `from` replaced by `to`.
    fn reason(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        parse_text(&GOOD.replace(from, to)).unwrap_err()
    }

    #[test]
    fn a_good_announce_is_read_in_full() {
        let announce = parse_text(&format!("{GOOD}&event=STARTED&key=x&jwt=y")).unwrap();
        let request = announce.request;
        assert_eq!(request.info_hash.0, [b'a'; 20]);
        assert_eq!(&request.peer_id.0, b"-TR4050-bbbbbbbbbbbb");
        assert_eq!(request.peer, "192.0.2.1:6881".parse().unwrap());
        assert_eq!(request.event, Event::Started);
        assert_eq!((request.left, request.downloaded, request.uploaded), (1, 2, 3));
        assert_eq!(request.params.get("key"), Some("x"));
        assert_eq!(request.params.get("jwt"), Some("y"));
        assert_eq!(request.params.get("port"), None);
        assert!(!announce.compact && !announce.no_peer_id);
    }

    #[test]
    fn a_route_s_parameter_wins_over_the_query_s() {
        let announce = parse_text(&format!("{GOOD}&passkey=forged")).unwrap();
        assert_eq!(announce.request.params.get("passkey"), Some("k3y"));
    }

    #[test]
    fn each_fault_has_its_reason() {
        let number = |key| format!("failed to parse parameter: {key}");
        assert_eq!(reason("info_hash", "x"), "no info_hash parameter supplied");
        assert_eq!(reason("aaaaaaaaaaaaaaaaaaaa", "a"), "provided invalid infohash");
        assert_eq!(
            reason("&left", "&info_hash=aaaaaaaaaaaaaaaaaaaa&left"),
            "multiple info_hash parameters supplied"
        );
        assert_eq!(reason("peer_id", "x"), number("peer_id"));
        assert_eq!(reason("-TR4050-bbbbbbbbbbbb", "-TR"), "failed to provide valid peer_id");
        assert_eq!(reason("6881", "-1"), number("port"));
        assert_eq!(reason("6881", "%2B1"), number("port"));
        assert_eq!(reason("&port=6881", ""), number("port"));
        assert_eq!(reason("6881", "65536"), number("port"));
        assert_eq!(reason("6881", "0"), "invalid port");
        assert_eq!(reason("6881", "%zz"), "invalid query escape");
    }

    #[test]
    fn of_several_faults_the_first_in_chihaya_s_order_is_told() {
        let mut text = "port=0;ip=x;event=x;numwant=x".to_owned();
        let mut proxied = |repair: &str, expected: &str| {
            let options = HttpConfig::default();
            assert_eq!(parse_from(&text, None, &options).unwrap_err(), expected);
            text.push_str(repair);
        };
        let number = |key| format!("failed to parse parameter: {key}");
        proxied(";info_hash=aaaaaaaaaaaaaaaaaaaa", "no info_hash parameter supplied");
        proxied(";peer_id=x", &number("peer_id"));
        proxied(";peer_id=bbbbbbbbbbbbbbbbbbbb", "failed to provide valid peer_id");
        proxied(";port=x", "failed to parse peer IP address");
        proxied(";port=0", &number("port"));
        proxied("", "failed to parse peer IP address");
        assert_eq!(parse_text(&text).unwrap_err(), "invalid port");
    }

    #[test]
    fn figures_that_are_absent_or_no_numbers_are_taken() {
        let figures = |from: &str, to: &str| {
            let request = parse_text(&GOOD.replace(from, to)).unwrap().request;
            (request.left, request.downloaded, request.uploaded)
        };
        for left in ["&left=-1", "&left=", "&left", "", "&left=null", "&left=%2B1"] {
            assert_eq!(figures("&left=1", left), (LEFT_UNKNOWN, 2, 3), "{left:?}");
        }
        assert_eq!(figures("left=1", "left=18446744073709551616").0, u64::MAX);
        assert_eq!(figures("left=1", "left=0").0, 0);
        assert_eq!(figures("&downloaded=2&uploaded=3", ""), (1, 0, 0));
        assert_eq!(figures("downloaded=2", "downloaded=-5"), (1, 0, 3));
        assert_eq!(figures("uploaded=3", "uploaded=x"), (1, 2, 0));
    }

    #[test]
    fn an_unknown_event_is_a_plain_announce() {
        for event in ["empty", "x", "stoppedx", "%ff"] {
            let announce = parse_text(&format!("{GOOD}&event={event}")).unwrap();
            assert_eq!(announce.request.event, Event::None, "{event}");
        }
    }

    #[test]
    fn events_are_told_in_any_case() {
        let event = |name: &str| parse_text(&format!("{GOOD}&event={name}")).unwrap().request.event;
        assert_eq!(event(""), Event::None);
        assert_eq!(event("None"), Event::None);
        assert_eq!(event("sTopped"), Event::Stopped);
        assert_eq!(event("completed"), Event::Completed);
        assert_eq!(event("PAUSED"), Event::Paused);
    }

    #[test]
    fn numwant_is_defaulted_and_clamped() {
        let numwant = |extra: &str| parse_text(&format!("{GOOD}{extra}")).unwrap().request.numwant;
        assert_eq!(numwant(""), 50);
        assert_eq!(numwant("&numwant=0"), 0);
        assert_eq!(numwant("&numwant=7"), 7);
        assert_eq!(numwant("&numwant=4294967295"), 100);
        assert_eq!(numwant("&numwant=99999999999999999999"), 100);
        for unsaid in ["&numwant=-1", "&numwant=", "&numwant", "&numwant=x"] {
            assert_eq!(numwant(unsaid), 50, "{unsaid}");
        }
    }

    #[test]
    fn compact_and_no_peer_id_are_set_by_anything_but_0_and_nothing() {
        for (value, set) in [("1", true), ("yes", true), ("0", false), ("", false)] {
            let announce = parse_text(&format!("{GOOD}&compact={value}&no_peer_id={value}"));
            let announce = announce.unwrap();
            assert_eq!((announce.compact, announce.no_peer_id), (set, set), "{value:?}");
        }
    }

    #[test]
    fn a_claimed_address_counts_only_where_spoofing_is_allowed() {
        let spoofing = HttpConfig { allow_ip_spoofing: true, ..HttpConfig::default() };
        let address = |extra: &str, options: &HttpConfig| {
            parse_from(&format!("{GOOD}{extra}"), Some("192.0.2.1"), options)
                .map(|announce| announce.request.peer.ip().to_string())
        };
        let claims = "&ipv6=2001:db8::1&ipv4=::ffff:198.51.100.4";
        assert_eq!(address(claims, &HttpConfig::default()).unwrap(), "192.0.2.1");
        assert_eq!(address("", &spoofing).unwrap(), "192.0.2.1");
        assert_eq!(address(claims, &spoofing).unwrap(), "198.51.100.4");
        assert_eq!(address("&ipv6=2001:db8::1", &spoofing).unwrap(), "192.0.2.1");
        assert_eq!(address(&format!("{claims}&ip=203.0.113.9"), &spoofing).unwrap(), "203.0.113.9");
        assert_eq!(
            address(&format!("{claims}&ip=localhost"), &spoofing).unwrap_err(),
            "failed to parse peer IP address"
        );
        for nobody in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(address(&format!("&ip={nobody}"), &spoofing).unwrap(), "192.0.2.1");
        }
        for useless in ["224.0.0.1", "ff02::1"] {
            let reason = address(&format!("&ip={useless}"), &spoofing).unwrap_err();
            assert_eq!(reason, "invalid IP", "{useless}");
        }
    }
}
