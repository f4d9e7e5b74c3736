//! Of which kind a key is.

use std::fmt;

use rustls::pki_types::PrivateKeyDer;
use x509_parser::{
    asn1_rs::{Any, FromDer as _, Oid},
    public_key::PublicKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

/// The kind of a public or private key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, with so many bits.
    Rsa(usize),
    /// Another one, or a curve, by name.
    Named(&'static str),
    /// One whose name is not known here, by its object identifier.
    Other(String),
    /// It cannot be told.
    #[default]
    Unknown,
}

impl KeyKind {
    /// Whether the library that signs has such keys.
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Rsa(bits) => (2048..=4096).contains(bits),
            Self::Named(name) => matches!(*name, "P-256" | "P-384" | "Ed25519"),
            Self::Other(_) | Self::Unknown => false,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "one of RSA with {bits} bits"),
            Self::Named(name) => write!(f, "one of {name}"),
            Self::Other(oid) => write!(f, "one of the kind {oid}"),
            Self::Unknown => f.write_str("one of an unknown kind"),
        }
    }
}

/// The kind of a certificate's key.
pub(super) fn of_public(key: &SubjectPublicKeyInfo) -> KeyKind {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => KeyKind::Rsa(rsa.key_size()),
        _ => of_algorithm(&key.algorithm),
    }
}

/// The kind of a private key; `None` if it is none.
pub(super) fn of_private(key: &PrivateKeyDer) -> Option<KeyKind> {
    match key {
        PrivateKeyDer::Pkcs1(key) => of_pkcs1(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => of_sec1(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => of_pkcs8(key.secret_pkcs8_der()),
        _ => None,
    }
}

/// RSAPrivateKey (RFC 8017): version, modulus, and so on.
fn of_pkcs1(der: &[u8]) -> Option<KeyKind> {
    let (sequence, _) = cut(der)?;
    let (_version, rest) = cut(sequence.data)?;
    let (modulus, _) = cut(rest)?;
    let zeros = modulus.data.iter().take_while(|byte| **byte == 0).count();
    Some(KeyKind::Rsa(8 * (modulus.data.len() - zeros)))
}

/// ECPrivateKey (RFC 5915): version, the key, and the curve, which may be left out.
fn of_sec1(der: &[u8]) -> Option<KeyKind> {
    let (sequence, _) = cut(der)?;
    let (_version, rest) = cut(sequence.data)?;
    let (_key, rest) = cut(rest)?;
    let curve = cut(rest).and_then(|(parameters, _)| Oid::from_der(parameters.data).ok());
    Some(curve.map_or(KeyKind::Named("an elliptic curve"), |(_, curve)| of_oid(&curve)))
}

/// PrivateKeyInfo (RFC 5208): version, algorithm, and the key in a form of its own.
fn of_pkcs8(der: &[u8]) -> Option<KeyKind> {
    let (sequence, _) = cut(der)?;
    let (_version, rest) = cut(sequence.data)?;
    let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    let (key, _) = cut(rest)?;
    if algorithm.algorithm.to_id_string() == RSA {
        return of_pkcs1(key.data);
    }
    Some(of_algorithm(&algorithm))
}

/// Cuts the value at the front off.
fn cut(der: &[u8]) -> Option<(Any<'_>, &[u8])> {
    Any::from_der(der).ok().map(|(rest, value)| (value, rest))
}

fn of_algorithm(algorithm: &AlgorithmIdentifier) -> KeyKind {
    if algorithm.algorithm.to_id_string() != ELLIPTIC_CURVE {
        return of_oid(&algorithm.algorithm);
    }
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    curve.map_or(KeyKind::Named("an elliptic curve"), |curve| of_oid(&curve))
}

const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC_CURVE: &str = "1.2.840.10045.2.1";

fn of_oid(oid: &Oid) -> KeyKind {
    let oid = oid.to_id_string();
    KeyKind::Named(match oid.as_str() {
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        RSA => "RSA",
        _ => return KeyKind::Other(oid),
    })
}
