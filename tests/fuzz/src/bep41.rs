//! The options at the end of an announce (BEP 41), and the query within.

use tracker_common::{connection::ConnectionIds, hash::SipKey, wire::action};
use tracker_user::{
    config::UdpConfig,
    udp::{UdpFrontend, UdpSettings},
};

use crate::udp::exchange;

/// The bytes are the options.
pub fn run(data: &[u8]) {
    let announce = [
        &[0; 8][..],
        &action::ANNOUNCE,
        b"txid",
        &[b'h'; 20],
        b"-TR4050-abcdefghijkl",
        &[0; 28],
        &[0; 4],
        b"key!",
        &50_u32.to_be_bytes(),
        &6881_u16.to_be_bytes(),
        data,
    ];
    let ids = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 0);
    let frontend = UdpFrontend::new(UdpSettings::new(UdpConfig::default(), ids));
    exchange(&frontend, "192.0.2.1:5000".parse().unwrap(), &announce.concat());
}
