//! Redis over TLS: whom we trust, and how we show who we are.

use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::error::{FileError, LinkError};
use crate::{
    certificate,
    config::RedisConfig,
    files::{self, PEM_BYTES_MAX},
};

/// The files of the configuration, in PEM. They are read for each connection, so that the next one has the
/// certificate that was renewed.
pub(super) struct Files {
    authorities: Option<PathBuf>,
    client: Option<ClientFiles>,
}

struct ClientFiles {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Those that are named; none where TLS is not spoken.
    pub(super) fn of(config: &RedisConfig) -> Option<Self> {
        config.broker().ok().filter(|broker| broker.tls)?;
        let (chain, key) = (config.redis_cert_path.clone(), config.redis_key_path.clone());
        Some(Self {
            authorities: config.redis_ca_path.clone(),
            client: chain.zip(key).map(|(chain, key)| ClientFiles { chain, key }),
        })
    }

    /// Who connects by this, with what the files hold now.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, LinkError> {
        // The `redis` crate takes what the process has, and rustls would panic if it had to choose between
        // several. One that is there already is as good.
        let _ = ring::default_provider().install_default();
        Ok(Client::build_with_tls(info, self.read()?)?)
    }

    /// What they hold, which is found to be of use: the `redis` crate does not say what is wrong with which.
    pub(super) fn read(&self) -> Result<TlsCertificates, FileError> {
        Ok(TlsCertificates {
            client_tls: self.client.as_ref().map(ClientFiles::read).transpose()?,
            root_cert: self.authorities.as_deref().map(read_authorities).transpose()?,
        })
    }
}

impl ClientFiles {
    fn read(&self) -> Result<ClientTlsConfig, FileError> {
        let (client_cert, chain) = read_certificates("redis_cert_path", &self.chain)?;
        let client_key = read("redis_key_path", &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&client_key)
            .map_err(|error| FileError::Key { file: self.key.clone(), error })?;
        let pair =
            CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider());
        pair.map_err(|refused| FileError::Pair {
            chain: self.chain.clone(),
            key: self.key.clone(),
            error: match certificate::pair(chain, key) {
                Err(error) => error.to_string(),
                // What a server may show, and a client may not.
                Ok(_) => format!("{refused}; give a certificate of X.509 version 3"),
            },
        })?;
        Ok(ClientTlsConfig { client_cert, client_key })
    }
}

fn read_authorities(file: &Path) -> Result<Vec<u8>, FileError> {
    let (text, certificates) = read_certificates("redis_ca_path", file)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| FileError::Authority { file: file.to_owned(), error })?;
    }
    Ok(text)
}

/// The file as it is, and its certificates.
fn read_certificates(
    key: &'static str,
    file: &Path,
) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), FileError> {
    let text = read(key, file)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.and_then(|certificates| match certificates.len() {
        0 => Err(pem::Error::NoItemsFound),
        _ => Ok(certificates),
    });
    match certificates {
        Ok(certificates) => Ok((text, certificates)),
        Err(error) => Err(FileError::Certificate { key, file: file.to_owned(), error }),
    }
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, FileError> {
    files::read(file, PEM_BYTES_MAX).map_err(|error| FileError::Unreadable {
        key,
        file: file.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::certificate::tests::SAMPLES;

    /// A folder with an authority that is its own, and its key.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("chain"), pair.cert.pem()).unwrap();
        fs::write(folder.path().join("key"), pair.signing_key.serialize_pem()).unwrap();
        folder
    }

    fn files(broker: &str, [authorities, chain, key]: [PathBuf; 3]) -> Option<Files> {
        Files::of(&RedisConfig {
            redis_broker: Some(serde_json::from_value(broker.into()).unwrap()),
            redis_ca_path: Some(authorities),
            redis_cert_path: Some(chain),
            redis_key_path: Some(key),
            ..RedisConfig::default()
        })
    }

    #[track_caller]
    fn assert_fails(names: [PathBuf; 3], expected: &str) {
        let error = files("rediss://h", names).unwrap().read().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn files_are_read_where_tls_is_spoken_and_each_time() {
        let folder = folder();
        let name = |name: &str| folder.path().join(name);
        let names = || [name("chain"), name("chain"), name("key")];
        assert!(files("redis://h", names()).is_none());
        let files = files("rediss://h", names()).unwrap();
        let certificates = files.read().unwrap();
        assert_eq!(certificates.root_cert.unwrap(), fs::read(name("chain")).unwrap());
        assert_eq!(certificates.client_tls.unwrap().client_key, fs::read(name("key")).unwrap());
        fs::remove_file(name("key")).unwrap();
        files.read().unwrap_err();
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_key() {
        let (ours, others) = (folder(), folder());
        let name = |name: &str| ours.path().join(name);
        let (chain, key, missing) = (name("chain"), name("key"), name("missing"));
        let damaged = name("damaged");
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(&damaged, text).unwrap();
        let shown = |path: &Path| path.display().to_string();

        let expected = format!("redis_ca_path: cannot read {}: ", shown(&missing));
        assert_fails([missing.clone(), chain.clone(), key.clone()], &expected);
        let expected = format!("redis_ca_path: no certificate in {}: ", shown(&key));
        assert_fails([key.clone(), chain.clone(), key.clone()], &expected);
        let expected = format!("redis_ca_path: {} holds what is no authority: ", shown(&damaged));
        assert_fails([damaged, chain.clone(), key.clone()], &expected);
        let expected = format!("redis_cert_path: no certificate in {}: ", shown(&key));
        assert_fails([chain.clone(), key.clone(), key.clone()], &expected);
        let expected = format!("redis_key_path: cannot read {}: ", shown(&missing));
        assert_fails([chain.clone(), chain.clone(), missing], &expected);
        let expected = format!("redis_key_path: no private key in {}: ", shown(&chain));
        assert_fails([chain.clone(), chain.clone(), chain.clone()], &expected);
        let other = others.path().join("key");
        let expected = format!("redis_key_path: {} does not go with ", shown(&other));
        assert_fails([chain.clone(), chain.clone(), other], &expected);
        let sample = |name: &str| Path::new(SAMPLES).join(name);
        for (name, expected) in [
            ("p521", "the key is one of P-521, which cannot be used;"),
            ("v1", "invalid peer certificate: "),
        ] {
            let [certificate, key] = ["pem", "key"].map(|end| sample(&format!("{name}.{end}")));
            let pair = format!("{} does not go with {}", shown(&key), shown(&certificate));
            assert_fails(
                [chain.clone(), certificate, key],
                &format!("redis_key_path: {pair}: {expected}"),
            );
        }
    }
}
