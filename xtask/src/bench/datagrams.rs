//! Many datagrams a system call, each from an address of its own.

use std::{
    io, mem,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    ptr,
};

/// Datagrams of one call.
pub const BATCH: usize = 64;

const MESSAGE_BYTES: usize = 2048;

/// Room for one control message with an `in_pktinfo`, aligned as its header must be.
type Control = [u64; 4];

// SAFETY: zeros are a valid value of this plain structure.
const NO_IOVEC: libc::iovec = unsafe { mem::zeroed() };
// SAFETY: as above.
const NO_HEADER: libc::mmsghdr = unsafe { mem::zeroed() };

/// Datagrams to be sent, or that have come.
pub struct Datagrams {
    messages: Vec<Vec<u8>>,
    controls: [Control; BATCH],
    len: usize,
}

impl Datagrams {
    /// None yet.
    pub fn new() -> Self {
        Self {
            messages: (0..BATCH).map(|_| Vec::with_capacity(MESSAGE_BYTES)).collect(),
            controls: [Control::default(); BATCH],
            len: 0,
        }
    }

    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// Adds one from this address, whose bytes `write` writes.
    pub fn push(&mut self, source: [u8; 4], write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.messages[self.len]);
        self.controls[self.len] = control(source);
        self.len += 1;
    }

    /// Sends all and forgets them. Returns how many the socket had room for.
    ///
    /// # Errors
    /// That of the system, but for want of room.
    pub fn send(&mut self, socket: &UdpSocket, to: SocketAddr) -> io::Result<usize> {
        let SocketAddr::V4(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut to = sockaddr(to);
        let mut iovecs = [NO_IOVEC; BATCH];
        let mut headers = [NO_HEADER; BATCH];
        for index in 0..self.len {
            let message = &mut self.messages[index];
            iovecs[index] =
                libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut to).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let len = mem::take(&mut self.len);
        // SAFETY: the headers point to buffers of the given lengths, which outlive the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                len as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        or_none(sent)
    }

    /// Takes in what has come, without waiting for any.
    ///
    /// # Errors
    /// That of the system, but for there being none.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut iovecs = [NO_IOVEC; BATCH];
        let mut headers = [NO_HEADER; BATCH];
        for index in 0..BATCH {
            let message = &mut self.messages[index];
            message.clear();
            iovecs[index] =
                libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.capacity() };
            headers[index].msg_hdr.msg_iov = &raw mut iovecs[index];
            headers[index].msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: as above.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.len = or_none(received)?;
        for (message, header) in self.messages.iter_mut().zip(&headers[..self.len]) {
            // SAFETY: the system has filled in so many bytes.
            unsafe { message.set_len(header.msg_len as usize) };
        }
        Ok(())
    }

    /// What has come.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.messages[..self.len].iter().map(Vec::as_slice)
    }
}

fn or_none(count: libc::c_int) -> io::Result<usize> {
    usize::try_from(count).or_else(|_| match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        error => Err(error),
    })
}

fn sockaddr(addr: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// Has the system send from this address.
fn control(source: [u8; 4]) -> Control {
    let mut control = Control::default();
    let header = libc::cmsghdr {
        // SAFETY: arithmetic.
        cmsg_len: unsafe { libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) } as _,
        cmsg_level: libc::IPPROTO_IP,
        cmsg_type: libc::IP_PKTINFO,
    };
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let start = control.as_mut_ptr();
    // SAFETY: a header of 16 bytes and 12 bytes of information fit into 32 bytes, aligned.
    unsafe {
        start.cast::<libc::cmsghdr>().write(header);
        libc::CMSG_DATA(start.cast()).cast::<libc::in_pktinfo>().write_unaligned(info);
    }
    control
}

const _: () =
    assert!(size_of::<libc::cmsghdr>() + size_of::<libc::in_pktinfo>() <= size_of::<Control>());
