//! Racks of a data centre that fetch one file from each other: whom the kernel names to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Both, Frame, PORT, TRACKER_V4, TRACKER_V6, World, XDP_TX, wire};

const RACKS: u8 = 40;
/// In each rack, on so many hosts.
const PEERS: u16 = 98;
const HOSTS: u8 = 14;
const NUMWANT: u32 = 50;

/// A peer of a rack, which is a /28 or a /124.
fn peer(rack: u8, number: u16, is_v4: bool) -> SocketAddr {
    let host = 1 + (number % u16::from(HOSTS)) as u8;
    let ip: IpAddr = if is_v4 {
        Ipv4Addr::new(10, 0, rack, host).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, rack.into(), 0, 0, 0, host.into()).into()
    };
    SocketAddr::new(ip, 7000 + number)
}

/// Which of the racks a compact peer is in.
fn rack_of(compact: &[u8], is_v4: bool) -> u8 {
    if is_v4 { compact[2] } else { compact[7] }
}

fn announce(both: &Both, source: SocketAddr, number: u16) -> Vec<u8> {
    let left = u64::from(!number.is_multiple_of(20));
    [
        &both.id(source)[..],
        &wire::action::ANNOUNCE,
        &u32::from(number).wrapping_mul(0x9e37_79b1).to_be_bytes(),
        &[9; 20],
        &[b'p'; 20],
        &[0; 8],
        &left.to_be_bytes(),
        &[0; 8 + 4 + 4 + 4],
        &NUMWANT.to_be_bytes(),
        &source.port().to_be_bytes(),
    ]
    .concat()
}

/// The share of the peers named by the kernel, to each peer of all racks, that are in its own rack.
fn share_of_own_rack(world: World, is_v4: bool) -> f64 {
    let mut both = Both::new(world);
    let peers = || (0..RACKS).flat_map(|rack| (0..PEERS).map(move |number| (rack, number)));
    for (rack, number) in peers() {
        let source = peer(rack, number, is_v4);
        let payload = announce(&both, source, number);
        both.shared.answer(&payload, source);
    }
    let tracker: IpAddr = if is_v4 { TRACKER_V4.into() } else { TRACKER_V6.into() };
    let (mut own, mut all) = (0, 0);
    for (rack, number) in peers() {
        let source = peer(rack, number, is_v4);
        let payload = announce(&both, source, number);
        let frame = Frame::new(source, SocketAddr::new(tracker, PORT), 0, &payload);
        let (action, out) = both.run(&frame.bytes);
        assert_eq!(action, XDP_TX, "the kernel answers {source}");
        let named = frame.reply(&out)[20..].chunks_exact(if is_v4 { 6 } else { 18 });
        all += named.len();
        own += named.filter(|compact| rack_of(compact, is_v4) == rack).count();
    }
    own as f64 / all as f64
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernel_names_peers_of_the_own_rack_first() {
    for is_v4 in [true, false] {
        let none = World::default();
        let [with, without] =
            [World { subnet: true, ..none }, none].map(|world| share_of_own_rack(world, is_v4));
        println!("{:.1} % of the own rack, {:.1} % without", 100.0 * with, 100.0 * without);
        assert!(with > 0.9 && without < 0.1, "{with} with the preference, {without} without");
    }
}
