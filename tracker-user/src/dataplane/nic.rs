//! What an interface's driver says of itself: by `ioctl` and generic netlink what `ethtool` shows, and by
//! generic netlink whether it runs XDP programs.

use std::{collections::BTreeSet, io, os::fd::AsRawFd as _, ptr};

use socket2::{Domain, Socket, Type};

use super::link::{self, attribute, attributes, exchange, put_attribute};

/// Commands of `SIOCETHTOOL` (`linux/ethtool.h`); none needs a capability.
const GDRVINFO: u32 = 0x03;
const GRXFH: u32 = 0x29;
const GRXFHINDIR: u32 = 0x38;
const GCHANNELS: u32 = 0x3c;

/// For `GRXFH`: UDP over either family.
const UDP_FLOWS: [u32; 2] = [0x02, 0x06];
/// And bits of its answer: the ports count.
const HASHES_PORTS: u32 = 1 << 6 | 1 << 7;

/// Words that the kernel may write for a command: the most is `ethtool_drvinfo`, 196 bytes.
const WORDS: usize = 64;

/// Rings that an indirection table is read of.
const TABLE_MAX: usize = 4096;

/// The family of generic netlink that tells families, and its command and attributes
/// (`linux/genetlink.h`).
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Of the family `netdev` (`linux/netdev.h`, since Linux 6.3).
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
/// The attribute has attributes.
const NESTED: u16 = 1 << 15;
/// The driver runs programs, and does what they return.
const XDP_BASIC: u64 = 1;

/// Of the family `ethtool` (`linux/ethtool_netlink.h`, since Linux 5.6): a command, its attributes, and those of a
/// set of named bits.
const FEATURES_GET: u8 = 11;
const ETHTOOL_HEADER: u16 = 1;
const ETHTOOL_DEV_INDEX: u16 = 1;
const FEATURES_HW: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_NOCHANGE: u16 = 5;
const BITSET_NOMASK: u16 = 1;
const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// Bytes of the headers before the attributes of an answer: `nlmsghdr` and `genlmsghdr`.
const HEADERS_BYTES: usize = 16 + 4;

/// Receive queues that are in use, and that the NIC has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) used: u32,
    pub(super) max: u32,
}

/// How packets find their queue (RSS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spreading {
    /// The queues that it leads to.
    pub(super) queues: usize,
    /// Whether the ports of UDP over IPv4 and over IPv6 count, not addresses alone; where it is told.
    pub(super) by_ports: [Option<bool>; 2],
}

/// The driver's name.
pub(super) fn driver(interface: &str) -> Option<String> {
    let mut words = [0; WORDS];
    ask(interface, GDRVINFO, &mut words).ok()?;
    let bytes: Vec<_> = words[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Whether datagrams may arrive whose checksum has not been worked out (`CHECKSUM_PARTIAL`): those of virtual
/// interfaces, and of drivers of virtual machines, come from the same host.
pub(super) fn hands_over_partial_sums(interface: &str, interface_index: u32) -> bool {
    const DRIVERS: [&str; 4] = ["virtio_net", "vif", "hv_netvsc", "vmxnet3"];
    link::kind(interface_index).is_some()
        || driver(interface).is_some_and(|driver| DRIVERS.contains(&driver.as_str()))
}

/// Its queues, where the driver tells.
pub(super) fn queues(interface: &str) -> Option<Queues> {
    let mut words = [0; WORDS];
    ask(interface, GCHANNELS, &mut words).ok()?;
    // Each may be for receiving, or for both ways.
    let [_, max_rx, _, _, max_combined, rx, _, _, combined, ..] = words;
    Some(Queues { used: rx + combined, max: max_rx + max_combined })
}

/// Its receive-side scaling, where it has any.
pub(super) fn spreading(interface: &str) -> Option<Spreading> {
    let mut words = [0; 2 + TABLE_MAX];
    // Asked with no room, it tells how much it needs.
    ask(interface, GRXFHINDIR, &mut words).ok()?;
    let size = words[1] as usize;
    if size > TABLE_MAX {
        return None;
    }
    ask(interface, GRXFHINDIR, &mut words).ok()?;
    let queues: BTreeSet<_> = words[2..2 + size].iter().collect();
    let by_ports = UDP_FLOWS.map(|flow| {
        let mut words = [0; WORDS];
        words[1] = flow;
        ask(interface, GRXFH, &mut words).ok()?;
        // The low half of 64 bits.
        let fields = if cfg!(target_endian = "little") { words[2] } else { words[3] };
        Some(fields & HASHES_PORTS == HASHES_PORTS)
    });
    Some(Spreading { queues: queues.len(), by_ports })
}

/// Asks the driver. The first word is the command; others may say more, and hold the answer.
fn ask(interface: &str, command: u32, words: &mut [u32]) -> io::Result<()> {
    debug_assert!(words.len() >= WORDS);
    words[0] = command;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: integers and pointers may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero and ends the name.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request is valid. What it points to has room for all that these commands write:
    // WORDS words, or, for the indirection table, as many entries as the second word has asked for.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, ptr::from_mut(&mut request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `linux/sockios.h`
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Whether the driver runs XDP programs; `None` where the kernel does not tell.
pub(super) fn runs_xdp(interface_index: u32) -> Option<bool> {
    let id = family_id(b"netdev\0")?;
    let device = generic(id, DEV_GET, DEV_IFINDEX, &interface_index.to_ne_bytes()).ok()?;
    let features = attribute(device.get(HEADERS_BYTES..)?, DEV_XDP_FEATURES)?;
    Some(u64::from_ne_bytes(features.try_into().ok()?) & XDP_BASIC != 0)
}

/// Offloads of a NIC that put several received packets into one, which XDP programs cannot have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offloads {
    /// `rx-gro-hw`.
    pub(super) gro_hw: Offload,
    /// `rx-lro`, alias `large-receive-offload`.
    pub(super) lro: Offload,
}

/// How `ethtool -k` shows a feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offload {
    /// `off`, or not told.
    #[default]
    Off,
    /// `on`, and it can be switched off.
    On,
    /// `on [fixed]`.
    Fixed,
}

/// The offloads of an interface; `None` where the kernel does not tell.
pub(super) fn offloads(interface_index: u32) -> Option<Offloads> {
    let mut header = Vec::new();
    put_attribute(&mut header, ETHTOOL_DEV_INDEX, &interface_index.to_ne_bytes());
    let id = family_id(b"ethtool\0")?;
    let answer = generic(id, FEATURES_GET, ETHTOOL_HEADER | NESTED, &header).ok()?;
    let features = answer.get(HEADERS_BYTES..)?;
    let [changeable, active, never_changed] =
        [FEATURES_HW, FEATURES_ACTIVE, FEATURES_NOCHANGE].map(|set| attribute(features, set));
    let (changeable, active) = (changeable?, active?);
    let offload = |name: &[u8]| {
        let is_fixed = !has_bit(changeable, name)
            || never_changed.is_some_and(|never_changed| has_bit(never_changed, name));
        match (has_bit(active, name), is_fixed) {
            (false, _) => Offload::Off,
            (true, false) => Offload::On,
            (true, true) => Offload::Fixed,
        }
    };
    Some(Offloads { gro_hw: offload(b"rx-gro-hw\0"), lro: offload(b"rx-lro\0") })
}

/// Whether a bit of this name is set. A set without a mask lists only bits that are.
fn has_bit(bitset: &[u8], name: &[u8]) -> bool {
    let has_mask = attribute(bitset, BITSET_NOMASK).is_none();
    let bits = attribute(bitset, BITSET_BITS).unwrap_or_default();
    attributes(bits).any(|(_, bit)| {
        attribute(bit, BIT_NAME) == Some(name) && (!has_mask || attribute(bit, BIT_VALUE).is_some())
    })
}

/// The number of a family of generic netlink, where the kernel has it.
fn family_id(name: &[u8]) -> Option<u16> {
    let family = generic(CONTROL, GET_FAMILY, FAMILY_NAME, name).ok()?;
    let id = attribute(family.get(HEADERS_BYTES..)?, FAMILY_ID)?;
    Some(u16::from_ne_bytes(id.try_into().ok()?))
}

/// The answer to a command of generic netlink with one attribute.
fn generic(family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let bytes = HEADERS_BYTES + (4 + value.len()).next_multiple_of(4);
    let mut request = Vec::with_capacity(bytes);
    request.extend((bytes as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    // Neither a number nor a sender.
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    put_attribute(&mut request, kind, value);
    exchange(libc::NETLINK_GENERIC, &request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested<'a>(kind: u16, parts: impl IntoIterator<Item = (u16, &'a [u8])>) -> Vec<u8> {
        let mut value = Vec::new();
        parts.into_iter().for_each(|(kind, part)| put_attribute(&mut value, kind, part));
        let mut bytes = Vec::new();
        put_attribute(&mut bytes, kind, &value);
        bytes
    }

    #[test]
    fn of_a_set_with_a_mask_only_bits_with_a_value_are_set() {
        let names: [&[u8]; 2] = [b"rx-lro\0", b"rx-gro-hw\0"];
        let bits = [
            nested(1, [(BIT_NAME, names[0])]),
            nested(1, [(BIT_NAME, names[1]), (BIT_VALUE, &b""[..])]),
        ]
        .concat();
        let masked = nested(0, [(BITSET_BITS, &bits[..])]);
        let plain = nested(0, [(BITSET_NOMASK, &b""[..]), (BITSET_BITS, &bits[..])]);
        assert_eq!(names.map(|name| has_bit(&masked[4..], name)), [false, true]);
        assert_eq!(names.map(|name| has_bit(&plain[4..], name)), [true, true]);
        assert!(!has_bit(&plain[4..], b"rx-gro\0") && !has_bit(&[], names[0]));
    }

    #[test]
    fn the_loopback_interface_tells_its_offloads_and_a_missing_one_does_not() {
        assert_eq!(offloads(1), Some(Offloads::default()));
        assert_eq!(offloads(u32::MAX >> 1), None);
    }

    #[test]
    fn the_loopback_interface_has_no_driver_that_tells_anything() {
        assert_eq!((driver("lo"), queues("lo"), spreading("lo")), (None, None, None));
        assert_eq!(driver("no such interface, and a long name"), None);
        // A kernel that knows the question answers no.
        assert_ne!(runs_xdp(1), Some(true));
    }
}
