//! What the network stack would drop the program passes, so that the stack does.

use tracker_common::abi::{self, flag, link};

use super::{both::link as link_with, *};

const CLIENTS: [&str; 2] = ["198.51.100.1:6000", "[2001:db8:1::1]:6000"];

impl Both {
    /// Changes what the program is told.
    fn tell(&mut self, change: impl FnOnce(&mut abi::Config)) {
        let mut state = self.state();
        change(&mut state.configs[0]);
        self.set_state(state);
    }

    fn assert_passes(&self, frame: &[u8], what: &str) {
        let (action, out) = self.run(frame);
        assert_eq!(action, XDP_PASS, "{what}");
        assert_eq!(out, frame, "{what}: a passed frame is unchanged");
    }
}

fn frame_from(source: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let tracker: IpAddr = if source.is_ipv4() { TRACKER_V4.into() } else { TRACKER_V6.into() };
    Frame::new(source, SocketAddr::new(tracker, PORT), 0, payload).bytes
}

/// Requests that the program answers: of a fixed length, with options, and of any length.
fn requests(both: &mut Both, source: SocketAddr) -> Vec<Vec<u8>> {
    let head = |action: u8| [&both.id(source)[..], &[0, 0, 0, action], b"txid"].concat();
    let connect = [&wire::PROTOCOL_ID[..], &[0; 4], b"txid"].concat();
    let fields = [&[9; 20][..], b"-qB4650-abcdefghijkl", &[0; 36], &[0, 0, 0, 50, 0x1a, 0xe1]];
    let announce = [head(1), fields.concat()].concat();
    let with_options = |options: &[u8]| [&announce[..], options].concat();
    let scrape = |hashes: usize| [head(2), vec![9; 20 * hashes]].concat();
    let requests = vec![
        connect.clone(),
        [&connect[..], b"more"].concat(),
        announce.clone(),
        with_options(b"\x02\x09/announce"),
        with_options(b"\x02\x08/aaaaaaa"),
        scrape(1),
        scrape(50),
    ];
    both.shared.answer(&announce, source);
    requests
}

/// Each request of each family, and where its IP header and its UDP header begin.
fn frames(both: &mut Both) -> Vec<(Vec<u8>, usize)> {
    let mut frames = Vec::new();
    for source in CLIENTS.map(|source| source.parse::<SocketAddr>().unwrap()) {
        let udp = if source.is_ipv4() { 34 } else { 54 };
        for payload in requests(both, source) {
            frames.push((frame_from(source, &payload), udp));
        }
    }
    frames
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_datagram_with_a_wrong_checksum_passes() {
    let mut both = Both::new(World::default());
    for (frame, udp) in frames(&mut both) {
        assert_eq!(both.run(&frame).0, XDP_TX, "{frame:02x?}");
        // The ports, the checksum, and all of the payload.
        for at in (udp..udp + 2).chain(udp + 6..frame.len()) {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x10;
            both.assert_passes(&damaged, &format!("byte {at} of {} damaged", frame.len()));
        }
        let mut none = frame.clone();
        none[udp + 6..udp + 8].fill(0);
        if udp == 54 {
            both.assert_passes(&none, "no checksum over IPv6");
        } else {
            assert_eq!(both.run(&none).0, XDP_TX, "none is needed over IPv4");
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn an_ipv4_header_with_a_wrong_checksum_passes() {
    let mut both = Both::new(World::default());
    for (frame, _) in frames(&mut both).into_iter().filter(|(_, udp)| *udp == 34) {
        for at in 14..34 {
            let mut damaged = frame.clone();
            damaged[at] ^= 1;
            both.assert_passes(&damaged, &format!("byte {at} damaged"));
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn what_is_addressed_to_another_host_or_to_a_group_passes() {
    let mut both = Both::new(World::default());
    let frames = frames(&mut both);
    for (frame, _) in &frames {
        for at in 0..6 {
            let mut other = frame.clone();
            other[at] ^= 1;
            both.assert_passes(&other, "another MAC address");
        }
        let mut broadcast = frame.clone();
        broadcast[..6].fill(0xff);
        both.assert_passes(&broadcast, "broadcast");
    }
    // By an interface of which the daemon has not told.
    both.tell(|config| config.links = [abi::Link::default(); abi::LINKS]);
    for (frame, _) in &frames {
        both.assert_passes(frame, "an unknown interface");
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_source_that_cannot_be_a_peer_passes() {
    let mut both = Both::new(World::default());
    for ip in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:198.51.100.1",
        "::198.51.100.1",
        "ff02::1",
    ] {
        let source = SocketAddr::new(ip.parse().unwrap(), 6000);
        for payload in requests(&mut both, source) {
            both.assert_passes(&frame_from(source, &payload), ip);
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn an_address_of_this_machine_is_given_no_connection_id() {
    let mut both = Both::new(World::default());
    let forged = [0xee; 8];
    for source in CLIENTS.map(|source| source.parse::<SocketAddr>().unwrap()) {
        both.tell(|config| {
            config.local[0] = [1, 2];
            config.local[1] = match source.ip() {
                IpAddr::V4(ip) => [u32::from_ne_bytes(ip.octets()).into(), 0],
                IpAddr::V6(ip) => {
                    let [first, second] = [0, 8].map(|at| ip.octets()[at..at + 8].to_vec());
                    [first, second].map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
                }
            };
            config.local_len = 2;
        });
        let connect = [&wire::PROTOCOL_ID[..], &[0; 4], b"txid"].concat();
        both.assert_passes(&frame_from(source, &connect), "a connect");
        for mut payload in requests(&mut both, source).split_off(2) {
            payload[..8].copy_from_slice(&forged);
            both.assert_passes(&frame_from(source, &payload), "a bad connection id");
        }
        both.tell(|config| config.local_len = 1);
        assert_eq!(both.run(&frame_from(source, &connect)).0, XDP_TX);
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_datagram_longer_than_its_frame_or_at_its_last_hop_passes() {
    let mut both = Both::new(World::default());
    for flags in [0, link::VERIFY] {
        both.tell(|config| config.links[1] = link_with(flags));
        for (frame, udp) in frames(&mut both) {
            let mut short = frame.clone();
            short.pop();
            both.assert_passes(&short, "a byte is missing");
            let mut last_hop = frame.clone();
            let at = if udp == 34 { 22 } else { 21 };
            let hops = u16::from(last_hop[at]);
            last_hop[at] = 0;
            if udp == 34 {
                // What is taken off the header is put onto its checksum.
                let sum = u32::from(u16::from_be_bytes([last_hop[24], last_hop[25]]));
                let sum = sum + (u32::from(hops) << 8);
                let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
                last_hop[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            both.assert_passes(&last_hop, "no hop is left");
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_partial_checksum_is_right_only_where_the_driver_hands_it_over() {
    let mut both = Both::new(World::default());
    for (frame, udp) in frames(&mut both) {
        let addresses = if udp == 34 { 26..34 } else { 22..54 };
        let len = (frame.len() - udp) as u32;
        let words =
            frame[addresses].chunks(2).map(|pair| u32::from_be_bytes([0, 0, pair[0], pair[1]]));
        let mut sum = words.sum::<u32>() + 17 + len;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let mut partial = frame.clone();
        partial[udp + 6..udp + 8].copy_from_slice(&(sum as u16).to_be_bytes());
        both.tell(|config| config.links[1] = link_with(link::VERIFY));
        both.assert_passes(&partial, "a partial checksum where there are none");
        both.tell(|config| config.links[1] = link_with(link::VERIFY | link::PARTIAL));
        assert_eq!(both.run(&partial).0, XDP_TX, "a partial checksum");
        assert_eq!(both.run(&frame).0, XDP_TX, "a whole one");
        let mut wrong = frame.clone();
        wrong[udp + 6] ^= 0x12;
        both.assert_passes(&wrong, "a wrong one");
        both.tell(|config| config.links[1] = link_with(0));
        assert_eq!(both.run(&wrong).0, XDP_TX, "none is verified");
    }
}

/// The loopback interface leads nowhere.
#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_source_whose_way_back_is_another_is_given_no_connection_id() {
    let mut both = Both::new(World::default());
    both.tell(|config| config.flags |= flag::REVERSE_PATH);
    for source in CLIENTS.map(|source| source.parse::<SocketAddr>().unwrap()) {
        let requests = requests(&mut both, source);
        both.assert_passes(&frame_from(source, &requests[0]), "a connect");
        assert_eq!(both.run(&frame_from(source, &requests[2])).0, XDP_TX, "an id proves the way");
    }
}
