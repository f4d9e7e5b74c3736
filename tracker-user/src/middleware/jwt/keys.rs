//! The keys that tokens are signed with: JWK sets (RFC 7517 and 8037) and their algorithms (RFC 7518).

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of one id. Issuers list one key for each of its algorithms, so there are few.
const KEYS_PER_ID_MAX: usize = 32;

/// What an issuer signs with, by the id that tokens name. Several keys may have one id (RFC 7517, 4.5): those of
/// different algorithms, or of different kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeySet(HashMap<String, Vec<Key>>);

/// The set has no key that a token can be verified with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a set at all.
    #[error("it is no JWK set: it has no list `keys`")]
    NoSet,
    /// None of those in it can be used.
    #[error("none of its {0} keys can be used: RSA (2048 bits or more), P-256, P-384 or Ed25519")]
    NoKey(usize),
}

impl KeySet {
    /// The keys of a JWK set. Those of other kinds, those that are not for signatures, and those beyond
    /// [`KEYS_PER_ID_MAX`] of their id are left out.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn read(set: &Value) -> Result<Self, KeySetError> {
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoSet)?;
        let read = listed.iter().filter_map(|key| {
            let jwk = Jwk::deserialize(key).ok().filter(Jwk::is_for_signatures)?;
            Some((jwk.kid.clone(), Key::read(jwk)?))
        });
        let mut keys = HashMap::<_, Vec<_>>::new();
        for (id, key) in read {
            let of_id = keys.entry(id).or_default();
            if of_id.len() < KEYS_PER_ID_MAX && !of_id.contains(&key) {
                of_id.push(key);
            }
        }
        if keys.is_empty() { Err(KeySetError::NoKey(listed.len())) } else { Ok(Self(keys)) }
    }

    /// Whether tokens by any key of `other` are still good.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(id, keys)| keys.iter().all(|key| self.of(id).contains(key)))
    }

    /// The keys of this id.
    pub(super) fn of(&self, id: &str) -> &[Key] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }
}

/// A key as it stands in a set.
#[derive(Deserialize)]
struct Jwk {
    #[serde(default)]
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn is_for_signatures(&self) -> bool {
        self.usage.as_deref().is_none_or(|usage| usage == "sig")
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// If given, the only algorithm to use it with.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let number = |text: &Option<String>| {
            let bytes = bytes(text)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let point = |size: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            // The form of SEC 1 that is not compressed.
            (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa {
                n: number(&jwk.n).filter(|n| n.len() >= RSA_BYTES_MIN)?,
                e: number(&jwk.e)?,
            },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self { algorithm: jwk.alg, material })
    }

    /// Whether this key has signed `message`. The algorithm is the one that the token names; one that
    /// does not go with the key verifies nothing.
    pub(super) fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm) {
            return false;
        }
        let rsa = |n: &[u8], e: &[u8], parameters: &RsaParameters| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        let other = |point: &[u8], algorithm: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, "RS256") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { n, e }, "RS384") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { n, e }, "RS512") => rsa(n, e, &signature::RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa { n, e }, "PS256") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA256),
            (Material::Rsa { n, e }, "PS384") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA384),
            (Material::Rsa { n, e }, "PS512") => rsa(n, e, &signature::RSA_PSS_2048_8192_SHA512),
            (Material::P256(point), "ES256") => other(point, &signature::ECDSA_P256_SHA256_FIXED),
            (Material::P384(point), "ES384") => other(point, &signature::ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(key), "EdDSA" | "Ed25519") => other(key, &signature::ED25519),
            _ => false,
        }
    }
}

/// 2048 bits.
const RSA_BYTES_MIN: usize = 256;
