//! JSON web tokens (RFC 7519) in the compact form (RFC 7515).

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use tracker_common::id::InfoHash;

use super::keys::KeySet;

/// How far an issuer's clock may be ahead of ours, so that its new tokens are good at once.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// What a token has to say.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// Not a token.
    Malformed,
    /// By a key that is not in the set.
    Key,
    /// Signed by none of the keys of that id, or in another way than they sign.
    Signature,
    Issuer,
    Audience,
    InfoHash,
    Expired,
    NotYetValid,
}

impl TokenError {
    /// As a metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Key => "unknown key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::InfoHash => "infohash",
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood, and are not.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    infohash: Option<String>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
}

/// What is there counts, even if it is `null`: that is no time.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn includes(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// When the token ends, if it is good at `now` for announces of this torrent; `None` if it does not
/// say.
///
/// # Errors
/// Why it is not good. The signature is looked at first: of a token by somebody else nothing is
/// said.
pub(super) fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected,
    info_hash: &InfoHash,
    now: SystemTime,
) -> Result<Option<SystemTime>, TokenError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = decode(header)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    let keys = keys.of(&header.kid);
    if keys.is_empty() {
        return Err(TokenError::Key);
    }
    if !keys.iter().any(|key| key.verifies(&header.alg, signed.as_bytes(), &signature)) {
        return Err(TokenError::Signature);
    }
    judge(&decode(claims)?, expected, info_hash, now)
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

fn judge(
    claims: &Claims,
    expected: &Expected,
    info_hash: &InfoHash,
    now: SystemTime,
) -> Result<Option<SystemTime>, TokenError> {
    if claims.iss.as_ref() != Some(&expected.issuer) {
        return Err(TokenError::Issuer);
    }
    if !claims.aud.as_ref().is_some_and(|audience| audience.includes(&expected.audience)) {
        return Err(TokenError::Audience);
    }
    if !claims.infohash.as_ref().is_some_and(|claim| names(claim, info_hash)) {
        return Err(TokenError::InfoHash);
    }
    let expires_at = claims.exp.map(time).transpose()?;
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(TokenError::Expired);
    }
    let valid_from = claims.nbf.map(time).transpose()?;
    if valid_from.is_some_and(|valid_from| valid_from > now + AHEAD_MAX) {
        return Err(TokenError::NotYetValid);
    }
    Ok(expires_at)
}

/// Whether the claim is the info-hash: in hexadecimal digits, as Chihaya's later versions want it, or as it is
/// or escaped as in a query, as its first ones did.
fn names(claim: &str, info_hash: &InfoHash) -> bool {
    if claim == info_hash.to_string() || claim.as_bytes() == info_hash.0 {
        return true;
    }
    let claim = claim.replace('+', " ");
    percent_decode_str(&claim).eq(info_hash.0)
}

/// A time in seconds since 1970, with fractions perhaps.
fn time(seconds: f64) -> Result<SystemTime, TokenError> {
    let since_1970 = Duration::try_from_secs_f64(seconds).ok();
    since_1970
        .and_then(|duration| SystemTime::UNIX_EPOCH.checked_add(duration))
        .ok_or(TokenError::Malformed)
}
