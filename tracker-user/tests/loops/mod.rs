//! What the program must not answer, lest two trackers talk to each other without end.

use super::*;

const CLIENTS: [&str; 2] = ["198.51.100.1:6000", "[2001:db8:1::1]:6000"];

/// The program's action on a datagram to the tracker.
fn act(both: &Both, payload: &[u8], source: SocketAddr) -> (u32, Vec<u8>) {
    let tracker: IpAddr = if source.is_ipv4() { TRACKER_V4.into() } else { TRACKER_V6.into() };
    let frame = Frame::new(source, SocketAddr::new(tracker, PORT), 0, payload);
    let (action, out) = both.run(&frame.bytes);
    let reply = if action == XDP_TX { frame.reply(&out).to_vec() } else { Vec::new() };
    (action, reply)
}

/// Neither the program nor the daemon answers it.
fn assert_silence(both: &mut Both, payload: &[u8], source: SocketAddr) {
    let (action, _) = act(both, payload, source);
    assert_ne!(action, XDP_TX, "the kernel answers {payload:02x?} from {source}");
    let reply = both.shared.answer(payload, source);
    assert!(reply.is_empty(), "the daemon answers {payload:02x?} from {source}");
}

/// Sends requests both ways, and each reply back as if it were a request.
#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn no_reply_of_kernel_or_daemon_is_answered_by_either() {
    let mut both = Both::new(World::of(&[TORRENTS, NETWORKS]));
    let mut rng = Rng::with_seed(20_261_201);
    let (mut by_kernel, mut by_daemon) = (0, 0);
    for _ in 0..cases(20_000) {
        let source = client(&mut rng);
        let payload = request(&mut rng, &both, source);
        let (_, reply) = act(&both, &payload, source);
        for (reply, count) in
            [(reply, &mut by_kernel), (both.shared.answer(&payload, source), &mut by_daemon)]
        {
            if !reply.is_empty() {
                *count += 1;
                assert_silence(&mut both, &reply, source);
            }
        }
    }
    println!("{by_kernel} replies of the kernel and {by_daemon} of the daemon sent back");
    assert!(by_kernel > 0 && by_daemon > 0);
}

/// Small numbers where a request has its action make a reply look like one.
#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn what_a_reply_can_look_like_is_not_answered() {
    let mut both = Both::new(World::default());
    for source in CLIENTS.map(|source| source.parse().unwrap()) {
        for (action, number) in (0..5_u32).flat_map(|action| (0..6_u32).map(move |n| (action, n))) {
            for len in (16..140).chain([156, 176, 980, 1472]) {
                let mut reply = vec![0; len];
                reply[..4].copy_from_slice(&action.to_be_bytes());
                reply[8..12].copy_from_slice(&number.to_be_bytes());
                // A reply to a connect is no longer.
                if action != 0 || len == 16 {
                    assert_silence(&mut both, &reply, source);
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_source_port_of_a_service_is_answered_by_neither() {
    let mut both = Both::new(World::default());
    let connect = [&wire::PROTOCOL_ID[..], &[0; 4], b"txid"].concat();
    for source in CLIENTS.map(|source| source.parse::<SocketAddr>().unwrap()) {
        for port in [1, 7, 19, 53, 123, 1023] {
            assert_silence(&mut both, &connect, SocketAddr::new(source.ip(), port));
        }
        assert_eq!(act(&both, &connect, SocketAddr::new(source.ip(), 1024)).0, XDP_TX);
    }
}
