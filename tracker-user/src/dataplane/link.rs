//! Talks netlink: what no file tells of an interface, such as its kind and the XDP program that it has already.

use std::{io, iter};

use socket2::{Domain, Protocol, Socket, Type};

/// Attributes of a link (`linux/if_link.h`).
const IFLA_ADDRESS: u16 = 1;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_XDP: u16 = 43;
/// Within `IFLA_LINKINFO`: the kind of a virtual interface, a string that ends with 0.
const IFLA_INFO_KIND: u16 = 1;
/// Within `IFLA_LINKINFO`: the kind of its master.
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// Within `IFLA_XDP`: the program's id.
const IFLA_XDP_PROG_ID: u16 = 4;
/// Also within it: the ids by mode. An interface may run one program in hardware and another one beside it,
/// and then there is no `IFLA_XDP_PROG_ID`.
const IFLA_XDP_PROG_IDS: [u16; 3] = [5, 6, 7];

/// The kind of an attribute, without its flags.
const KIND_MASK: u16 = 0x3fff;

/// How far up interfaces are looked for that others are ports of.
const MASTERS_MAX: usize = 8;

/// Bytes of the headers before the attributes of an answer: `nlmsghdr` and `ifinfomsg`.
const HEADERS_BYTES: usize = 16 + 16;

/// The id of the XDP program attached to the interface of this index.
pub(super) fn attached_program(interface_index: u32) -> Option<u32> {
    let answer = ask(interface_index).ok()?;
    let id = attribute(attribute(answer.get(HEADERS_BYTES..)?, IFLA_XDP)?, IFLA_XDP_PROG_ID)?;
    Some(u32::from_ne_bytes(id.try_into().ok()?))
}

/// The ids of all XDP programs attached to the interface of this index. `None` when the system does not tell.
pub(super) fn attached_programs(interface_index: u32) -> Option<Vec<u32>> {
    let answer = ask(interface_index).ok()?;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != libc::RTM_NEWLINK {
        return None;
    }
    let xdp = attribute(answer.get(HEADERS_BYTES..)?, IFLA_XDP)?;
    let id = |kind| Some(u32::from_ne_bytes(attribute(xdp, kind)?.try_into().ok()?));
    let kinds = [IFLA_XDP_PROG_ID].into_iter().chain(IFLA_XDP_PROG_IDS);
    Some(kinds.filter_map(id).collect())
}

/// Whether the interface is one end of a veth pair, as far as the system tells.
///
/// In the driver of one, what a program sends back (`XDP_TX`) is put into the other end's queue, and
/// the other end is woken only if it has an XDP program as well.
pub(super) fn is_veth(interface_index: u32) -> bool {
    kind(interface_index).as_deref() == Some(b"veth\0")
}

/// The kind of a virtual interface, with a NUL; `None` for a device, or where the system does not tell.
pub(super) fn kind(interface_index: u32) -> Option<Vec<u8>> {
    let answer = ask(interface_index).ok()?;
    let info = attribute(answer.get(HEADERS_BYTES..)?, IFLA_LINKINFO)?;
    attribute(info, IFLA_INFO_KIND).map(<[u8]>::to_vec)
}

/// The MAC address to which the host takes frames that arrive at the interface: its own, or that of the bridge of
/// which it is a port. Other addresses that the interface may have, those of macvlans for instance, are not told.
pub(super) fn mac(interface_index: u32) -> Option<[u8; 6]> {
    let answer = ask(interface_index).ok()?;
    let attributes = answer.get(HEADERS_BYTES..)?;
    if let Some(bridge) = master(attributes, &[b"bridge\0"]).and_then(|index| ask(index).ok()) {
        return attribute(bridge.get(HEADERS_BYTES..)?, IFLA_ADDRESS)?.try_into().ok();
    }
    attribute(attributes, IFLA_ADDRESS)?.try_into().ok()
}

/// The index that routes name for what arrives by the interface: that of the bond, team or bridge of which it is a
/// port, or else its own.
pub(super) fn routed_as(interface_index: u32) -> u32 {
    let above = |index: &u32| {
        let answer = ask(*index).ok()?;
        master(answer.get(HEADERS_BYTES..)?, &[b"bond\0", b"team\0", b"bridge\0"])
    };
    // A port of a bond that is a port of a bridge. The kernel lets there be no circle.
    iter::successors(Some(interface_index), above).take(MASTERS_MAX).last().unwrap_or_default()
}

/// The index of the interface of which one with these attributes is a port, if that is of one of these kinds.
fn master(attributes: &[u8], kinds: &[&[u8]]) -> Option<u32> {
    let kind = attribute(attribute(attributes, IFLA_LINKINFO)?, IFLA_INFO_SLAVE_KIND)?;
    let index = attribute(attributes, IFLA_MASTER).filter(|_| kinds.contains(&kind))?;
    Some(u32::from_ne_bytes(index.try_into().ok()?))
}

/// The answer to `RTM_GETLINK`.
fn ask(interface_index: u32) -> io::Result<Vec<u8>> {
    let mut request = [0; HEADERS_BYTES];
    request[0..4].copy_from_slice(&(HEADERS_BYTES as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[20..24].copy_from_slice(&interface_index.to_ne_bytes());
    exchange(libc::NETLINK_ROUTE, &request)
}

/// The kernel's answer to a netlink message: the first 32 KiB, far more than one interface takes.
///
/// # Errors
/// When there can be no socket. That the kernel refuses is an answer.
pub(super) fn exchange(protocol: i32, request: &[u8]) -> io::Result<Vec<u8>> {
    exchange_on(&open(protocol)?, request)
}

/// A netlink socket of this protocol. Not connected, it talks to the kernel.
///
/// # Errors
/// When there can be none.
pub(super) fn open(protocol: i32) -> io::Result<Socket> {
    let protocol = Protocol::from(protocol);
    Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))
}

/// Like [`exchange`], on a socket that may have options set.
///
/// # Errors
/// The system's.
pub(super) fn exchange_on(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request)?;
    let mut answer = Vec::with_capacity(32 << 10);
    let len = socket.recv(answer.spare_capacity_mut())?;
    // SAFETY: that many bytes were received into the spare capacity.
    unsafe { answer.set_len(len) };
    Ok(answer)
}

/// Each attribute, as its kind and its value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // Each is a length, a kind and a value, padded to four bytes.
    iter::from_fn(move || {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([head[2], head[3]]) & KIND_MASK, value))
    })
}

/// The value of the first attribute of this kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|attribute| attribute.0 == kind).map(|(_, value)| value)
}

/// Appends an attribute, padded to four bytes. Values are far shorter than 64 KiB.
pub(super) fn put_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend((4 + value.len() as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_a_padded_one() {
        let bytes: Vec<_> = [(5u16, 1u16), (0, 0), (6, 43), (0x0201, 0)]
            .iter()
            .flat_map(|(a, b)| [a.to_ne_bytes(), b.to_ne_bytes()].concat())
            .collect();
        assert_eq!(attribute(&bytes, 43), Some(&0x0201u16.to_ne_bytes()[..]));
        assert_eq!(attribute(&bytes, 44), None);
        assert_eq!(attributes(&bytes).map(|(kind, _)| kind).collect::<Vec<_>>(), [1, 43]);
    }

    #[test]
    fn an_attribute_that_was_written_is_read_again() {
        let mut bytes = Vec::new();
        put_attribute(&mut bytes, 7, b"odd");
        put_attribute(&mut bytes, 8, b"");
        assert_eq!(bytes.len(), 12);
        assert_eq!([7, 8].map(|kind| attribute(&bytes, kind)), [Some(&b"odd"[..]), Some(b"")]);
    }

    #[test]
    fn nonsense_ends_the_search() {
        for bytes in [&[][..], &[1], &[0; 8], &[0xff; 8], &[2, 0, 43, 0]] {
            assert_eq!(attribute(bytes, 43), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_has_no_answer() {
        assert_eq!(attached_programs(u32::MAX >> 1), None);
    }

    #[test]
    fn the_loopback_interface_can_be_asked_about() {
        assert!(ask(1).unwrap().len() > HEADERS_BYTES);
    }
}
