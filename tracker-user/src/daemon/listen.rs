//! Opens the sockets of what is served over TCP.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::ListenAddr;

/// TCP connections that wait to be accepted; the system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// From so many bytes on that the system could not send yet it takes no more of a connection's. It would take
/// megabytes for a browser that does not read, and metrics have a hundred kilobytes.
const UNSENT_BYTES: u32 = 128 << 10;

/// Listens at `addr`; on a host without IPv6, its wildcard stands for that of IPv4. To be called
/// within a tokio runtime.
///
/// # Errors
/// What the system says, and what to do about it.
pub(super) fn listen_tcp(addr: ListenAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = bind_tcp(addr)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(explain)
}

/// Tells whether [`listen_tcp`] could, and gives the address up at once.
///
/// # Errors
/// What the system says.
pub(super) fn try_tcp(addr: ListenAddr) -> io::Result<()> {
    bind_tcp(addr).map(drop)
}

/// Why an address cannot be listened at, and what to do about it.
pub(super) fn explain(error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; `ss -tlpn` names it",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => {
            "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
        }
        _ => return anyhow::Error::new(error).context("cannot listen"),
    };
    anyhow::Error::new(error).context(format!("cannot listen: {advice}"))
}

fn bind_tcp(addr: ListenAddr) -> io::Result<Socket> {
    match open_tcp(addr.to_bind()) {
        // The host was started with `ipv6.disable=1`.
        Err(error)
            if error.raw_os_error() == Some(libc::EAFNOSUPPORT)
                && addr.to_bind().ip().is_unspecified() =>
        {
            open_tcp((Ipv4Addr::UNSPECIFIED, addr.to_bind().port()).into())
        }
        opened => opened,
    }
}

fn open_tcp(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // Or a restart would have to wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    // Connections inherit both. A reply is one write: there is nothing to gather.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
