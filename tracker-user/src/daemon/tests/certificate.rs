use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring,
    pki_types::CertificateDer,
};
use tempfile::TempDir;

/// A certificate for `localhost` in files that a configuration names.
pub(super) struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(super) fn new() -> Self {
        Self::write_into(tempfile::tempdir().unwrap())
    }

    /// Another one, in the same files.
    pub(super) fn renew(self) -> Self {
        Self::write_into(self.folder)
    }

    fn write_into(folder: TempDir) -> Self {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("cert.pem"), pair.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        Self { folder, der: pair.cert.der().clone() }
    }

    /// The keys of a tracker that serves it.
    pub(super) fn config(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "http: {{ https_addr: '127.0.0.1:0', tls_cert_path: '{folder}/cert.pem', \
             tls_key_path: '{folder}/key.pem' }}"
        )
    }

    /// What the server answers a client that trusts this certificate and no other; empty if they do
    /// not come to terms.
    pub(super) fn get(&self, server: SocketAddr, path: &str) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(client, TcpStream::connect(server).unwrap());
        let mut reply = Vec::new();
        if write!(stream, "GET {path} HTTP/1.0\r\n\r\n").is_ok() {
            let _ = stream.read_to_end(&mut reply);
        }
        reply.escape_ascii().to_string()
    }
}
