//! What our own tracker says of itself.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::Result;
use tracker_tests::{Metrics, Namespace};

use super::web;

/// Where it does.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6880));

/// Asks the tracker on this host.
///
/// # Errors
/// There is none.
pub fn read(host: &Namespace) -> Result<Metrics> {
    let text = web::get(host, ADDRESS, "/metrics")?;
    Ok(Metrics::parse(&String::from_utf8_lossy(&text)))
}
