//! Opens the sockets.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{batch, settings::UdpSettings};

/// The sockets of one address, or of two: see [`in_families`].
pub(super) fn listen(addr: SocketAddr, settings: &UdpSettings) -> io::Result<Vec<Vec<Socket>>> {
    in_families(addr, &settings.addrs(), |addr| bind(addr, settings))
}

/// Tells whether [`listen`] could, and gives the address up at once. `all` are the addresses that are wanted.
///
/// # Errors
/// What the system says.
pub(super) fn try_listen(addr: SocketAddr, all: &[SocketAddr]) -> io::Result<()> {
    let bind = |addr: SocketAddr| {
        let socket = new_socket(addr)?;
        socket.bind(&addr.into())?;
        Ok(vec![socket])
    };
    in_families(addr, all, bind).map(drop)
}

/// Binds one address, or two: an IPv6 wildcard stands for IPv4's as well, unless that port is listed with an IPv4
/// address. Each address family has sockets of its own, since one that serves both takes longer over each IPv4
/// datagram. On a host without IPv6 there are those of IPv4 alone.
fn in_families(
    addr: SocketAddr,
    all: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> io::Result<Vec<Socket>>,
) -> io::Result<Vec<Vec<Socket>>> {
    if !is_for_both_families(addr, all) {
        return Ok(vec![bind(addr)?]);
    }
    let (v6, port) = match bind(addr) {
        Err(error) if is_without_ipv6(&error) => (None, addr.port()),
        bound => {
            let sockets = bound?;
            let port = sockets[0].local_addr()?.as_socket().map_or(0, |addr| addr.port());
            (Some(sockets), port)
        }
    };
    let v4 = bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    Ok(v6.into_iter().chain([v4]).collect())
}

/// One socket for each worker, all bound to `addr`; the system spreads clients over them.
///
/// Nobody else may be bound there, not even another instance of the tracker: the first socket is
/// bound alone, and only then is the address shared.
fn bind(addr: SocketAddr, settings: &UdpSettings) -> io::Result<Vec<Socket>> {
    let first = open(addr, settings)?;
    first.bind(&addr.into())?;
    let bound = first.local_addr()?;
    first.set_reuse_port(true)?;
    warn_of_small_buffers(&first, addr, settings)?;
    let mut sockets = vec![first];
    for _ in 1..settings.workers().get() {
        let socket = open(addr, settings)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// A socket of the address family of `addr` alone.
fn new_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn open(addr: SocketAddr, settings: &UdpSettings) -> io::Result<Socket> {
    let socket = new_socket(addr)?;
    if addr.is_ipv4() {
        batch::never_fragment(&socket)?;
    }
    batch::enable_packet_info(&socket, addr.is_ipv6())?;
    if let Some(bytes) = settings.socket_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(socket)
}

/// The host was started with `ipv6.disable=1`.
fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn is_for_both_families(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    let collides = |other: &SocketAddr| other.is_ipv4() && other.port() == addr.port();
    addr.is_ipv6() && addr.ip().is_unspecified() && !all.iter().any(collides)
}

/// The system grants less than was asked for without an error.
fn warn_of_small_buffers(
    socket: &Socket,
    addr: SocketAddr,
    settings: &UdpSettings,
) -> io::Result<()> {
    let Some(wanted) = settings.socket_buffer_bytes else { return Ok(()) };
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
    if granted < wanted {
        tracing::warn!(
            %addr, wanted, granted,
            "the system caps the socket buffers: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_first_for_both(addrs: &[&str]) -> bool {
        let addrs: Vec<_> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        is_for_both_families(addrs[0], &addrs)
    }

    #[test]
    fn an_ipv6_wildcard_serves_ipv4_unless_an_ipv4_address_has_the_same_port() {
        assert!(is_first_for_both(&["[::]:6969"]));
        assert!(is_first_for_both(&["[::]:6969", "0.0.0.0:6970", "[::1]:6969"]));
        assert!(!is_first_for_both(&["[::]:6969", "0.0.0.0:6969"]));
        assert!(!is_first_for_both(&["[::]:6969", "192.0.2.1:6969"]));
        assert!(!is_first_for_both(&["[::1]:6969"]));
    }
}
