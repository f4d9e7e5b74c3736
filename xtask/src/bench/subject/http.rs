//! Trackers that serve HTTP.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use tracker_tests::{Namespace, Program};

use super::{aquatic, on_last_processor, opentracker, xdp_tracker};
use crate::{
    bench::{cable::PORT, loader::TRACKER, profile::Figures},
    process,
};

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

/// How a tracker serves.
#[derive(Clone, Copy)]
pub struct Mode<'a> {
    /// Whether connections stay open.
    pub keeps: bool,
    /// Whether it speaks TLS, and with which certificate.
    pub certificate: Option<&'a Certificate>,
}

/// The files of a certificate.
pub struct Certificate {
    /// The certificate, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one that nobody trusts.
    ///
    /// # Errors
    /// `openssl` is missing.
    pub fn new(folder: &Path) -> Result<Self> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-noenc", "-days", "2", "-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(std::process::Stdio::null());
        process::run(&mut openssl)?;
        Ok(Self { certificate, key })
    }
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
