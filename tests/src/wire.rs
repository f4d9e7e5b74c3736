//! Raw frames out of a host's interface and into it.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::{INTERFACE, Namespace};

/// A packet socket (`AF_PACKET`) at a host's interface. Frames are sent as they are, with whole checksums or wrong ones.
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens one in a namespace, at [`INTERFACE`].
    ///
    /// # Errors
    /// We are not root, or there is no such interface.
    pub fn new(namespace: &Namespace) -> Result<Self> {
        namespace.enter(Self::open)
    }

    fn open() -> Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the call takes no pointers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, all.into()) };
        if socket < 0 {
            return Err(io::Error::last_os_error()).context("no packet socket");
        }
        // SAFETY: it was just opened, and belongs to nothing else.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: integers may be zero.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = if_nametoindex(INTERFACE)? as i32;
        // SAFETY: the address is as long as is said.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error()).context("cannot bind a packet socket");
        }
        Ok(Self { socket })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down, or the frame too long.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        nix::unistd::write(&self.socket, frame).context("cannot send a frame")?;
        Ok(())
    }

    /// The next frame that passes the interface either way, if one comes in time.
    ///
    /// # Errors
    /// The interface is down.
    pub fn receive(&self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let mut waiting =
            libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, as is said.
        let ready = unsafe { libc::poll(&raw mut waiting, 1, patience.as_millis().try_into()?) };
        if ready < 0 {
            return Err(io::Error::last_os_error()).context("cannot wait for a frame");
        }
        if ready == 0 {
            return Ok(None);
        }
        let mut frame = vec![0; 4096];
        match nix::unistd::read(&self.socket, &mut frame) {
            Ok(len) => frame.truncate(len),
            Err(error) if io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot receive a frame"),
        }
        Ok(Some(frame))
    }
}
