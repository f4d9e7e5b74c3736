//! The HTTP frontend: announces and scrapes over HTTP/1.1 (BEP 3, 7, 21, 23, 24, 31 and 48), with
//! Chihaya's rules and failure reasons.
//!
//! [`serve`] accepts connections and bounds them, on bare TCP or on [`Tls`]; [`HttpFrontend`] turns
//! each request into a call of the [`Pipeline`](crate::pipeline::Pipeline): `routes` names
//! the action, [`query`] and `announce` or `scrape` read the request, `reply` writes the answer in
//! bencode. `upgrade` makes of a connection a WebSocket, on which browsers announce (`webtorrent`).

mod announce;
mod bencode;
mod claims;
mod connection;
mod frontend;
mod places;
pub mod proxies;
pub mod query;
mod refusal;
mod reply;
mod scrape;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(feature = "webtorrent")]
mod upgrade;
mod webtorrent;

use std::{net::IpAddr, time::Duration};

#[cfg(not(feature = "webtorrent"))]
use webtorrent::absent as upgrade;

pub use crate::routes::Action;
pub use frontend::HttpFrontend;
pub use server::{Plain, Transport, serve};
pub use settings::{Settings, SettingsError};
pub use tls::{Certificate, CertificateFiles, PemError, Tls, TlsError};

/// Sees what the frontend does; for metrics. Calls are on the request path and must not block.
pub trait Observe: Send + Sync {
    /// A request was answered. `client` is unknown where the request could not be read. `error` is
    /// the failure reason, "internal error", or "" for success: a label from a small set.
    /// `elapsed` is zero unless the configuration asks for timing.
    fn response(&self, action: Action, client: Option<IpAddr>, error: &str, elapsed: Duration);

    /// The limit of connections is reached: one more waits until an idle one makes way, or another ends.
    fn connections_exhausted(&self);

    /// The limit of a source's connections is reached: an idle one of them makes way, or the new one is closed.
    fn source_exhausted(&self);

    /// A client did not agree on TLS, or not in time.
    fn handshake_failed(&self);
}

/// Observes nothing.
impl Observe for () {
    fn response(&self, _: Action, _: Option<IpAddr>, _: &str, _: Duration) {}

    fn connections_exhausted(&self) {}

    fn source_exhausted(&self) {}

    fn handshake_failed(&self) {}
}
