//! Keys: drawn at random, or derived so that they outlive a restart.

use anyhow::Context as _;
use sha2::{Digest, Sha256};
use tracker_common::hash::{SipKey, TableKey};

use crate::config::Secret;

/// Keeps keys for different purposes apart, even if they are derived from one secret.
const CONNECTION_ID_PURPOSE: &[u8] = b"xdp-tracker connection id";

/// The key of connection ids: always the same for the same secret, else a random one.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn connection_id_key(secret: Option<&Secret>) -> anyhow::Result<SipKey> {
    let Some(secret) = secret.map(Secret::reveal).filter(|secret| !secret.is_empty()) else {
        tracing::info!("udp.private_key is not set: connection ids end with this process");
        let [k0, k1] = random_words()?;
        return Ok(SipKey { k0, k1 });
    };
    let digest = Sha256::new().chain_update(CONNECTION_ID_PURPOSE).chain_update(secret).finalize();
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| digest[at + i]));
    Ok(SipKey { k0: word(0), k1: word(8) })
}

/// The secret of a new table.
///
/// # Errors
/// As for [`connection_id_key`].
pub(super) fn table_key() -> anyhow::Result<TableKey> {
    Ok(TableKey(random_words()?))
}

fn random_words<const N: usize>() -> anyhow::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = getrandom::u64().context("the system has no randomness to draw keys from")?;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> (u64, u64) {
        let secret = serde_yaml::from_str(secret).unwrap();
        let key = connection_id_key(Some(&secret)).unwrap();
        (key.k0, key.k1)
    }

    #[test]
    fn a_secret_always_gives_the_same_key() {
        assert_eq!(key("one secret"), key("one secret"));
        assert_ne!(key("one secret"), key("another"));
    }

    #[test]
    fn without_a_secret_keys_are_random() {
        assert_ne!(key("''"), key("''"));
    }
}
