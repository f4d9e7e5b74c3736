//! What our own tracker says of itself.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
};

use anyhow::{Context as _, Result};
use tracker_tests::{Metrics, Namespace};

/// Where it does.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6880));

/// Asks the tracker on this host.
///
/// # Errors
/// There is none.
pub fn read(host: &Namespace) -> Result<Metrics> {
    host.enter(|| {
        let mut stream = TcpStream::connect(ADDRESS)?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no end of the HTTP head")?;
        Ok(Metrics::parse(body))
    })
}
