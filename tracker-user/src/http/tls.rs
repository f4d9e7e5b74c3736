//! HTTPS: TLS 1.2 and 1.3 below HTTP, with a certificate that can be exchanged at any time.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
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
    certificate::{self, PairError, Validity},
    files::{self, PEM_BYTES_MAX},
    log_limit::Trouble,
    metrics::CertificateExpiry,
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
    Chain(PathBuf, #[source] PemError),
    /// No private key in the second.
    #[error("tls_key_path: no private key in {}", .0.display())]
    Key(PathBuf, #[source] PemError),
    /// They are of different pairs, or of a kind that is not supported.
    #[error(
        "tls_cert_path and tls_key_path: {} and {} cannot be used together",
        .files.chain.display(), .files.key.display()
    )]
    Pair {
        /// What was read.
        files: CertificateFiles,
        /// What is wrong.
        source: PairError,
    },
    /// The library cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Why nothing is read from a file that should be PEM.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is something else that is known.
    #[error("{0}")]
    Form(String),
    /// It has nothing of what was looked for.
    #[error(transparent)]
    Text(pem::Error),
}

/// A certificate that was read and found to fit its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    validity: Validity,
    /// Where it comes from.
    file: PathBuf,
}

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
        let pair = |source| TlsError::Pair { files: files.clone(), source };
        let key = Arc::new(certificate::pair(chain, key).map_err(pair)?);
        let validity = Validity::of(&key.cert).map_err(pair)?;
        Ok(Self { key, validity, file: chain_file.clone() })
    }

    /// What an operator has to be told of it, about `tls_cert_path`: that it has expired, or does soon.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let warning = self.validity.warning(now)?;
        Some(format!("the certificate in {} {warning}", self.file.display()))
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    read_pem(file, holds_key, |text| {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
        if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
    })
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    read_pem(file, holds_certificate, PrivateKeyDer::from_pem_slice)
}

/// What to say of a file that should have a certificate and has a key, and the other way round.
fn holds_key(text: &[u8]) -> Option<&'static str> {
    PrivateKeyDer::from_pem_slice(text).ok().map(|_| "a private key, not a certificate")
}

fn holds_certificate(text: &[u8]) -> Option<&'static str> {
    let first = CertificateDer::pem_slice_iter(text).next();
    first.and_then(Result::ok).map(|_| "a certificate, not a private key")
}

fn read_pem<T>(
    file: &Path,
    holds_other: fn(&[u8]) -> Option<&'static str>,
    read: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, PemError> {
    let text = files::read(file, PEM_BYTES_MAX)?;
    // A byte order mark would hide the first line.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    read(text).map_err(|error| {
        let name = file.display();
        let swapped = holds_other(text).map(|other| {
            format!("{name} holds {other}; are tls_cert_path and tls_key_path swapped?")
        });
        let advice = swapped.or_else(|| certificate::pem_advice(text, &name.to_string()));
        advice.map_or(PemError::Text(error), PemError::Form)
    })
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
    expiry: CertificateExpiry,
}

impl Served {
    /// Serves this certificate from now on.
    fn serve(&self, certificate: Certificate) {
        self.expiry.set(certificate.validity.not_after);
        self.certificate.store(certificate.key);
    }
}

impl Tls {
    /// Serves this certificate, which came from these files, and shows when it expires.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(
        certificate: Certificate,
        files: CertificateFiles,
        expiry: CertificateExpiry,
    ) -> Result<Self, TlsError> {
        expiry.set(certificate.validity.not_after);
        let certificate = ArcSwap::new(certificate.key);
        let served = Arc::new(Served { certificate, files: Mutex::new(files), expiry });
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
        self.served.serve(certificate);
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
                    if self.served.certificate.load().cert != certificate.key.cert || is_over {
                        tracing::info!("serving HTTPS with the new {}", files.chain.display());
                        if let Some(warning) = certificate.warning(SystemTime::now()) {
                            tracing::warn!("http.tls_cert_path: {warning}");
                        }
                    }
                    self.served.serve(certificate);
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
