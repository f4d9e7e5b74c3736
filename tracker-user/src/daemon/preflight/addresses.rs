//! Addresses to listen on: each is wanted once, this host has it, and no other program listens there.

use std::{io::ErrorKind, net::SocketAddr};

use super::{
    Subject,
    running::{Transport, overlap},
};
use crate::{
    config::{Config, KeyPath, ListenAddr},
    daemon::{
        found::{Found, Occasion, at},
        listen,
    },
    udp,
};

/// A key of which the value is an address to serve TCP on.
struct Wanted {
    key: &'static str,
    addr: ListenAddr,
}

fn over_tcp(config: &Config) -> impl Iterator<Item = Wanted> {
    [
        ("metrics_addr", config.metrics_addr),
        ("http.addr", config.http.addr),
        ("http.https_addr", config.http.https_addr),
    ]
    .into_iter()
    .filter_map(|(key, addr)| Some(Wanted { key, addr: addr? }))
}

/// The path of an element of `udp.addr`; a file may have one without brackets.
fn udp_key(config: &Config, index: usize) -> KeyPath {
    let list = at("udp.addr");
    if config.udp.addr.len() == 1 { list } else { list.index(index) }
}

/// No two settings want one port.
pub(super) fn are_wanted_once(subject: &Subject, found: &mut Found) {
    let mut before: Vec<Wanted> = Vec::new();
    for wanted in over_tcp(subject.config) {
        let overlaps = |other: &&Wanted| overlap(other.addr.to_bind(), wanted.addr.to_bind());
        if let Some(other) = before.iter().find(overlaps) {
            let message = format!(
                "{}: {} has this port already, at {}; give each a port of its own",
                wanted.addr, other.key, other.addr
            );
            found.error(at(wanted.key), message);
        }
        before.push(wanted);
    }
    let udp = &subject.config.udp.addr;
    for (index, addr) in udp.iter().enumerate() {
        if addr.to_bind().port() != 0 && udp[..index].contains(addr) {
            let message = format!("{addr}: the list has this address twice; remove one");
            found.error(udp_key(subject.config, index), message);
        }
    }
}

/// A socket can be had for each, as at the start.
pub(super) fn can_be_listened_on(subject: &Subject, found: &mut Found) {
    for Wanted { key, addr } in over_tcp(subject.config) {
        if let Err(error) = listen::try_tcp(addr) {
            let kind = error.kind();
            let message = format!("{addr}: {:#}", listen::explain(error));
            refuse(subject, found, (Transport::Tcp, addr.to_bind()), at(key), kind, message);
        }
    }
    let binds: Vec<_> = subject.config.udp.binds().into_iter().collect();
    for &addr in &binds {
        if let Err(error) = udp::try_listen(addr, &binds) {
            let index = subject.config.udp.addr.iter().position(|given| given.to_bind() == addr);
            let path = udp_key(subject.config, index.unwrap_or(0));
            let kind = match &error {
                udp::UdpError::Listen { source, .. } | udp::UdpError::Worker(source) => {
                    source.kind()
                }
            };
            let message = format!("{:#}", anyhow::Error::new(error));
            refuse(subject, found, (Transport::Udp, addr), path, kind, message);
        }
    }
}

/// What one socket that cannot be had means.
fn refuse(
    subject: &Subject,
    found: &mut Found,
    (transport, addr): (Transport, SocketAddr),
    path: KeyPath,
    kind: ErrorKind,
    message: String,
) {
    let is_check = subject.occasion == Occasion::Check;
    match kind {
        ErrorKind::AddrInUse
            if is_check && let Some(process) = subject.running().serves(transport, addr) =>
        {
            found.notes.push(format!(
                "{path}: {addr}: the running tracker (process {process}) listens there, as it may"
            ));
        }
        ErrorKind::AddrInUse if is_check && let Some(why) = subject.running().is_untold() => {
            found.notes.push(format!("not told: {path}: {message}; control_socket: {why}"));
        }
        ErrorKind::PermissionDenied => found.forbidden(is_check, path, message),
        _ => found.error(path, message),
    }
}
