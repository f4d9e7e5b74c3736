//! Grants that hooks leave, in a map that the program looks into.
//!
//! Each grant belongs to a generation, and the program goes by those of the generation in force. So all
//! grants are taken back by one store into memory that the program reads too. It cannot fail, and it
//! takes no longer for many grants than for one. Grants of generations before stay in the map until
//! others take their places.

use std::{
    io,
    net::IpAddr,
    os::fd::AsFd,
    ptr::NonNull,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData},
};
use tracker_common::abi::{self, name};

use crate::{
    pipeline::{Grant, GrantSink},
    storage::memory::Region,
};

/// The most grants that there are at a time: one more takes the place of one that is used little.
pub(super) const GRANTS_MAX: u32 = 64 << 10;

/// Where hooks leave grants, before there is a kernel to show them to and after.
#[derive(Default)]
pub struct Grants {
    shared: OnceLock<Shared>,
}

/// What the program sees.
struct Shared {
    map: Mutex<HashMap<MapData, Key, Value>>,
    generation: Generation,
}

impl Grants {
    /// From now on grants reach the kernel, and the program goes by no grant that was made before.
    ///
    /// # Errors
    /// When the program's maps are not what they should be, or the system has no randomness.
    pub fn connect(&self, ebpf: &Ebpf) -> anyhow::Result<()> {
        let Some(Map::LruHashMap(map)) = ebpf.map(name::GRANTS) else {
            bail!("the XDP program has no map {}", name::GRANTS);
        };
        let map = MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?)?;
        let map = HashMap::try_from(Map::LruHashMap(map)).context(name::GRANTS)?;
        let generation = Generation::begin(ebpf).context(name::GENERATION)?;
        // There is one kernel in the life of a process.
        let _ = self.shared.set(Shared { map: Mutex::new(map), generation });
        Ok(())
    }
}

impl GrantSink for Grants {
    fn grant(&self, grant: Grant) {
        let Some(Shared { map, generation }) = self.shared.get() else { return };
        // Grants that are taken back from here on include this one.
        let generation = generation.in_force();
        let since_epoch = grant.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let end_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = map.insert(Key::of(&grant), Value::new(end_ns, generation), 0) {
            tracing::debug!("a grant does not reach the kernel: {error}");
        }
    }

    fn revoke_all(&self) {
        if let Some(Shared { generation, .. }) = self.shared.get() {
            generation.next();
        }
    }
}

/// The generation in force, in a page that the program reads.
struct Generation(Region);

impl Generation {
    /// Begins at a random number, so that this daemon's generations are none of a daemon before.
    fn begin(ebpf: &Ebpf) -> anyhow::Result<Self> {
        let Some(Map::Array(map)) = ebpf.map(name::GENERATION) else {
            bail!("the XDP program has no such map");
        };
        let page = Region::map(1, size_of::<u64>(), Some(map.fd().as_fd()))?;
        let generation = Self(page);
        let first = getrandom::u64().map_err(io::Error::from)?;
        generation.word().store(first.max(1), Ordering::SeqCst);
        Ok(generation)
    }

    fn in_force(&self) -> u64 {
        self.word().load(Ordering::SeqCst)
    }

    fn next(&self) {
        self.word().fetch_add(1, Ordering::SeqCst);
    }

    fn word(&self) -> &AtomicU64 {
        // The region has one item.
        let word = self.0.item::<{ size_of::<u64>() }>(0).map(NonNull::cast::<AtomicU64>);
        let word = word.expect("a page holds a word");
        // SAFETY: the page is mapped for as long as `self` lives, begins at a page's boundary, and is
        // written by this process alone, by atomics.
        unsafe { word.as_ref() }
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

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value(abi::Grant);

// SAFETY: two integers without padding.
unsafe impl Pod for Value {}

impl Value {
    const fn new(end_ns: u64, generation: u64) -> Self {
        Self(abi::Grant { end_ns, generation })
    }
}
