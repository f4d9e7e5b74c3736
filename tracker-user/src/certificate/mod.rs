//! What stands in certificates (X.509) and private keys, so that a message can say what is wrong with them.

mod kind;

use std::time::SystemTime;

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer as _, time::ASN1Time, x509::SubjectPublicKeyInfo,
};

pub use kind::KeyKind;

/// A certificate that expires within so many seconds is warned of.
const WARNED_S: i64 = 14 * DAY_S;

const DAY_S: i64 = 24 * 60 * 60;

/// Why a certificate and its key cannot be used, which has nothing to do with the files they come from.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The first certificate cannot be read.
    #[error("the certificate is damaged: {0}")]
    Certificate(String),
    /// The library that signs has no such keys.
    #[error(
        "the key is {0}, which cannot be used; make a key of P-256, P-384, Ed25519, or RSA with 2048 to 4096 \
         bits, and a certificate for it"
    )]
    Kind(KeyKind),
    /// The key is of a kind that can be used, and still it cannot.
    #[error(
        "the key is {0}, but damaged or in a form that is not understood; `openssl pkey -in KEY -out NEW` may \
         write it anew"
    )]
    Form(KeyKind),
    /// Nothing that is known as a key.
    #[error("the key is damaged, or of a kind that is not known")]
    Unknown,
    /// They are of different pairs.
    #[error("the key is {key}, and the certificate is for another one, {certificate}")]
    Mismatch {
        /// The key's kind.
        key: KeyKind,
        /// The kind of the key that the certificate is for.
        certificate: KeyKind,
    },
}

/// A certificate with those that lead from it to a root, and its key. Any version of X.509 will do: it is the
/// client that may want another.
///
/// # Errors
/// When the key cannot be used, or is none of the first certificate.
pub(crate) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, PairError> {
    let kind = kind::of_private(&key);
    let provider = ring::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| match &kind {
        Some(kind) if kind.is_usable() => PairError::Form(kind.clone()),
        Some(kind) => PairError::Kind(kind.clone()),
        None => PairError::Unknown,
    })?;
    let certificate = read(chain.first())?;
    let certified = certificate.public_key();
    // The key alone: an identifier of its algorithm may be written in several ways.
    let is_own = key.public_key().is_none_or(|own| match SubjectPublicKeyInfo::from_der(&own) {
        Ok((_, own)) => own.subject_public_key.data == certified.subject_public_key.data,
        Err(_) => false,
    });
    if !is_own {
        let certificate = kind::of_public(certified);
        return Err(PairError::Mismatch { key: kind.unwrap_or_default(), certificate });
    }
    Ok(CertifiedKey::new(chain, key))
}

/// When a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    /// That of the first certificate of a chain: clients may leave out others that have expired.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(chain: &[CertificateDer]) -> Result<Self, PairError> {
        let certificate = read(chain.first())?;
        let validity = certificate.validity();
        Ok(Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// What an operator has to be told of it, if anything: "has expired", "expires in", "is not valid before".
    pub(crate) fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let left = self.not_after.saturating_sub_unsigned(now);
        let date = |seconds| {
            ASN1Time::from_timestamp(seconds).map_or(String::new(), |time| time.to_string())
        };
        if self.not_before.saturating_sub_unsigned(now) > 0 {
            return Some(format!(
                "is not valid before {}: see to the clock",
                date(self.not_before)
            ));
        }
        match left {
            ..0 => Some(format!("has expired on {}: renew it", date(self.not_after))),
            0..WARNED_S => {
                let days = left / DAY_S;
                Some(format!("expires in {days} days, on {}: renew it", date(self.not_after)))
            }
            _ => None,
        }
    }
}

fn read<'c>(certificate: Option<&'c CertificateDer>) -> Result<X509Certificate<'c>, PairError> {
    let damaged = |why: String| PairError::Certificate(why);
    let der = certificate.ok_or_else(|| damaged("there is none".to_owned()))?;
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| damaged(error.to_string()))?;
    Ok(certificate)
}

/// Why a text that should be PEM has nothing of use, where it shows; the file has this name.
pub(crate) fn pem_advice(text: &[u8], file: &str) -> Option<String> {
    let contains = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    if contains(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || contains(b"Proc-Type: 4,ENCRYPTED") {
        return Some(format!(
            "it is encrypted, and the tracker has no passphrase; decrypt it: openssl pkey -in {file} -out NEW"
        ));
    }
    // The first bytes of what is longer than 127.
    if matches!(text, [0x30, 0x81..=0x83, ..]) {
        return Some("it is DER, not PEM; convert it by openssl, -inform DER".to_owned());
    }
    text.is_empty().then(|| "it is empty".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// Certificates and keys that openssl made, for these tests: self-signed, and good for a hundred years.
    pub(crate) const SAMPLES: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/certificate/samples");

    fn sample(certificate: &str, key: &str) -> Result<CertifiedKey, String> {
        let chain = CertificateDer::from_pem_file(format!("{SAMPLES}/{certificate}.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(format!("{SAMPLES}/{key}.key")).unwrap();
        pair(vec![chain], key).map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_of_version_1_goes_with_its_key() {
        let certified = sample("v1", "v1").unwrap();
        assert_eq!(read(certified.cert.first()).unwrap().version().0, 0);
    }

    #[test]
    fn a_kind_of_key_that_cannot_be_used_is_named() {
        for (name, kind) in [
            ("p521", "one of P-521"),
            ("secp256k1", "one of secp256k1"),
            ("rsa1024", "one of RSA with 1024 bits"),
            ("ed448", "one of Ed448"),
        ] {
            let error = sample(name, name).unwrap_err();
            assert!(
                error.starts_with(&format!("the key is {kind}, which cannot be used;")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_certificate_for_another_key_says_for_which() {
        assert_eq!(
            sample("p521", "v1").unwrap_err(),
            "the key is one of P-256, and the certificate is for another one, one of P-521"
        );
    }

    #[test]
    fn a_key_that_is_damaged_is_not_taken_for_a_kind_that_cannot_be_used() {
        let key = PrivateKeyDer::from_pem_file(format!("{SAMPLES}/v1.key")).unwrap();
        let PrivateKeyDer::Sec1(sec1) = &key else { panic!("{key:?}") };
        let mut der = sec1.secret_sec1_der().to_vec();
        // The public key at the end is no longer that of the private one.
        *der.last_mut().unwrap() ^= 1;
        let error = pair(Vec::new(), PrivateKeyDer::Sec1(der.into())).unwrap_err().to_string();
        assert!(error.starts_with("the key is one of P-256, but damaged"), "{error}");
        let nothing = pair(Vec::new(), PrivateKeyDer::Pkcs8(vec![1, 2, 3].into())).unwrap_err();
        assert!(matches!(nothing, PairError::Unknown));
        assert!(matches!(pair(Vec::new(), key).unwrap_err(), PairError::Certificate(_)));
    }

    #[test]
    fn a_certificate_is_warned_of_from_two_weeks_before_it_expires() {
        let validity = Validity { not_before: 1_700_000_000, not_after: 1_800_000_000 };
        let warning = |now| validity.warning(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        assert_eq!(
            warning(1_699_999_999).unwrap(),
            "is not valid before Nov 14 22:13:20 2023 +00:00: see to the clock"
        );
        assert_eq!(warning(1_700_000_000), None);
        assert_eq!(warning(1_800_000_000 - 14 * 86_400), None);
        assert_eq!(
            warning(1_800_000_001 - 14 * 86_400).unwrap(),
            "expires in 13 days, on Jan 15 08:00:00 2027 +00:00: renew it"
        );
        assert_eq!(
            warning(1_800_000_001).unwrap(),
            "has expired on Jan 15 08:00:00 2027 +00:00: renew it"
        );
    }
}
