//! HTTPS: TLS 1.2 and 1.3 below HTTP, with a certificate that can be exchanged at any time.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring::{self, Ticketer},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Transport;

/// How often the files are looked at. A change counts when they have been the same for as long, so
/// that a certificate is not read before its key has followed it.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that lead from it to a root, in this order.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificates in the first file.
    #[error("tls_cert_path: no certificate in {}", .0.display())]
    Chain(PathBuf, #[source] pem::Error),
    /// No private key in the second.
    #[error("tls_key_path: no private key in {}", .0.display())]
    Key(PathBuf, #[source] pem::Error),
    /// They are of different pairs, or of a kind that is not supported.
    #[error("{} and {} do not go together", .files.chain.display(), .files.key.display())]
    Pair {
        /// What was read.
        files: CertificateFiles,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The library cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// A certificate that was read and found to fit its key.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// When one of them cannot be read or they do not fit.
    pub fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let CertificateFiles { chain: chain_file, key: key_file } = files;
        let chain =
            read_chain(chain_file).map_err(|source| TlsError::Chain(chain_file.clone(), source))?;
        let key = PrivateKeyDer::from_pem_file(key_file)
            .map_err(|source| TlsError::Key(key_file.clone(), source))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map(|certified| Self(Arc::new(certified)))
            .map_err(|source| TlsError::Pair { files: files.clone(), source })
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

/// HTTP on TLS. A connection keeps the certificate that it began with.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    served: Arc<Served>,
}

/// The certificate in force, and where the next one will be found.
#[derive(Debug)]
struct Served {
    certificate: ArcSwap<CertifiedKey>,
    files: Mutex<CertificateFiles>,
}

impl Tls {
    /// Serves this certificate, which came from these files.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(
        Certificate(certificate): Certificate,
        files: CertificateFiles,
    ) -> Result<Self, TlsError> {
        let served = Served { certificate: ArcSwap::new(certificate), files: Mutex::new(files) };
        let served = Arc::new(served);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&served) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Clients come back every half hour; a ticket spares them and us most of the handshake.
        config.ticketer = Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), served })
    }

    /// Serves this certificate from the next connection on, and follows these files.
    pub fn replace(&self, certificate: Certificate, files: CertificateFiles) {
        *self.served.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        self.served.certificate.store(certificate.0);
    }

    /// The certificates that a client is shown.
    #[cfg(test)]
    pub(super) fn served_chain(&self) -> Vec<CertificateDer<'static>> {
        self.served.certificate.load().cert.clone()
    }

    fn files(&self) -> CertificateFiles {
        self.served.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on serving the certificate that the files hold, as they change. One that cannot be used
    /// is reported, and the one before stays.
    pub async fn follow_files(&self) {
        let mut watch = Watch::new(self.files());
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let files = self.files();
            if !watch.has_changed(&files) {
                continue;
            }
            match Certificate::load(&files) {
                Ok(certificate) => {
                    self.served.certificate.store(certificate.0);
                    tracing::info!("serving HTTPS with the new {}", files.chain.display());
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::error!("the certificate stays the one before: {error:#}");
                }
            }
        }
    }
}

impl Transport for Tls {
    type Stream = TlsStream<TcpStream>;

    async fn open(&self, tcp: TcpStream) -> io::Result<Self::Stream> {
        self.acceptor.accept(tcp).await
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(self.certificate.load_full())
    }
}

/// Tells when the files have changed and come to rest.
struct Watch {
    files: CertificateFiles,
    /// As they were when the certificate was read last, and as they were a moment ago.
    read: [Stamp; 2],
    last: [Stamp; 2],
}

/// What changes when a file is written or replaced: inode, length, and time of the last change of
/// anything about it, as the time of modification can be set to what it was. `None` where there is no
/// such file.
type Stamp = Option<(u64, u64, [i64; 2])>;

impl Watch {
    fn new(files: CertificateFiles) -> Self {
        let now = stamps(&files);
        Self { files, read: now, last: now }
    }

    /// True once for each change.
    fn has_changed(&mut self, files: &CertificateFiles) -> bool {
        if *files != self.files {
            // Whoever named others has read them.
            *self = Self::new(files.clone());
            return false;
        }
        let now = stamps(files);
        let is_at_rest = now == self.last;
        self.last = now;
        let has_changed = is_at_rest && now != self.read;
        if has_changed {
            self.read = now;
        }
        has_changed
    }
}

fn stamps(files: &CertificateFiles) -> [Stamp; 2] {
    [&files.chain, &files.key].map(|file| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.ino(), metadata.len(), [metadata.ctime(), metadata.ctime_nsec()]))
    })
}
