//! HTTPS: TLS 1.2 and 1.3 below HTTP, with a certificate that can be exchanged at any time.

use std::{
    io,
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
use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Transport;
use crate::{
    files::{self, PEM_BYTES_MAX},
    log_limit::Trouble,
    watch::{Watch, look_at},
};

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

/// What the files look like.
type Look = [Option<u64>; 2];

async fn look(files: &CertificateFiles) -> Look {
    let look = |files: &CertificateFiles| [&files.chain, &files.key].map(|file| look_at(file));
    aside(files, look).await.unwrap_or_default()
}

/// Does what may have to wait for a disk, where no connection waits for it.
async fn aside<T: Send + 'static>(
    files: &CertificateFiles,
    work: impl FnOnce(&CertificateFiles) -> T + Send + 'static,
) -> Option<T> {
    let files = files.clone();
    spawn_blocking(move || work(&files)).await.ok()
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
        let key = read_key(key_file).map_err(|source| TlsError::Key(key_file.clone(), source))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map(|certified| Self(Arc::new(certified)))
            .map_err(|source| TlsError::Pair { files: files.clone(), source })
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let text = files::read(file, PEM_BYTES_MAX).map_err(pem::Error::Io)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, pem::Error> {
    PrivateKeyDer::from_pem_slice(&files::read(file, PEM_BYTES_MAX).map_err(pem::Error::Io)?)
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
        let mut followed = self.files();
        let mut watch = Self::watch(&followed).await;
        let mut trouble = Trouble::default();
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let files = self.files();
            if files != followed {
                watch = Self::watch(&files).await;
                followed = files;
                continue;
            }
            if !watch.is_due(look(&files).await) {
                continue;
            }
            let Some(loaded) = aside(&files, Certificate::load).await else { continue };
            watch.settle(loaded.is_ok());
            match loaded {
                // A reload meanwhile knows better.
                Ok(_) if self.files() != files => {}
                Ok(certificate) => {
                    let is_over = trouble.is_over();
                    if self.served.certificate.load().cert != certificate.0.cert || is_over {
                        tracing::info!("serving HTTPS with the new {}", files.chain.display());
                    }
                    self.served.certificate.store(certificate.0);
                }
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::new(error));
                    if trouble.goes_on(&error) {
                        tracing::error!(
                            "the certificate stays the one before, and its files are tried again: {error}"
                        );
                    }
                }
            }
        }
    }

    /// Of files that were read some time before: once more will do no harm.
    async fn watch(files: &CertificateFiles) -> Watch<Look> {
        let mut watch = Watch::new(look(files).await);
        watch.settle(false);
        watch
    }
}

impl Transport for Tls {
    const SAYS_GOODBYE: bool = true;

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
