//! What must not be answered, lest two trackers, or one with itself, talk to each other without end.

use tracker_common::{policy::Rule, wire::Failure};

use super::*;

const FAILURES: [Failure; 5] = [
    Failure::MalformedPacket,
    Failure::UnknownAction,
    Failure::BadConnectionId,
    Failure::InvalidPort,
    Failure::InvalidIp,
];

/// Replies of every kind. Where a request has its action, announces have the interval, scrapes the seeders of the
/// first torrent: small numbers there make them look like requests.
fn replies() -> Vec<Vec<u8>> {
    let head = |action: [u8; 4]| [action, TRANSACTION_ID].concat();
    let mut replies = vec![[head(action::CONNECT), vec![0xab; 8]].concat()];
    for number in (0..6_u32).chain([1800]).map(u32::to_be_bytes) {
        replies.push([head(action::CONNECT), number.to_vec(), vec![0; 4]].concat());
        for peers in 0..250 {
            for (action, bytes) in [(action::ANNOUNCE, 6), (action::ANNOUNCE_V6, 18)] {
                let rest = vec![0; 8 + bytes * peers];
                replies.push([head(action), number.to_vec(), rest].concat());
            }
        }
        for torrents in 1..75 {
            let rest = vec![0; 12 * torrents - 4];
            replies.push([head(action::SCRAPE), number.to_vec(), rest].concat());
        }
    }
    let refusals = Rule::ALL.map(Rule::text);
    let texts =
        FAILURES.map(Failure::text).into_iter().chain(refusals).chain(["internal server error"]);
    replies.extend(texts.map(|text| [&head(action::ERROR)[..], text.as_bytes(), b"\0"].concat()));
    replies
}

#[test]
fn no_reply_of_a_tracker_is_answered() {
    let mut tracker = Tracker::new(settings());
    for reply in replies() {
        for client in [CLIENT_V4, CLIENT_V6] {
            tracker.answer(&reply, client);
            assert!(tracker.reply.is_empty(), "{reply:02x?} is answered");
        }
    }
}

#[test]
fn what_the_tracker_replies_is_not_answered_by_it() {
    let broken = FakeStorage { broken: true, ..FakeStorage::default() };
    for storage in [FakeStorage::default(), broken] {
        let mut tracker = Tracker::with(settings(), storage, Vec::new());
        let announce =
            |options: &[u8]| Announce { options: options.to_vec(), ..Announce::default() }.packet();
        for packet in [
            connect(),
            scrape([1, 2, 4, 9]),
            Announce::default().packet(),
            Announce::v6().packet(),
            Announce { event: 9, ..Announce::default() }.packet(),
            Announce { port: 0, ..Announce::default() }.packet(),
            announce(&[9]),
            announce(&[2]),
            request([9; 4], &[]),
        ] {
            for client in [CLIENT_V4, CLIENT_V6] {
                if packet == connect() {
                    tracker.answer(&packet, client);
                } else {
                    tracker.verified(&packet, client);
                }
                let reply = std::mem::take(&mut tracker.reply);
                assert!(!reply.is_empty());
                tracker.answer(&reply, client);
                assert!(tracker.reply.is_empty(), "{reply:02x?} is answered");
            }
        }
        tracker.answer(&Announce::default().packet(), CLIENT_V4);
        let error = std::mem::take(&mut tracker.reply);
        assert_eq!(error_text(&error), "bad connection ID");
        tracker.answer(&error, CLIENT_V4);
        assert!(tracker.reply.is_empty());
    }
}

#[test]
fn ports_of_services_and_the_trackers_own_endpoints_are_not_answered() {
    let addr = vec!["192.0.2.7:6969".parse().unwrap()];
    let mut tracker = Tracker::new(settings_of(UdpConfig { addr, ..UdpConfig::default() }));
    for source in
        ["192.0.2.1:53", "[2001:db8::1]:1023", "192.0.2.7:6969", "[::ffff:192.0.2.7]:6969"]
    {
        for packet in [connect(), Announce::default().packet(), scrape([1])] {
            let outcome = tracker.answer(&packet, source);
            assert_eq!((outcome.is_read, outcome.error()), (false, "unanswered source"));
            assert!(tracker.reply.is_empty(), "{source} is answered");
        }
    }
    for source in ["192.0.2.1:1024", "192.0.2.7:6968", "192.0.2.8:6969"] {
        tracker.answer(&connect(), source);
        assert_eq!(tracker.reply.len(), 16, "{source}");
    }
}
