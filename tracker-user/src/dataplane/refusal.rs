//! Why the kernel does not attach a program: in its own words where it has any, else by what its error means for XDP.
//!
//! A link (`BPF_LINK_CREATE`) fails with a number alone. The words go to those that attach over netlink and ask for
//! extended acknowledgements. So an attempt that has failed is repeated over netlink, for its words.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

use socket2::Socket;

use super::{
    link::{self, attribute, put_attribute},
    plan::{Facts, GENERIC, NATIVE},
};

/// Of `linux/if_link.h`.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// The attribute has attributes.
const NESTED: u16 = 1 << 15;

/// Of `linux/netlink.h`: the text within an extended acknowledgement.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Bytes of the headers before the attributes of a request: `nlmsghdr` and `ifinfomsg`.
const HEADERS_BYTES: usize = 16 + 16;
/// Bytes before the attributes of an acknowledgement without the request: `nlmsghdr`, and `nlmsgerr`, which is the
/// error and the head of the request.
const ACK_BYTES: usize = 16 + 4 + 16;

/// The kernel's words for why it does not attach this program in this mode. It takes `CAP_NET_ADMIN`.
///
/// Should it succeed this time, it is undone at once, and there are no words. It replaces no program.
pub(super) fn words(index: u32, program: BorrowedFd<'_>, mode: &str) -> Option<String> {
    let flags = if mode == NATIVE { XDP_FLAGS_DRV_MODE } else { XDP_FLAGS_SKB_MODE };
    let (error, words) =
        set_xdp(index, program.as_raw_fd(), flags | XDP_FLAGS_UPDATE_IF_NOEXIST).ok()?;
    match error {
        0 => {
            let _ = set_xdp(index, -1, flags);
            None
        }
        // That is not why the link could not be had.
        error if error == -libc::EPERM => None,
        _ => words,
    }
}

/// Attaches a program, or detaches with -1. Returns the kernel's error, 0 for none, and its words.
fn set_xdp(index: u32, program: i32, flags: u32) -> io::Result<(i32, Option<String>)> {
    let socket = link::open(libc::NETLINK_ROUTE)?;
    // Acknowledgements have attributes, and do not repeat the request.
    switch_on(&socket, libc::NETLINK_EXT_ACK)?;
    switch_on(&socket, libc::NETLINK_CAP_ACK)?;
    let answer = link::exchange_on(&socket, &request(index, program, flags))?;
    let error = answer.get(16..20).and_then(|error| error.try_into().ok()).map(i32::from_ne_bytes);
    let words = answer.get(ACK_BYTES..).and_then(|ack| attribute(ack, NLMSGERR_ATTR_MSG));
    let words =
        words.map(|words| String::from_utf8_lossy(words).trim_end_matches('\0').trim().to_owned());
    Ok((error.unwrap_or(-libc::EPROTO), words.filter(|words| !words.is_empty())))
}

/// Switches an option of a netlink socket on.
fn switch_on(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (value, bytes) = (ptr::from_ref(&on).cast(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the value is that many bytes, and is only read during the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, value, bytes) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `RTM_SETLINK` with the program.
fn request(index: u32, program: i32, flags: u32) -> Vec<u8> {
    let mut xdp = Vec::new();
    put_attribute(&mut xdp, IFLA_XDP_FD, &program.to_ne_bytes());
    put_attribute(&mut xdp, IFLA_XDP_FLAGS, &flags.to_ne_bytes());
    let mut request = vec![0; HEADERS_BYTES];
    request[4..6].copy_from_slice(&libc::RTM_SETLINK.to_ne_bytes());
    let wanted = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    request[6..8].copy_from_slice(&(wanted as u16).to_ne_bytes());
    request[20..24].copy_from_slice(&index.to_ne_bytes());
    put_attribute(&mut request, IFLA_XDP | NESTED, &xdp);
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    request
}

/// What an error of the system means where a program is to be attached in this mode, with what to do; `None` for one
/// that speaks for itself.
fn meaning(errno: i32, mode: &str) -> Option<&'static str> {
    Some(match errno {
        libc::EOPNOTSUPP if mode == NATIVE => {
            "the driver has no XDP, or not with the present settings of the NIC (offloads, queues, a bond's mode)"
        }
        libc::EOPNOTSUPP => "this kind of interface takes no XDP program",
        libc::EINVAL | libc::ERANGE | libc::EMSGSIZE | libc::E2BIG => {
            "the driver refuses it with the present settings of the NIC: try `ip link set` with a smaller MTU, and \
             `ethtool -K` without LRO and GRO in hardware"
        }
        libc::ENOSPC | libc::ENOMEM if mode == GENERIC => "the system has no room for it",
        libc::ENOSPC | libc::ENOMEM => {
            "the NIC has no queues or memory left for it: try fewer queues (`ethtool -L`) or shorter rings (`ethtool -G`)"
        }
        libc::EEXIST => {
            "an interface above it (a bond or bridge) or another mode has an XDP program: attach there, or detach that"
        }
        libc::EBUSY => {
            "the NIC is in use in a way that excludes XDP (another program, tcp-data-split, memory of a device)"
        }
        libc::EPERM | libc::EACCES => {
            "the process may not: run as root, or grant CAP_NET_ADMIN and CAP_BPF"
        }
        _ => return None,
    })
}

/// Why the kernel does not run the program in this mode, with what to do.
pub(super) fn explain(
    interface: &str,
    facts: &Facts,
    mode: &str,
    errno: i32,
    words: Option<String>,
) -> String {
    let place = if mode == NATIVE {
        "in the driver (native XDP)"
    } else {
        "in the network stack (generic XDP)"
    };
    let mut told = format!("the kernel does not run the program {place}: ");
    let mut advice = Vec::new();
    match (words, meaning(errno, mode)) {
        (Some(words), _) => {
            if words.contains("MTU") {
                advice.push(format!(
                    "a smaller MTU (`ip link set dev {interface} mtu 1500`, for a veth pair at both ends)"
                ));
            }
            told += &format!("\"{words}\"");
        }
        (None, Some(meaning)) => told += meaning,
        (None, None) => told += &io::Error::from_raw_os_error(errno).to_string(),
    }
    advice.extend(facts.ethtool(interface));
    if !advice.is_empty() {
        told += &format!("; try {}", advice.join(" or "));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::nic::{Offload, Offloads};

    #[test]
    fn the_kernels_words_are_told_before_what_its_error_means() {
        let offloads = Offloads { gro_hw: Offload::Off, lro: Offload::On };
        let facts = Facts { offloads, ..Facts::default() };
        let told = |facts, words: Option<&str>| {
            explain("eth0", facts, NATIVE, libc::EINVAL, words.map(str::to_owned))
        };
        let no_offloads = Facts::default();
        let plain = told(&no_offloads, Some("too few queues"));
        assert!(plain.ends_with("in the driver (native XDP): \"too few queues\""), "{plain}");
        let mtu = told(&facts, Some("MTU too large"));
        assert!(mtu.contains("`ip link set dev eth0 mtu 1500`"), "{mtu}");
        assert!(mtu.ends_with(" or `ethtool -K eth0 lro off`"), "{mtu}");
        assert!(told(&facts, None).contains("with the present settings of the NIC"));
    }

    #[test]
    fn each_error_that_a_driver_gives_is_told_with_what_to_do() {
        for errno in
            [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOSPC, libc::ENOMEM, libc::EEXIST, libc::EBUSY]
        {
            for mode in [NATIVE, GENERIC] {
                assert!(meaning(errno, mode).is_some(), "{errno} {mode}");
            }
        }
        assert_ne!(meaning(libc::EOPNOTSUPP, NATIVE), meaning(libc::EOPNOTSUPP, GENERIC));
        assert_eq!(meaning(libc::EIO, NATIVE), None);
    }

    #[test]
    fn a_request_that_the_kernel_refuses_has_an_error() {
        // No interface has this index, whether or not the process may attach programs.
        let (error, _) = set_xdp(u32::MAX >> 1, -1, XDP_FLAGS_DRV_MODE).unwrap();
        assert!(error < 0, "{error}");
    }
}
