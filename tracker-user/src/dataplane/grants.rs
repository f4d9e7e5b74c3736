//! Grants that hooks leave, in a map that the program looks into.

use std::{
    net::IpAddr,
    sync::{Mutex, OnceLock, PoisonError},
    time::UNIX_EPOCH,
};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};
use tracker_common::abi::{self, name};

use super::Kernel;
use crate::pipeline::{Grant, GrantSink};

/// The most grants that there are at a time: one more takes the place of one that is used little.
pub(super) const GRANTS_MAX: u32 = 64 << 10;

/// Where hooks leave grants, before there is a kernel to show them to and after.
#[derive(Default)]
pub struct Grants {
    map: OnceLock<Mutex<HashMap<MapData, Key, u64>>>,
}

impl Grants {
    /// From now on grants reach the kernel.
    ///
    /// # Errors
    /// When the program's map is not what it should be.
    pub(super) fn connect(&self, kernel: &mut Kernel) -> anyhow::Result<()> {
        let map = kernel.take(name::GRANTS)?;
        // There is one kernel in the life of a process.
        let _ = self.map.set(Mutex::new(map));
        Ok(())
    }
}

impl GrantSink for Grants {
    fn grant(&self, grant: Grant) {
        let Some(map) = self.map.get() else { return };
        let since_epoch = grant.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let end_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = map.insert(Key::of(&grant), end_ns, 0) {
            tracing::debug!("a grant does not reach the kernel: {error}");
        }
    }

    fn revoke_all(&self) {
        let Some(map) = self.map.get() else { return };
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries that the kernel forgets meanwhile are skipped over, so it may take several turns.
        while let Some(Ok(key)) = map.keys().next() {
            match map.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return tracing::error!("grants cannot be taken back: {error}"),
            }
        }
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key(abi::GrantKey);

// SAFETY: bytes.
unsafe impl Pod for Key {}

impl Key {
    fn of(grant: &Grant) -> Self {
        let addr = match grant.address {
            IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
            IpAddr::V6(addr) => addr.octets(),
        };
        Self(abi::GrantKey { addr, info_hash: grant.info_hash.0, _pad: [0; 4] })
    }
}
