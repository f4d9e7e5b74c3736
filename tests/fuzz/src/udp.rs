//! Datagrams to the UDP frontend.

use std::net::SocketAddr;

use tracker_common::{
    connection::ConnectionIds,
    hash::SipKey,
    wire::{PROTOCOL_ID, REQUEST_BYTES_MIN, action},
};
use tracker_user::{
    config::UdpConfig,
    udp::{Datagram, Scratch, UdpFrontend, UdpSettings},
};

use crate::pipeline::pipeline;

const NOW_NS: u64 = 1_000_000_000_000;

/// The most bytes of a payload that fit a frame.
const REPLY_MAX: usize = 1472;

/// The first byte chooses the client and the options, the rest is the datagram.
pub fn run(data: &[u8]) {
    let Some((&choice, packet)) = data.split_first() else { return };
    let client = ["192.0.2.1:5000", "[2001:db8::1]:5000", "[::ffff:192.0.2.9]:5000"];
    let client = client[usize::from(choice % 3)].parse().unwrap();
    let ids = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 0);
    let config = UdpConfig {
        allow_ip_spoofing: choice & 64 != 0,
        max_numwant: if choice & 32 == 0 { 100 } else { u32::MAX },
        ..UdpConfig::default()
    };
    exchange(&UdpFrontend::new(UdpSettings::new(config, ids)), client, packet);
}

/// Sends a datagram from an address that is not verified, and then with a good connection id.
pub fn exchange(frontend: &UdpFrontend, client: SocketAddr, packet: &[u8]) {
    let (pipeline, mut scratch) = (pipeline(), Scratch::default());
    let mut answer = |packet: &[u8]| {
        let mut reply = Vec::new();
        let datagram = Datagram { bytes: packet, source: client, interface: 0, wall_ns: NOW_NS };
        let outcome = frontend.answer(&pipeline, &datagram, &mut scratch, &mut reply);
        (reply, outcome)
    };
    let (reply, _) = answer(packet);
    assert!(reply.len() <= packet.len(), "an unverified source was sent more than it sent");
    if packet.len() < REQUEST_BYTES_MIN {
        assert!(reply.is_empty(), "half a head was answered");
        return;
    }
    let (connected, _) = answer(&[&PROTOCOL_ID[..], &action::CONNECT, b"txid"].concat());
    let verified = [&connected[8..16], &packet[8..]].concat();
    let (reply, outcome) = answer(&verified);
    if reply.is_empty() {
        assert_eq!(packet[8..12], action::CONNECT, "a verified request was not answered");
        return;
    }
    assert!(reply.len() <= REPLY_MAX, "a reply of {} bytes", reply.len());
    assert_eq!(reply[4..8], packet[12..16], "the reply is to another transaction");
    let expected = if outcome.refusal.is_some() { &action::ERROR } else { &packet[8..12] };
    assert_eq!(reply[..4], *expected, "the reply is to another action");
}
