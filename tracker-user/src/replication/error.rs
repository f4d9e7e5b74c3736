//! Why Redis cannot be used, and what to do about it.

use std::{error::Error as StdError, io, path::PathBuf, sync::Arc};

use redis::{ErrorKind, RedisError};
use rustls::{
    CertificateError,
    pki_types::{InvalidDnsNameError, pem},
};

use crate::config::Broker;

/// What to do about a login that fails.
const LOGIN: &str =
    "give its password as in redis://PASSWORD@HOST:PORT/DATABASE, and none if it has none";

/// What to do about a server that is spoken to in plain, and hangs up or makes no sense.
pub(super) const SECURE: &str = "if it speaks TLS, write rediss:// in place of redis://";

/// What to do about one that is spoken to over TLS, and does not understand.
pub(super) const PLAIN: &str =
    "if it does not speak TLS there, write redis:// in place of rediss://";

/// What to do about one that hangs up over TLS.
pub(super) const REFUSES: &str =
    "see its log: it may want a certificate, by redis_cert_path and redis_key_path";

/// What to do if Redis does not let its user use a command or a key.
const ACCESS: &str = "give its user (ACL) the commands and keys that docs/operations.md names";

/// What Redis says of a command or a key that its user may not use.
const NO_PERMISSION: &str = "NOPERM";

/// What Redis 7.2 and Redis 7.0 say of a command within a script, with the code `ERR`.
const NO_PERMISSION_IN_SCRIPT: [&str; 2] =
    ["ACL failure in script", "The user executing the script can't run this command"];

/// Whether Redis refuses what its user may not do.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    let says = |words: &&str| error.detail().is_some_and(|detail| detail.contains(*words));
    error.code() == Some(NO_PERMISSION) || NO_PERMISSION_IN_SCRIPT.iter().any(says)
}

/// What Redis refuses, or why it cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// What it says, or the way to it.
    #[error("{}", text(.0))]
    Redis(#[from] RedisError),
    /// What it takes to speak TLS.
    #[error(transparent)]
    File(#[from] FileError),
    /// It has said something again and again, and has not come to an end in time.
    #[error("it does not answer in time")]
    Slow,
}

impl LinkError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self, broker: &Broker) -> &'static str {
        let error = match self {
            Self::Redis(error) => error,
            Self::File(_) => return "then start again",
            Self::Slow => return "start it, or name another",
        };
        if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("NOAUTH") {
            return LOGIN;
        }
        if is_forbidden(error) {
            return ACCESS;
        }
        if broker.tls
            && let Some(advice) = advice(error)
        {
            return advice;
        }
        let is_there = !error.is_connection_refusal();
        match (error.kind(), broker.tls) {
            (ErrorKind::Io, true) if error.is_timeout() => PLAIN,
            (ErrorKind::Io, true) if error.is_connection_dropped() && is_there => REFUSES,
            (ErrorKind::Io, false) if error.is_connection_dropped() && is_there => SECURE,
            (ErrorKind::Parse, false) => SECURE,
            (ErrorKind::Io, _) => "start it, or name another",
            _ => "see its configuration",
        }
    }

    /// Whether nothing has come in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_timeout())
    }
}

/// Of many commands that fail together the first is enough.
fn text(error: &RedisError) -> String {
    match error.clone().into_server_errors() {
        Some(errors) if !errors.is_empty() => errors[0].1.to_string(),
        _ if error.is_timeout() => "it does not answer in time".to_owned(),
        _ => error.to_string(),
    }
}

impl From<redis::ParsingError> for LinkError {
    fn from(error: redis::ParsingError) -> Self {
        Self::Redis(error.into())
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is missing, or not ours to read.
    #[error("{key}: cannot read {}: {error}; name a file that the tracker may read", .file.display())]
    Unreadable {
        /// The key that names it.
        key: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No certificates.
    #[error("{key}: no certificate in {}: {error}; give one in PEM", .file.display())]
    Certificate {
        /// The key that names it.
        key: &'static str,
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// Certificates by which nothing can be checked.
    #[error("redis_ca_path: {} holds what is no authority: {error}; give certificates of authorities", .file.display())]
    Authority {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// No private key.
    #[error("redis_key_path: no private key in {}: {error}; give one in PEM", .file.display())]
    Key {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// They are of different pairs, or of a kind that is not supported.
    #[error(
        "redis_key_path: {} does not go with {}: {error}",
        .key.display(), .chain.display()
    )]
    Pair {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: String,
    },
}

/// What to do about what the two sides of a connection do not agree on, or what keeps it from being tried;
/// none where it is something else.
fn advice(error: &RedisError) -> Option<&'static str> {
    let shared = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    let Some(error) = shared.downcast_ref::<io::Error>() else {
        // The `redis` crate reads the system's certificates, even where the tracker does not use them.
        let is_of_system = !shared.is::<InvalidDnsNameError>();
        return is_of_system.then_some("see to the system's certificates, or to SSL_CERT_FILE");
    };
    Some(match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(error) => advice_on_certificate(error),
        rustls::Error::AlertReceived(_) => {
            "give a certificate that it trusts in redis_cert_path, and its key in redis_key_path"
        }
        rustls::Error::InvalidMessage(_) => PLAIN,
        _ => return None,
    })
}

fn advice_on_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "name the authority that signed its certificate in redis_ca_path"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "have redis_broker name it as its certificate does, among the alternative names"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew its certificate, or see to the clocks"
        }
        _ => "give it another certificate: of version 3, for a server, and itself no authority's",
    }
}
