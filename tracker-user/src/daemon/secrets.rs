//! Keys: drawn at random, or derived so that they outlive a restart.

use anyhow::Context as _;
use sha2::{Digest, Sha256};
use tracker_common::{
    connection::ConnectionIds,
    hash::{SipKey, TableKey},
};

use crate::config::{Secret, UdpConfig};

/// Keeps keys for different purposes apart, even if they are derived from one secret.
const CONNECTION_ID_PURPOSE: &[u8] = b"xdp-tracker connection id";

/// Makes connection ids of the configuration's secret, or of one drawn for this process.
pub(super) struct ConnectionKey {
    random: SipKey,
}

impl ConnectionKey {
    /// Draws the key that counts where the configuration has none, now and after a reload.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn new() -> anyhow::Result<Self> {
        let [k0, k1] = random_words()?;
        Ok(Self::inherited(SipKey { k0, k1 }))
    }

    /// Goes on with the key of a process before.
    pub(super) const fn inherited(key: SipKey) -> Self {
        Self { random: key }
    }

    /// Always the same ids for the same secret.
    pub(super) fn ids(&self, udp: &UdpConfig) -> ConnectionIds {
        let key = udp.private_key.as_ref().map_or(self.random, derive);
        let [lifetime_s, skew_s] =
            [udp.connection_id_lifetime, udp.max_clock_skew].map(|duration| duration.as_secs());
        ConnectionIds::new(key, lifetime_s, skew_s)
    }
}

fn derive(secret: &Secret) -> SipKey {
    let digest =
        Sha256::new().chain_update(CONNECTION_ID_PURPOSE).chain_update(secret.reveal()).finalize();
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| digest[at + i]));
    SipKey { k0: word(0), k1: word(8) }
}

/// The secret of a new table.
///
/// # Errors
/// When the system has no randomness.
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
    use tracker_common::family::V4;

    /// An id of the same client at the same time, under a configuration with this key.
    fn id(key: &ConnectionKey, secret: &str) -> [u8; 8] {
        let udp = serde_yaml::from_str(&format!("private_key: {secret}")).unwrap();
        key.ids(&udp).issue::<V4>(&[192, 0, 2, 1], 0)
    }

    #[test]
    fn a_secret_always_gives_the_same_ids() {
        let (one, other) = (ConnectionKey::new().unwrap(), ConnectionKey::new().unwrap());
        assert_eq!(id(&one, "one secret"), id(&other, "one secret"));
        assert_ne!(id(&one, "one secret"), id(&one, "another"));
    }

    #[test]
    fn without_a_secret_a_process_has_its_own_ids_and_keeps_them() {
        let (one, other) = (ConnectionKey::new().unwrap(), ConnectionKey::new().unwrap());
        assert_eq!(id(&one, "null"), id(&one, "null"));
        assert_ne!(id(&one, "null"), id(&other, "null"));
    }
}
