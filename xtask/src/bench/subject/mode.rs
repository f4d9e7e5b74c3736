//! How a tracker serves HTTP.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::process;

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
    /// Makes a certificate that no system trusts.
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
