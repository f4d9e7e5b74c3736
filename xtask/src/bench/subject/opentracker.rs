//! opentracker as Debian builds it: IPv4 only, listed torrents only, and with a system call to the
//! system's log, which nobody reads here, for what it logs.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use loadgen::info_hash;
use tracker_common::wire::PROTOCOL_ID;
use tracker_tests::{Namespace, Program};

use super::on_last_processor;
use crate::{
    apt,
    bench::{cable::PORT, profile::Figures},
    process,
};

/// Installs Debian's package.
///
/// # Errors
/// It cannot be had.
pub fn install() -> Result<()> {
    apt::provide(&[("opentracker", "opentracker")])
}

/// Starts it with all torrents of the load on its list.
///
/// # Errors
/// It does not serve.
pub fn start(
    host: &Namespace,
    address: Ipv4Addr,
    figures: &Figures,
    folder: &Path,
) -> Result<Program> {
    // It changes its root directory to this one.
    let root = folder.join("opentracker");
    fs::create_dir(&root)?;
    let mut list = String::with_capacity(41 * figures.torrents as usize);
    for torrent in 0..figures.torrents {
        writeln!(list, "{}", info_hash(torrent))?;
    }
    fs::write(root.join("whitelist"), list)?;
    let config = folder.join("opentracker.conf");
    let text = format!(
        "tracker.rootdir {}\n\
         tracker.user nobody\n\
         access.whitelist /whitelist\n\
         listen.tcp_udp {address}:{PORT}\n",
        root.display()
    );
    fs::write(&config, text)?;
    let binary = process::find("opentracker").context("opentracker is not installed")?;
    let mut command = on_last_processor(host, &binary)?;
    command.arg("-f").arg(&config);
    Program::start_until(&mut command, &folder.join("opentracker.log"), || answers(host, address))
}

/// Whether a tracker on the host answers a connect.
pub fn answers(host: &Namespace, address: Ipv4Addr) -> Result<()> {
    host.enter(|| {
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(&[PROTOCOL_ID, [0; 8]].concat(), (address, PORT))?;
        socket.recv(&mut [0; 16]).context("no reply to a connect")?;
        Ok(())
    })
}
