//! Opens the sockets.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{batch, options::UdpOptions};

/// One socket for each worker, all bound to `addr`; the system spreads clients over them.
///
/// Nobody else may be bound there, not even another instance of the tracker: the first socket is
/// bound alone, and only then is the address shared.
pub(super) fn listen(addr: SocketAddr, options: &UdpOptions) -> io::Result<Vec<Socket>> {
    let first = open(addr, options)?;
    first.bind(&addr.into())?;
    let bound = first.local_addr()?;
    first.set_reuse_port(true)?;
    warn_of_small_buffers(&first, addr, options)?;
    let mut sockets = vec![first];
    for _ in 1..options.workers.get() {
        let socket = open(addr, options)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn open(addr: SocketAddr, options: &UdpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(is_only_v6(addr, &options.addrs))?;
    }
    // Bound to one address, replies come from there anyway.
    if addr.ip().is_unspecified() {
        batch::enable_packet_info(&socket, addr.is_ipv6())?;
    }
    if let Some(bytes) = options.socket_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(socket)
}

/// An IPv6 wildcard that also took IPv4 would collide with an IPv4 address of the same port.
fn is_only_v6(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    all.iter().any(|other| other.is_ipv4() && other.port() == addr.port())
}

/// The system grants less than was asked for without an error.
fn warn_of_small_buffers(
    socket: &Socket,
    addr: SocketAddr,
    options: &UdpOptions,
) -> io::Result<()> {
    let Some(wanted) = options.socket_buffer_bytes else { return Ok(()) };
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

    fn is_only_v6_among(addrs: &[&str]) -> bool {
        let addrs: Vec<_> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        is_only_v6(addrs[0], &addrs)
    }

    #[test]
    fn an_ipv6_wildcard_serves_ipv4_unless_an_ipv4_address_has_the_same_port() {
        assert!(!is_only_v6_among(&["[::]:6969"]));
        assert!(!is_only_v6_among(&["[::]:6969", "0.0.0.0:6970", "[::1]:6969"]));
        assert!(is_only_v6_among(&["[::]:6969", "0.0.0.0:6969"]));
        assert!(is_only_v6_among(&["[::]:6969", "192.0.2.1:6969"]));
    }
}
