//! Ethernet frames with a UDP datagram, as a client would send them, and a check of what returns.

use std::net::{IpAddr, SocketAddr};

/// The MAC address of the tracker's interface.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A request's frame.
pub struct Frame {
    pub bytes: Vec<u8>,
}

impl Frame {
    pub fn new(source: SocketAddr, to: SocketAddr, vlans: usize, payload: &[u8]) -> Self {
        let udp_len = (8 + payload.len()) as u16;
        let mut bytes = [MAC, [2, 0, 0, 0, 0, 2]].concat();
        for tag in 0..vlans {
            bytes.extend(if vlans == 2 && tag == 0 { [0x88, 0xa8] } else { [0x81, 0x00] });
            bytes.extend([0, 7]);
        }
        let mut udp = Vec::new();
        udp.extend(source.port().to_be_bytes());
        udp.extend(to.port().to_be_bytes());
        udp.extend(udp_len.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let addresses = match (source.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(to)) => [source.octets(), to.octets()].concat(),
            (IpAddr::V6(source), IpAddr::V6(to)) => [source.octets(), to.octets()].concat(),
            _ => panic!("one family only"),
        };
        let pseudo_header = u32::from(sum(&addresses, 17)) + u32::from(udp_len);
        let checksum = match !sum(&udp, pseudo_header) {
            0 => 0xffff,
            checksum => checksum,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        match (source.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(to)) => {
                bytes.extend([0x08, 0x00]);
                let mut ip = vec![0x45, 0];
                ip.extend((udp_len + 20).to_be_bytes());
                ip.extend([0x12, 0x34, 0x40, 0, 57, 17, 0, 0]);
                ip.extend(source.octets());
                ip.extend(to.octets());
                let checksum = !sum(&ip, 0);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                bytes.extend(ip);
            }
            (IpAddr::V6(source), IpAddr::V6(to)) => {
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                bytes.extend(udp_len.to_be_bytes());
                bytes.extend([17, 57]);
                bytes.extend(source.octets());
                bytes.extend(to.octets());
            }
            _ => panic!("one family only"),
        }
        bytes.extend(udp);
        Self { bytes }
    }

    /// The payload of a reply to this frame, once its headers and checksums have been checked.
    pub fn reply<'a>(&self, reply: &'a [u8]) -> &'a [u8] {
        assert_eq!(reply[..6], self.bytes[6..12], "destination MAC");
        assert_eq!(reply[6..12], self.bytes[..6], "source MAC");
        let mut at = 12;
        while matches!(reply[at..at + 2], [0x81, 0x00] | [0x88, 0xa8]) {
            at += 4;
        }
        assert_eq!(reply[12..at + 2], self.bytes[12..at + 2], "VLAN tags");
        let ip = &reply[at + 2..];
        let (udp, pseudo) = if ip[0] >> 4 == 4 {
            assert_eq!(sum(&ip[..20], 0), 0xffff, "IPv4 checksum");
            let len = u16::from_be_bytes([ip[2], ip[3]]) as usize;
            (&ip[20..len], sum(&ip[12..20], 17))
        } else {
            let len = u16::from_be_bytes([ip[4], ip[5]]) as usize;
            (&ip[40..40 + len], sum(&ip[8..40], 17))
        };
        let len = u16::from_be_bytes([udp[4], udp[5]]);
        assert_eq!(len as usize, udp.len(), "UDP length");
        assert_ne!(udp[6..8], [0, 0], "there is a UDP checksum");
        assert_eq!(sum(udp, u32::from(pseudo) + u32::from(len)), 0xffff, "UDP checksum");
        &udp[8..]
    }
}

/// The folded sum of 16-bit words (RFC 1071), with `start` added.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum = words.sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
