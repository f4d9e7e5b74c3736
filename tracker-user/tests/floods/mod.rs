//! What the program does with those who ask for too much.

use tracker_common::{
    abi::{EVENT_OPTIONS_MAX, flag},
    budget::{Budget, Kind},
    limit::{Limits, Rate},
};

use super::*;

const CLIENT: &str = "198.51.100.1:2000";
const OTHER: &str = "198.51.100.2:2000";

/// Requests of the same kind, of which a burst of ten is within the limit.
const BURST: usize = 10;

impl Both {
    /// Sets limits, of one source to an address.
    fn limit(&mut self, limits: Limits) {
        let limits = Limits { throttle_interval_s: 300, ..limits };
        let mut state = self.state();
        let config = &mut state.configs[0];
        config.limits = limits;
        config.flags = if limits.concern_all() { flag::LIMITS } else { 0 };
        self.set_state(state);
    }

    fn send(&self, source: &str, payload: &[u8]) -> (u32, Vec<u8>) {
        let source = source.parse().unwrap();
        let frame = Frame::new(source, SocketAddr::new(TRACKER_V4.into(), PORT), 0, payload);
        let (action, out) = self.run(&frame.bytes);
        let reply = if action == XDP_TX { frame.reply(&out).to_vec() } else { Vec::new() };
        (action, reply)
    }

    /// An announce of the torrent with this number.
    fn announce_of(&self, source: &str, torrent: u8) -> Vec<u8> {
        let mut payload = self.id(source.parse().unwrap()).to_vec();
        payload.extend([0, 0, 0, 1, 1, 2, 3, 4]);
        payload.extend([torrent; 20]);
        payload.extend([b'-'; 20]);
        payload.extend([0; 8]);
        // A leecher: it is given others of the torrent, whatever they are.
        payload.extend(1_u64.to_be_bytes());
        payload.extend([0; 8 + 4 + 4 + 4]);
        payload.extend(u32::MAX.to_be_bytes());
        payload.extend(6881_u16.to_be_bytes());
        payload
    }

    fn scrape_of(&self, source: &str) -> Vec<u8> {
        let mut payload = self.id(source.parse().unwrap()).to_vec();
        payload.extend([0, 0, 0, 2, 1, 2, 3, 4]);
        payload.extend([7; 20]);
        payload
    }

    /// Enters a torrent of one peer into the table.
    fn admit(&mut self, torrent: u8) {
        let announce = self.announce_of(OTHER, torrent);
        assert!(!self.shared.answer(&announce, OTHER.parse().unwrap()).is_empty());
    }
}

fn connect() -> Vec<u8> {
    [&wire::PROTOCOL_ID[..], &[0, 0, 0, 0, 1, 2, 3, 4]].concat()
}

/// No peers, none counted, and an interval of five minutes.
fn assert_throttled((action, reply): (u32, Vec<u8>)) {
    assert_eq!(action, XDP_TX);
    let throttled = [&[0, 0, 0, 1, 1, 2, 3, 4][..], &300_u32.to_be_bytes(), &[0; 8]].concat();
    assert_eq!(reply, throttled);
}

/// Six seconds bring one, so that the test is over before the next.
fn few() -> Rate {
    Rate::per(BURST as u64, 60)
}

fn no_limits() -> Limits {
    Limits { wide_mask_v4: 0, ..World::default().limits() }
}

/// Few of these for each source.
fn budget(kinds: &[Kind]) -> Limits {
    let mut limits = no_limits();
    for kind in kinds {
        limits.budgets[*kind as usize] = Budget { source: few(), wide: Rate::default() };
    }
    limits
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_source_that_announces_too_much_is_throttled_and_others_are_not() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(budget(&[Kind::Requests]));
    let announce = both.announce_of(CLIENT, 7);
    for _ in 0..BURST {
        assert!(both.send(CLIENT, &announce).1.len() > 20);
    }
    let last: Vec<_> = (0..BURST).map(|_| both.send(CLIENT, &announce)).collect();
    assert_throttled(last[BURST - 1].clone());
    assert_eq!(both.send(CLIENT, &both.scrape_of(CLIENT)).0, XDP_DROP);
    assert!(both.send(OTHER, &both.announce_of(OTHER, 7)).1.len() > 20);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn who_claims_the_address_of_another_cannot_use_up_what_that_may_announce() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(budget(&[Kind::Requests, Kind::Connects]));
    let mut forged = both.announce_of(CLIENT, 7);
    forged[0] ^= 1;
    for _ in 0..3 * BURST {
        both.send(CLIENT, &forged);
        both.send(CLIENT, &connect());
    }
    assert_eq!(both.send(CLIENT, &connect()).0, XDP_DROP);
    assert!(both.send(CLIENT, &both.announce_of(CLIENT, 7)).1.len() > 20);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn only_so_many_unknown_torrents_of_a_source_pass_to_the_daemon() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(budget(&[Kind::Misses]));
    let passed = |source: &str| {
        let announces = (100..100 + 3 * BURST as u8).map(|n| both.announce_of(source, n));
        announces.filter(|announce| both.send(source, announce).0 == XDP_PASS).count()
    };
    assert!((BURST..2 * BURST).contains(&passed(CLIENT)));
    assert_throttled(both.send(CLIENT, &both.announce_of(CLIENT, 99)));
    // What is known costs nothing.
    assert!(both.send(CLIENT, &both.announce_of(CLIENT, 7)).1.len() > 20);
    assert!((BURST..2 * BURST).contains(&passed(OTHER)));
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn only_so_many_unknown_torrents_of_all_pass_to_the_daemon() {
    let mut both = Both::new(World::default());
    both.limit(Limits { all_misses: few(), ..no_limits() });
    let sources = (1..=3 * BURST).map(|n| format!("203.0.113.{n}:2000"));
    let passed = sources.filter(|source| {
        let announce = both.announce_of(source, 1);
        both.send(source, &announce).0 == XDP_PASS
    });
    assert!((BURST..2 * BURST).contains(&passed.count()));
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn only_so_many_bad_connection_ids_are_told_so() {
    let mut both = Both::new(World::default());
    both.limit(Limits { bad_ids: few(), ..no_limits() });
    let mut forged = both.announce_of(CLIENT, 7);
    forged[0] ^= 1;
    let told = (0..3 * BURST).filter(|_| both.send(CLIENT, &forged).0 == XDP_TX).count();
    assert!((BURST..2 * BURST).contains(&told));
    assert_eq!(both.send(CLIENT, &forged).0, XDP_DROP);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn an_interface_that_has_sent_its_share_throttles_first_and_then_is_silent() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(Limits { egress: Rate::per(700, 60), ..no_limits() });
    let announce = both.announce_of(CLIENT, 7);
    let replies: Vec<_> = (0..100).map(|_| both.send(CLIENT, &announce)).collect();
    assert!(replies[0].1.len() > 20);
    let throttled = replies.iter().filter(|(_, reply)| reply.len() == 20).count();
    let served = replies.iter().filter(|(_, reply)| reply.len() > 20).count();
    assert!(
        (5..20).contains(&served) && (5..20).contains(&throttled),
        "{served}, then {throttled}"
    );
    assert_eq!(replies[99].0, XDP_DROP);
    assert_eq!(both.send(CLIENT, &connect()).0, XDP_DROP);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn forged_requests_leave_half_of_an_interface_s_share_to_proven_ones() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(Limits { egress: Rate::per(4000, 60), ..no_limits() });
    let mut forged = both.announce_of(CLIENT, 7);
    forged[0] ^= 1;
    for source in 1..=200 {
        let source = format!("203.0.113.{source}:2000");
        both.send(&source, &connect());
        both.send(&source, &forged);
    }
    assert_eq!(both.send(CLIENT, &connect()).0, XDP_DROP);
    assert_eq!(both.send(CLIENT, &forged).0, XDP_DROP);
    // The other half is of as many replies of 68 bytes as 2,000 bytes are.
    let announce = both.announce_of(CLIENT, 7);
    let replies: Vec<_> = (0..100).map(|_| both.send(CLIENT, &announce)).collect();
    let served = replies.iter().take_while(|(_, reply)| reply.len() > 20).count();
    assert!((20..40).contains(&served), "{served} are served");
    assert_throttled(replies[served].clone());
}

/// Requests of a source that the program leaves to the daemon, each of another kind.
fn unusual(both: &Both, source: &str) -> [Vec<u8>; 4] {
    let announce = both.announce_of(source, 7);
    let mut without_port = announce.clone();
    without_port[96..].fill(0);
    let long_options = [announce.clone(), vec![1; EVENT_OPTIONS_MAX as usize + 2]].concat();
    let mut unknown_action = announce.clone();
    unknown_action[11] = 7;
    let half_a_hash = [both.scrape_of(source), vec![7; 10]].concat();
    [without_port, long_options, unknown_action, half_a_hash]
}

/// Sets these flags of the program's configuration.
fn raise(both: &mut Both, flags: u32) {
    let mut state = both.state();
    state.configs[0].flags |= flags;
    both.set_state(state);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_source_over_its_passes_is_answered_without_peers_and_others_pass() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(budget(&[Kind::Passes]));
    raise(&mut both, flag::TELL_OPTIONS);
    let is_announce = [true, true, false, false];
    for (number, is_announce) in is_announce.into_iter().enumerate() {
        let source = format!("198.51.100.{}:2000", 10 + number);
        let request = unusual(&both, &source)[number].clone();
        let sent: Vec<_> = (0..3 * BURST).map(|_| both.send(&source, &request)).collect();
        let passed = sent.iter().filter(|(action, _)| *action == XDP_PASS).count();
        assert!((BURST..2 * BURST).contains(&passed), "{passed} of kind {number}");
        let last = sent[3 * BURST - 1].clone();
        if is_announce {
            assert_throttled(last);
        } else {
            assert_eq!(last.0, XDP_DROP, "kind {number}");
        }
        // The budget is one for all reasons, and what the kernel answers costs nothing.
        let others = unusual(&both, &source);
        assert!(others.iter().all(|other| both.send(&source, other).0 != XDP_PASS));
        assert!(both.send(&source, &both.announce_of(&source, 7)).1.len() > 20);
    }
    assert_eq!(both.send(OTHER, &unusual(&both, OTHER)[0]).0, XDP_PASS);
}

fn pass_all(both: &mut Both) {
    raise(both, flag::JUDGES);
    let mut state = both.state();
    state.configs.iter_mut().for_each(|config| config.policy.pass_all());
    both.set_state(state);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn what_hooks_have_pass_is_bounded_by_source_as_well() {
    let mut both = Both::new(World::default());
    both.admit(7);
    both.limit(budget(&[Kind::Passes]));
    pass_all(&mut both);
    let announce = both.announce_of(CLIENT, 7);
    let passed = (0..3 * BURST).filter(|_| both.send(CLIENT, &announce).0 == XDP_PASS).count();
    assert!((BURST..2 * BURST).contains(&passed));
    assert_throttled(both.send(CLIENT, &announce));
    assert_eq!(both.send(CLIENT, &both.scrape_of(CLIENT)).0, XDP_DROP);
    assert_eq!(both.send(OTHER, &both.scrape_of(OTHER)).0, XDP_PASS);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn requests_in_the_name_of_a_source_cost_it_no_passes() {
    let mut both = Both::new(World::default());
    both.limit(budget(&[Kind::Passes, Kind::Misses]));
    let mut forged = unusual(&both, CLIENT).to_vec();
    forged.iter_mut().for_each(|request| request[0] ^= 1);
    let mut no_connect = connect();
    no_connect[0] ^= 1;
    forged.push(no_connect);
    for _ in 0..3 * BURST {
        forged.iter().for_each(|request| drop(both.send(CLIENT, request)));
    }
    for request in [unusual(&both, CLIENT)[0].clone(), both.announce_of(CLIENT, 99)] {
        assert_eq!(both.send(CLIENT, &request).0, XDP_PASS);
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn only_so_many_requests_that_prove_no_source_pass() {
    let mut no_connect = connect();
    no_connect[0] ^= 1;
    for (request, port) in [(no_connect, 2000), (vec![1; 9], 2000), (connect(), 53)] {
        let mut both = Both::new(World::default());
        both.limit(Limits { unproven_passes: few(), ..no_limits() });
        let sources = (1..=3 * BURST).map(|n| format!("203.0.113.{n}:{port}"));
        let passed = sources.filter(|source| both.send(source, &request).0 == XDP_PASS).count();
        assert!((BURST..2 * BURST).contains(&passed), "{passed} from port {port}");
        let source = format!("203.0.113.99:{port}");
        assert_eq!(both.send(&source, &request).0, XDP_DROP);
        // What is for another port is none of ours.
        let to = SocketAddr::new(TRACKER_V4.into(), PORT + 1);
        let frame = Frame::new(source.parse().unwrap(), to, 0, &request);
        assert_eq!(both.run(&frame.bytes).0, XDP_PASS);
    }
}
