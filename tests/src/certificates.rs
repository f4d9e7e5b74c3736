//! An authority, and certificates that it has signed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A folder with the certificates of an authority, of a server at 127.0.0.1 and of a client, in PEM.
pub struct Certificates(PathBuf);

impl Certificates {
    /// The client.
    pub const CLIENT: &str = "client";
    /// The server.
    pub const SERVER: &str = "server";

    /// Makes an authority, and all of them anew.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let certificates = Self(folder.to_owned());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        fs::write(certificates.authority(), authority.pem())?;
        for name in [Self::SERVER, Self::CLIENT] {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?;
            let certificate = certificate.signed_by(&key, &authority)?;
            fs::write(certificates.chain(name), certificate.pem())?;
            fs::write(certificates.key(name), key.serialize_pem())?;
        }
        Ok(certificates)
    }

    /// The file of the authority's certificate.
    #[must_use]
    pub fn authority(&self) -> String {
        self.file("authority.pem")
    }

    /// The file of somebody's certificate.
    #[must_use]
    pub fn chain(&self, name: &str) -> String {
        self.file(&format!("{name}.pem"))
    }

    /// The file of its key.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        self.file(&format!("{name}.key"))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}
