//! Receives and sends many datagrams with one system call each, and waits for them.
//!
//! A reply leaves from the address that its request came to: the system tells that address along with the request
//! (`IP_PKTINFO`, `IPV6_PKTINFO`), and is told it back. It tells the interface too, by which the daemon knows
//! whether the XDP program has seen the request.

use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::Socket;
use tracker_common::{peers::PEERS_BYTES_MAX, wire::AnnounceReply};

/// Datagrams that one call takes or sends at most.
pub(super) const BATCH: usize = 64;

/// Longer requests lose their end and are malformed then. Far more than an announce with its URL
/// data or a scrape whose reply fits a frame.
const REQUEST_BYTES_MAX: usize = 2048;

/// An announce with as many peers as a list holds; a scrape is shorter.
const REPLY_BYTES_MAX: usize = size_of::<AnnounceReply>() + PEERS_BYTES_MAX;

/// Room for one control message with an `in6_pktinfo`, aligned as its header must be.
type Control = [u64; 8];

/// A request, and room for its reply.
struct Message {
    request: [u8; REQUEST_BYTES_MAX],
    request_len: usize,
    client: libc::sockaddr_storage,
    client_len: libc::socklen_t,
    control: Control,
    control_len: usize,
    reply: Vec<u8>,
}

/// A request of a batch.
pub(super) struct Request<'a> {
    /// The payload.
    pub(super) bytes: &'a [u8],
    /// The sender.
    pub(super) source: SocketAddr,
    /// The index of the interface that it came by; 0 where the system does not tell.
    pub(super) interface: u32,
    /// Where to write the reply.
    pub(super) reply: &'a mut Vec<u8>,
}

/// The datagrams of one call.
pub(super) struct Batch {
    messages: Box<[Message]>,
    len: usize,
}

impl Batch {
    /// An empty batch, with all the memory it will need.
    pub(super) fn new() -> Self {
        let message = || Message {
            request: [0; REQUEST_BYTES_MAX],
            request_len: 0,
            // SAFETY: zeros are a valid value of this plain structure.
            client: unsafe { mem::zeroed() },
            client_len: 0,
            control: [0; 8],
            control_len: 0,
            reply: Vec::with_capacity(REPLY_BYTES_MAX),
        };
        Self { messages: std::iter::repeat_with(message).take(BATCH).collect(), len: 0 }
    }

    /// Replaces the batch with the datagrams that have arrived, without waiting for any.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.len = 0;
        let mut iovecs = [NO_IOVEC; BATCH];
        let mut headers = [no_header(); BATCH];
        for ((message, iovec), header) in
            self.messages.iter_mut().zip(&mut iovecs).zip(&mut headers)
        {
            message.reply.clear();
            message.client_len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.control_len = size_of::<Control>();
            *iovec = libc::iovec {
                iov_base: message.request.as_mut_ptr().cast(),
                iov_len: REQUEST_BYTES_MAX,
            };
            message.address(&mut header.msg_hdr, iovec);
        }
        // SAFETY: the headers point to buffers of the given lengths, which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (message, header) in self.messages.iter_mut().zip(&headers[..received]) {
            message.request_len = header.msg_len as usize;
            message.client_len = header.msg_hdr.msg_namelen;
            message.control_len = header.msg_hdr.msg_controllen;
        }
        self.len = received;
        Ok(())
    }

    /// The requests.
    pub(super) fn requests(&mut self) -> impl Iterator<Item = Request<'_>> {
        self.messages[..self.len].iter_mut().filter_map(|message| {
            let (source, interface) = (message.client()?, message.interface());
            let bytes = &message.request[..message.request_len];
            Some(Request { bytes, source, interface, reply: &mut message.reply })
        })
    }

    /// Sends the replies that are not empty, and says how many could not be sent. Those that the
    /// socket's buffer has no room for are given up: a client asks again.
    pub(super) fn send(&mut self, socket: &Socket) -> usize {
        let mut iovecs = [NO_IOVEC; BATCH];
        let mut headers = [no_header(); BATCH];
        let answered =
            self.messages[..self.len].iter_mut().filter(|message| !message.reply.is_empty());
        let mut replies = 0;
        for ((message, iovec), header) in answered.zip(&mut iovecs).zip(&mut headers) {
            *iovec = libc::iovec {
                iov_base: message.reply.as_mut_ptr().cast(),
                iov_len: message.reply.len(),
            };
            message.address(&mut header.msg_hdr, iovec);
            leave_route_open(&mut header.msg_hdr);
            replies += 1;
        }
        send_all(socket, &mut headers[..replies])
    }
}

impl Message {
    /// Fills in a header but for the direction of its buffer.
    fn address(&mut self, header: &mut libc::msghdr, iovec: &mut libc::iovec) {
        header.msg_name = (&raw mut self.client).cast();
        header.msg_namelen = self.client_len;
        header.msg_iov = iovec;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = self.control_len;
    }

    fn client(&self) -> Option<SocketAddr> {
        match i32::from(self.client.ss_family) {
            libc::AF_INET => {
                // SAFETY: the system says that the storage, which is large enough, holds this.
                let client = unsafe { &*(&raw const self.client).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(client.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::from((ip, u16::from_be(client.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let client = unsafe { &*(&raw const self.client).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(client.sin6_addr.s6_addr);
                let port = u16::from_be(client.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, client.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// The index of the interface that the request came by; 0 where the system does not tell.
    fn interface(&self) -> u32 {
        if self.control_len < size_of::<libc::cmsghdr>() {
            return 0;
        }
        // SAFETY: the buffer is aligned as a header must be, and the system has written one.
        let control = unsafe { &*self.control.as_ptr().cast::<libc::cmsghdr>() };
        // SAFETY: the buffer has room for the longest of these after the header.
        let data = unsafe { libc::CMSG_DATA(control) };
        match (control.cmsg_level, control.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the type says what the data is, and the buffer is aligned.
                unsafe { (*data.cast::<libc::in_pktinfo>()).ipi_ifindex as u32 }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                unsafe { (*data.cast::<libc::in6_pktinfo>()).ipi6_ifindex }
            }
            _ => 0,
        }
    }
}

const NO_IOVEC: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

fn no_header() -> libc::mmsghdr {
    // SAFETY: zeros are a valid value of this plain structure.
    unsafe { mem::zeroed() }
}

fn send_all(socket: &Socket, mut headers: &mut [libc::mmsghdr]) -> usize {
    let mut lost = 0;
    while !headers.is_empty() {
        // SAFETY: the headers point to buffers of the given lengths, which outlive the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        let done = match usize::try_from(sent).map_err(|_| io::Error::last_os_error()) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return lost + headers.len(),
            // The first of them has no way back; the others may have.
            Err(_) => {
                lost += 1;
                1
            }
        };
        headers = &mut headers[done..];
    }
    lost
}

/// Keeps from the control message of a request the address that the reply shall come from, but not
/// the interface, so that the way back is for the routing table to say. A link-local address means
/// nothing without its interface.
fn leave_route_open(header: &mut libc::msghdr) {
    // SAFETY: the control buffer is the header's, aligned and of the length that the system gave.
    let control = unsafe { libc::CMSG_FIRSTHDR(header) };
    if control.is_null() {
        return;
    }
    // SAFETY: the buffer holds this message, header and data.
    let (data, level, kind, len) = unsafe {
        let libc::cmsghdr { cmsg_level, cmsg_type, cmsg_len, .. } = *control;
        (libc::CMSG_DATA(control), cmsg_level, cmsg_type, cmsg_len)
    };
    // Without the padding after it the system has room for it on its stack, and allocates none.
    header.msg_controllen = len;
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // SAFETY: the type says what the data is, and the buffer is aligned.
            unsafe { (*data.cast::<libc::in_pktinfo>()).ipi_ifindex = 0 };
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            // SAFETY: as above.
            let info = unsafe { &mut *data.cast::<libc::in6_pktinfo>() };
            if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                info.ipi6_ifindex = 0;
            }
        }
        _ => {}
    }
}

/// Asks the system to tell the address that each request came to, and by which interface.
pub(super) fn enable_packet_info(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Sends over IPv4 as the XDP program does, with `DF`: a reply fits a frame, and what is never in
/// fragments needs no identification, to draw which costs a twentieth of a reply.
pub(super) fn never_fragment(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is an int of the given length.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for several files to become readable, or to be closed at their other end.
pub(super) struct Poll(Vec<libc::pollfd>);

impl Poll {
    /// Waits for these.
    pub(super) fn new<'a>(files: impl IntoIterator<Item = BorrowedFd<'a>>) -> Self {
        let poll = |file: BorrowedFd<'_>| libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Self(files.into_iter().map(poll).collect())
    }

    /// Returns once there is something to do.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        loop {
            // SAFETY: the array is as long as is said.
            let ready = unsafe { libc::poll(self.0.as_mut_ptr(), self.0.len() as _, -1) };
            if ready >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Whether the file at this position is ready.
    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.0[index].revents != 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_request_comes_with_the_interface_that_it_came_by() {
        for addr in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let addr: SocketAddr = addr.parse().unwrap();
            let Ok(bound) = UdpSocket::bind(addr) else { continue };
            let to = bound.local_addr().unwrap();
            let socket = Socket::from(bound);
            enable_packet_info(&socket, addr.is_ipv6()).unwrap();
            let host = if addr.is_ipv6() { "::1" } else { "127.0.0.1" };
            let client = UdpSocket::bind((host, 0)).unwrap();
            client.send_to(b"moon", (host, to.port())).unwrap();
            Poll::new([std::os::fd::AsFd::as_fd(&socket)]).wait().unwrap();
            let mut batch = Batch::new();
            batch.receive(&socket).unwrap();
            let came_by: Vec<_> = batch.requests().map(|request| request.interface).collect();
            assert_eq!(came_by, [nix::net::if_::if_nametoindex("lo").unwrap()], "{addr}");
            batch.requests().for_each(|request| request.reply.extend(b"sun"));
            assert_eq!(batch.send(&socket), 0);
            let mut reply = [0; 9];
            let (len, from) = client.recv_from(&mut reply).unwrap();
            assert_eq!((&reply[..len], from.port()), (&b"sun"[..], to.port()));
        }
    }
}
