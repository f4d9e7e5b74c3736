//! What holds for every datagram.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Anything at all, and what a mutation makes of good requests.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(connect()),
        Just(Announce::default().packet()),
        Just(Announce::v6().packet()),
        Just(Announce { options: b"\x01\x02\x05/?a=1".to_vec(), ..Announce::default() }.packet()),
        vec(any::<u8>(), 0..101).prop_map(scrape),
    ];
    let mutated = (
        good,
        any::<prop::sample::Index>(),
        vec(any::<(prop::sample::Index, u8)>(), 0..3),
        vec(any::<u8>(), 0..60),
    )
        .prop_map(|(mut packet, end, changes, tail)| {
            packet.extend(tail);
            for (at, byte) in changes {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            packet.truncate(end.index(packet.len()) + 1);
            packet
        });
    prop_oneof![vec(any::<u8>(), 0..200), mutated]
}

fn client() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(CLIENT_V4), Just(CLIENT_V6), Just("[::ffff:192.0.2.9]:5000")]
}

/// The maximum and the default of `numwant`, the limit of scrapes, and whether to allow spoofing.
type Choices = (u16, u16, u16, bool);

fn chosen(choices: Choices) -> UdpSettings {
    let (max_numwant, default_numwant, max_scrape_infohashes, allow_ip_spoofing) = choices;
    settings_of(UdpConfig {
        max_numwant: max_numwant.into(),
        default_numwant: default_numwant.into(),
        max_scrape_infohashes: max_scrape_infohashes.into(),
        allow_ip_spoofing,
        ..UdpConfig::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn an_unverified_source_is_never_sent_more_bytes_than_it_sent(
        packet in packet(), client in client(), choices: Choices,
    ) {
        let mut tracker = Tracker::new(chosen(choices));
        tracker.answer(&packet, client);
        prop_assert!(tracker.reply.len() <= packet.len());
        prop_assert!(tracker.storage.announces.lock().unwrap().is_empty());
    }

    #[test]
    fn a_verified_source_is_answered_within_a_frame_and_about_its_own_transaction(
        packet in packet().prop_filter("has a head", |packet| packet.len() >= 16),
        client in client(),
        choices: Choices,
    ) {
        let mut tracker = Tracker::new(chosen(choices));
        let outcome = tracker.verified(&packet, client);
        let reply = &tracker.reply;
        if reply.is_empty() {
            // Only the protocol id is missing: it was overwritten by the connection id.
            prop_assert_eq!(&packet[8..12], &action::CONNECT[..]);
            return Ok(());
        }
        prop_assert!(reply.len() <= 1472);
        prop_assert_eq!(&reply[4..8], &packet[12..16]);
        let expected = if outcome.refusal.is_some() { &action::ERROR[..] } else { &packet[8..12] };
        prop_assert_eq!(&reply[..4], expected);
    }

    #[test]
    fn what_reaches_the_storage_is_sane(
        packet in packet().prop_filter("has a head", |packet| packet.len() >= 16),
        client in client(),
        choices: Choices,
    ) {
        let max = choices.0;
        let mut tracker = Tracker::new(chosen(choices));
        tracker.verified(&packet, client);
        for announce in tracker.storage.announces.lock().unwrap().iter() {
            prop_assert_ne!(announce.peer.port(), 0);
            prop_assert_eq!(announce.peer.ip(), announce.peer.ip().to_canonical());
            prop_assert!(announce.numwant <= max);
        }
    }
}
