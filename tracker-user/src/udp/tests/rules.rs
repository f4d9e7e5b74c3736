//! One test for each rule of the protocol and of Chihaya.

use tracker_common::{announce::Event, family::V4, id::PeerId, wire::action};

use super::*;
use crate::{config::BadConnectionId, pipeline::Params, udp::Action};

const SECOND_NS: u64 = 1_000_000_000;

fn tracker() -> Tracker {
    Tracker::new(settings())
}

fn spoofing() -> Tracker {
    Tracker::new(settings_of(UdpConfig { allow_ip_spoofing: true, ..UdpConfig::default() }))
}

fn address(tracker: &mut Tracker, announce: &Announce, client: &str) -> String {
    tracker.announced(&announce.packet(), client).peer.ip().to_string()
}

fn with_options(options: &[u8]) -> Vec<u8> {
    Announce { options: options.to_vec(), ..Announce::default() }.packet()
}

#[test]
fn a_connect_is_answered_with_a_connection_id() {
    let mut tracker = tracker();
    let outcome = tracker.answer(&connect(), CLIENT_V4);
    assert_eq!(outcome, Outcome { action: Some(Action::Connect), is_read: true, refusal: None });
    assert_eq!(tracker.reply.len(), 16);
    assert_eq!(tracker.reply[..8], [action::CONNECT, TRANSACTION_ID].concat());
}

#[test]
fn what_follows_a_connect_is_ignored() {
    let mut tracker = tracker();
    tracker.answer(&[connect(), vec![7; 100]].concat(), CLIENT_V4);
    assert_eq!(tracker.reply.len(), 16);
}

#[test]
fn a_packet_under_16_bytes_is_met_with_silence() {
    let mut tracker = tracker();
    let outcome = tracker.answer(&connect()[..15], CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (None, "malformed packet"));
    assert!(tracker.reply.is_empty());
}

#[test]
fn a_connect_with_a_wrong_protocol_id_is_met_with_silence() {
    let mut tracker = tracker();
    let outcome = tracker.answer(&request(action::CONNECT, &[0; 100]), CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (Some(Action::Connect), "malformed packet"));
    assert!(tracker.reply.is_empty());
}

#[test]
fn a_bad_connection_id_is_an_error() {
    let mut tracker = tracker();
    let outcome = tracker.answer(&Announce::default().packet(), CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (None, "bad connection ID"));
    assert_eq!(error_text(&tracker.reply), "bad connection ID");
}

#[test]
fn a_bad_connection_id_is_met_with_silence_where_so_configured() {
    let bad_connection_id = BadConnectionId::Drop;
    let mut tracker = Tracker::new(UdpSettings { bad_connection_id, ..settings() });
    let outcome = tracker.answer(&Announce::default().packet(), CLIENT_V4);
    assert_eq!(outcome.error(), "bad connection ID");
    assert!(tracker.reply.is_empty());
}

#[test]
fn a_bad_connection_id_is_an_error_in_a_whole_request_only() {
    let mut tracker = tracker();
    let mut is_told = |packet: &[u8]| {
        let outcome = tracker.answer(packet, CLIENT_V4);
        assert_eq!(outcome.error(), "bad connection ID");
        !tracker.reply.is_empty()
    };
    for (packet, rest) in [
        (Announce::default().packet(), true),
        (Announce::v6().packet(), true),
        (scrape([1]), false),
        (scrape([1, 2]), false),
    ] {
        assert!(is_told(&packet));
        assert!(!is_told(&packet[..packet.len() - 1]), "not whole");
        assert_eq!(is_told(&[&packet[..], &[0]].concat()), rest, "options follow an announce only");
    }
    for action in [3_u32, 5, 9, 1 << 24 | 1] {
        assert!(!is_told(&request(action.to_be_bytes(), &[0; 100])), "{action}");
    }
    assert!(!is_told(&request(action::SCRAPE, &[])));
}

#[test]
fn the_connection_id_is_checked_before_the_action() {
    let mut tracker = tracker();
    let outcome = tracker.answer(&request([9; 4], &[0; 100]), CLIENT_V4);
    assert_eq!(outcome.error(), "bad connection ID");
    assert!(tracker.reply.is_empty());
    let outcome = tracker.verified(&request([9; 4], &[]), CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (None, "unknown action ID"));
    assert_eq!(error_text(&tracker.reply), "unknown action ID");
}

#[test]
fn the_action_is_32_bits_wide() {
    assert_eq!(tracker().error(&request([1, 0, 0, 1], &[])), "unknown action ID");
}

#[test]
fn the_reply_s_own_action_is_unknown_in_a_request() {
    assert_eq!(tracker().error(&request(action::ERROR, &[])), "unknown action ID");
}

#[test]
fn a_connection_id_serves_its_address_only_and_expires() {
    let mut tracker = tracker();
    tracker.answer(&connect(), CLIENT_V4);
    let mut packet = scrape([1]);
    packet[..8].copy_from_slice(&tracker.reply[8..]);
    assert_eq!(tracker.answer(&packet, CLIENT_V4).error(), "");
    assert_eq!(tracker.answer(&packet, "192.0.2.1:5001").error(), "");
    assert_eq!(tracker.answer(&packet, "192.0.2.2:5000").error(), "bad connection ID");
    let later = tracker.answer_at(&packet, CLIENT_V4, NOW_NS + 130 * SECOND_NS);
    assert_eq!(later.error(), "bad connection ID");
}

#[test]
fn an_ipv4_mapped_client_is_an_ipv4_client() {
    let mut tracker = tracker();
    tracker.answer(&connect(), CLIENT_V4);
    let mut packet = Announce::default().packet();
    packet[..8].copy_from_slice(&tracker.reply[8..]);
    assert_eq!(tracker.answer(&packet, "[::ffff:192.0.2.1]:5000").error(), "");
    assert_eq!(
        tracker.storage.announces.lock().unwrap()[0].peer,
        "192.0.2.1:6881".parse().unwrap()
    );
    assert_eq!(tracker.reply[20..], [192, 0, 2, 1, 26, 225]);
}

#[test]
fn an_announce_is_read_in_full() {
    let request = tracker().announced(&Announce::default().packet(), CLIENT_V4);
    assert_eq!(request.info_hash, InfoHash([b'h'; 20]));
    assert_eq!(request.peer_id, PeerId(*b"-TR4050-abcdefghijkl"));
    assert_eq!(request.peer, "192.0.2.1:6881".parse().unwrap());
    assert_eq!((request.downloaded, request.left, request.uploaded), (10, 20, 30));
    assert_eq!(request.event, Event::Started);
    assert_eq!(request.numwant, 50);
    assert_eq!(request.params, Params::default());
}

#[test]
fn the_seed_is_the_kernel_s() {
    let request = tracker().announced(&Announce::default().packet(), CLIENT_V4);
    let expected = (u32::from_be_bytes(TRANSACTION_ID) ^ 30).wrapping_mul(0x9e37_79b1);
    assert_eq!(request.seed, expected);
}

#[test]
fn an_announce_is_answered_with_interval_figures_and_peers() {
    let mut tracker = tracker();
    let outcome = tracker.verified(&Announce::default().packet(), CLIENT_V4);
    assert_eq!(outcome, Outcome { action: Some(Action::Announce), is_read: true, refusal: None });
    let expected = [
        &action::ANNOUNCE[..],
        &TRANSACTION_ID,
        &1800_u32.to_be_bytes(),
        &4_u32.to_be_bytes(),
        &3_u32.to_be_bytes(),
        &[192, 0, 2, 1, 26, 225],
    ];
    assert_eq!(tracker.reply, expected.concat());
}

#[test]
fn an_announce_over_ipv6_is_answered_with_ipv6_peers() {
    let mut tracker = tracker();
    tracker.verified(&Announce::default().packet(), CLIENT_V6);
    assert_eq!(tracker.reply.len(), 20 + 18);
    assert_eq!(tracker.reply[..4], action::ANNOUNCE);
    assert_eq!(tracker.reply[20..24], [0x20, 1, 0xd, 0xb8]);
}

#[test]
fn the_old_ipv6_announce_is_answered_with_its_own_action() {
    let mut tracker = tracker();
    tracker.verified(&Announce::v6().packet(), CLIENT_V6);
    assert_eq!(tracker.reply.len(), 20 + 18);
    assert_eq!(tracker.reply[..4], action::ANNOUNCE_V6);
    tracker.verified(&Announce::v6().packet(), CLIENT_V4);
    assert_eq!(tracker.reply.len(), 20 + 6);
    assert_eq!(tracker.reply[..4], action::ANNOUNCE_V6);
}

#[test]
fn an_announce_has_98_bytes_and_the_old_ipv6_announce_110() {
    for announce in [Announce::default(), Announce::v6()] {
        let packet = announce.packet();
        assert_eq!(packet.len(), 94 + announce.ip.len());
        assert_eq!(tracker().error(&packet[..packet.len() - 1]), "malformed packet");
    }
    assert_eq!(tracker().error(&request(action::ANNOUNCE, &[])), "malformed packet");
}

#[test]
fn an_unknown_event_is_a_plain_announce() {
    let event = |event| {
        tracker().announced(&Announce { event, ..Announce::default() }.packet(), CLIENT_V4).event
    };
    assert_eq!(event(0), Event::None);
    assert_eq!(event(1), Event::Completed);
    assert_eq!(event(3), Event::Stopped);
    assert_eq!(event(4), Event::Paused);
    for unknown in [5, 77, 255, 0xffff_ff03, u32::MAX] {
        assert_eq!(event(unknown), Event::None, "{unknown}");
    }
}

#[test]
fn a_partial_seed_is_a_leecher_with_a_place_in_the_swarm() {
    let packet = Announce { event: 4, ..Announce::default() }.packet();
    let request = tracker().announced(&packet, CLIENT_V4);
    let announce = request.for_table::<V4>([192, 0, 2, 1]);
    assert_eq!((announce.event, announce.seeder), (Event::Paused, false));
}

#[test]
fn numwant_is_clamped_and_negative_asks_for_the_default() {
    let numwant = |numwant| {
        tracker()
            .announced(&Announce { numwant, ..Announce::default() }.packet(), CLIENT_V4)
            .numwant
    };
    assert_eq!(numwant(-1), 50);
    assert_eq!(numwant(i32::MIN), 50);
    assert_eq!(numwant(0), 0);
    assert_eq!(numwant(7), 7);
    assert_eq!(numwant(i32::MAX), 100);
}

#[test]
fn port_0_is_an_error_and_found_before_a_bad_address() {
    let claim = vec![224, 0, 0, 1];
    let announce = Announce { port: 0, ip: claim, options: vec![9], ..Announce::default() };
    assert_eq!(spoofing().error(&announce.packet()), "invalid port");
}

#[test]
fn url_data_may_come_in_parts_and_becomes_parameters() {
    let packet = with_options(b"\x01\x02\x07/a?key=\x01\x01\x02\x06va+lue\x00\x09garbage");
    let request = tracker().announced(&packet, CLIENT_V4);
    assert_eq!(request.params.get("key"), Some("va lue"));
}

#[test]
fn url_data_that_cannot_be_read_has_no_parameters() {
    let request = tracker().announced(&with_options(b"\x02\x08/?a=1&%z"), CLIENT_V4);
    assert_eq!(request.params, Params::default());
}

#[test]
fn url_data_of_one_request_is_not_that_of_the_next() {
    let mut tracker = tracker();
    tracker.announced(&with_options(b"\x02\x05/?a=1"), CLIENT_V4);
    let request = tracker.announced(&with_options(b"\x02\x05/?b=2"), CLIENT_V4);
    assert_eq!((request.params.get("a"), request.params.get("b")), (None, Some("2")));
    assert_eq!(tracker.announced(&with_options(b""), CLIENT_V4).params, Params::default());
}

#[test]
fn an_option_that_is_cut_short_is_the_last_and_tells_nothing() {
    for options in
        [&b"\x02"[..], b"\x02\x01", b"\x01\x02\x05/?a=", b"\x03", b"\xff\x09\x02\x04/?a="]
    {
        let request = tracker().announced(&with_options(options), CLIENT_V4);
        assert_eq!(request.params, Params::default(), "{}", options.escape_ascii());
    }
    let request = tracker().announced(&with_options(b"\x02\x05/?a=1\x02\x09&b=2"), CLIENT_V4);
    assert_eq!((request.params.get("a"), request.params.get("b")), (Some("1"), None));
}

#[test]
fn an_unknown_option_is_skipped_by_its_length() {
    let packet = with_options(b"\x03\x02\x00\x00\xff\x00\x02\x04/?a=\x09\x03\x02\x01x\x02\x011");
    let request = tracker().announced(&packet, CLIENT_V4);
    assert_eq!(request.params.get("a"), Some("1"));
}

#[test]
fn a_parameter_in_the_path_of_the_url_data_is_read() {
    let routes = ["/:passkey/announce".to_owned()];
    let routes = crate::routes::Router::new(&routes, &[]).unwrap().into();
    let mut tracker = Tracker::new(UdpSettings { routes, ..settings() });
    let request = tracker.announced(&with_options(b"\x02\x0d/k3y/announce"), CLIENT_V4);
    assert_eq!(request.params.get("passkey"), Some("k3y"));
    let request = tracker.announced(&with_options(b"\x02\x09/announce"), CLIENT_V4);
    assert_eq!(request.params, Params::default());
}

#[test]
fn options_follow_the_old_ipv6_announce_too() {
    let announce = Announce { options: b"\x02\x05/?a=1".to_vec(), ..Announce::v6() };
    let request = tracker().announced(&announce.packet(), CLIENT_V6);
    assert_eq!(request.params.get("a"), Some("1"));
}

#[test]
fn a_claimed_address_counts_only_where_spoofing_is_allowed() {
    let claim = Announce { ip: vec![198, 51, 100, 7], ..Announce::default() };
    assert_eq!(address(&mut tracker(), &claim, CLIENT_V4), "192.0.2.1");
    assert_eq!(address(&mut spoofing(), &claim, CLIENT_V4), "198.51.100.7");
}

#[test]
fn a_claim_of_zero_is_none() {
    for announce in [Announce::default(), Announce::v6()] {
        assert_eq!(address(&mut spoofing(), &announce, CLIENT_V4), "192.0.2.1");
        assert_eq!(address(&mut spoofing(), &announce, CLIENT_V6), "2001:db8::1");
    }
    let mapped = "::ffff:0.0.0.0".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mapped = Announce { ip: mapped.to_vec(), ..Announce::v6() };
    assert_eq!(address(&mut spoofing(), &mapped, CLIENT_V4), "192.0.2.1");
}

#[test]
fn a_claim_of_the_other_family_is_ignored() {
    let v4 = Announce { ip: vec![198, 51, 100, 7], ..Announce::default() };
    assert_eq!(address(&mut spoofing(), &v4, CLIENT_V6), "2001:db8::1");
    let v6 = Announce { ip: [0x20, 1, 7, 7].repeat(4), ..Announce::v6() };
    assert_eq!(address(&mut spoofing(), &v6, CLIENT_V4), "192.0.2.1");
}

#[test]
fn the_old_ipv6_announce_claims_16_bytes_of_either_family() {
    let claim = |address: &str| {
        let octets = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        Announce { ip: octets.to_vec(), ..Announce::v6() }
    };
    let (v6, mapped) = (claim("2001:db8::7"), claim("::ffff:198.51.100.7"));
    assert_eq!(address(&mut spoofing(), &v6, CLIENT_V6), "2001:db8::7");
    assert_eq!(address(&mut spoofing(), &mapped, CLIENT_V4), "198.51.100.7");
}

#[test]
fn a_claim_of_what_cannot_be_a_peer_is_an_error() {
    for ip in [[224, 0, 0, 1], [240, 0, 0, 1], [255; 4], [0, 1, 2, 3], [127, 0, 0, 1]] {
        let claim = Announce { ip: ip.to_vec(), ..Announce::default() };
        assert_eq!(spoofing().error(&claim.packet()), "invalid IP", "{ip:?}");
    }
    // On loopback there are others.
    let claim = Announce { ip: vec![127, 0, 0, 9], ..Announce::default() };
    assert_eq!(address(&mut spoofing(), &claim, "127.0.0.1:5000"), "127.0.0.9");
}

#[test]
fn a_source_that_cannot_be_a_peer_is_met_with_silence() {
    let mut tracker = tracker();
    for source in ["0.0.0.0:5000", "240.0.0.1:5000", "[::]:5000", "[ff02::1]:5000", "[::9]:5000"] {
        let outcome = tracker.answer(&connect(), source);
        assert_eq!(outcome.error(), "unanswered source");
        assert!(tracker.reply.is_empty(), "{source}");
    }
    for source in ["127.0.0.1:5000", "[::1]:5000", "10.0.0.1:5000", "[fe80::1]:5000"] {
        tracker.answer(&connect(), source);
        assert_eq!(tracker.reply.len(), 16, "{source}");
    }
}

#[test]
fn a_scrape_is_answered_in_order_with_repetitions() {
    let mut tracker = tracker();
    let outcome = tracker.verified(&scrape([9, 1, 9]), CLIENT_V4);
    assert_eq!(outcome, Outcome { action: Some(Action::Scrape), is_read: true, refusal: None });
    let entry = |seeders: u32| [seeders, 5, 4].map(u32::to_be_bytes).concat();
    let head = [action::SCRAPE, TRANSACTION_ID].concat();
    assert_eq!(tracker.reply, [head, entry(9), entry(1), entry(9)].concat());
}

#[test]
fn a_scrape_has_one_info_hash_at_least_and_no_part_of_one() {
    for len in [0, 19, 21, 39] {
        let packet = request(action::SCRAPE, &vec![1; len]);
        assert_eq!(tracker().error(&packet), "malformed packet", "{len}");
    }
}

#[test]
fn a_scrape_is_clamped_to_the_limit_and_to_what_fits_a_frame() {
    let answered = |max_scrape_infohashes, asked| {
        let mut tracker =
            Tracker::new(settings_of(UdpConfig { max_scrape_infohashes, ..UdpConfig::default() }));
        tracker.verified(&scrape(0..asked), CLIENT_V4);
        (tracker.reply.len() - 8) / 12
    };
    assert_eq!(answered(50, 49), 49);
    assert_eq!(answered(50, 51), 50);
    assert_eq!(answered(u32::MAX, 100), 74);
}
