//! Trackers that serve HTTP.

use std::{fs, path::Path};

use anyhow::Result;
use tracker_tests::{Namespace, Program};

use super::{aquatic, mode::Mode, on_last_processor, opentracker, xdp_tracker};
use crate::bench::{cable::PORT, loader::TRACKER, profile::Figures};

/// One of those that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpKind {
    /// Debian's opentracker, which has no TLS and closes every connection.
    Opentracker,
    /// aquatic_http.
    Aquatic,
    /// Ours.
    XdpTracker,
}

impl HttpKind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opentracker => "opentracker",
            Self::Aquatic => "aquatic_http",
            Self::XdpTracker => "xdp-tracker",
        }
    }

    /// Installs what is not ours.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn install(self) -> Result<()> {
        match self {
            Self::Opentracker => opentracker::install(),
            Self::Aquatic => aquatic::install(),
            Self::XdpTracker => Ok(()),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// It does not serve.
    pub fn start(
        self,
        host: &Namespace,
        mode: Mode<'_>,
        figures: &Figures,
        folder: &Path,
    ) -> Result<Program> {
        match self {
            Self::Opentracker => opentracker::start(host, TRACKER, figures, folder),
            Self::XdpTracker => xdp_tracker::start_http(host, mode, figures, folder),
            Self::Aquatic => start_aquatic(host, mode, folder),
        }
    }
}

fn start_aquatic(host: &Namespace, mode: Mode<'_>, folder: &Path) -> Result<Program> {
    let tls = mode.certificate.map(|files| {
        format!(
            "enable_tls = true\ntls_certificate_path = {:?}\ntls_private_key_path = {:?}\n",
            files.certificate, files.key
        )
    });
    let config = folder.join("aquatic-http.toml");
    let text = format!(
        "socket_workers = 1\n\
         swarm_workers = 1\n\
         [network]\n\
         address = \"{TRACKER}:{PORT}\"\n\
         keep_alive = {}\n\
         {}\
         [protocol]\n\
         max_peers = 50\n\
         peer_announce_interval = 1800\n",
        mode.keeps,
        tls.unwrap_or_default(),
    );
    fs::write(&config, text)?;
    let mut command = on_last_processor(host, &aquatic::binary("aquatic_http"))?;
    command.arg("-c").arg(&config);
    Program::start_until(&mut command, &folder.join("aquatic-http.log"), || {
        Ok(host.enter(|| std::net::TcpStream::connect((TRACKER, PORT)).map(drop))?)
    })
}
