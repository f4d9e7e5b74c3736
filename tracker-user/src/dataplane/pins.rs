//! What outlives the daemon: maps and links pinned to a BPF file system.
//!
//! ```text
//! /sys/fs/bpf/xdp-tracker/v3/TORRENTS_V4 …  the maps, of this version of the ABI
//! /sys/fs/bpf/xdp-tracker/links/native-2 …  the links: mode, and index of the interface
//! ```
//!
//! Links have no version, so that a program of another version takes the place of the one before
//! without a gap. Whoever uses the folder locks it.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use aya::{
    Pod,
    maps::{Array, Map, MapData, MapInfo, MapType},
    programs::links::{FdLink, PinnedLink},
};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::{AccessFlags, eaccess},
};
use tracker_common::{
    abi::{self, name},
    table::index::TableShape,
};

use super::{link::attached_program, state::State};
use crate::storage::memory::TableSize;

/// Where a BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";

/// How long a detached program may stay: a pin's inode is freed after a grace period of RCU, and then
/// its link by a worker of the kernel.
const DETACH_MAX: Duration = Duration::from_secs(1);

/// The folder of a daemon's pins, locked while this lives.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
    _lock: File,
}

/// What a map must be to be used: the type, bytes of a value, and entries.
type Layout = (&'static str, MapType, usize, u32);

impl Pins {
    /// Makes the folder, and the file system it is in, where there is none.
    ///
    /// # Errors
    /// When that is not possible, or another tracker uses the folder.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        provide_bpffs(folder)?;
        let create = || "cannot create the folder; is it on a BPF file system of ours?".to_owned();
        fs::create_dir_all(folder.join("links")).with_context(create)?;
        let pins = Self { folder: folder.to_owned(), _lock: lock(folder)? };
        fs::create_dir_all(pins.maps()).with_context(create)?;
        Ok(pins)
    }

    /// The folder of the maps.
    fn maps(&self) -> PathBuf {
        self.folder.join(format!("v{}", abi::VERSION))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        // BPF file systems take no dots.
        self.maps().join(name.trim_start_matches('.'))
    }

    /// What a daemon before told the program, if it has left its table.
    ///
    /// # Errors
    /// What about it is not as a table of this size needs it.
    pub(super) fn inherited(&self, size: &TableSize) -> Result<Option<State>, String> {
        let layouts = table_layouts(size);
        if layouts.iter().all(|(name, ..)| !self.map(name).exists()) {
            return Ok(None);
        }
        layouts.iter().try_for_each(|layout| self.check(layout))?;
        let state: State = self.value(name::STATE, 0)?;
        let shape = state.config().shape;
        if shape == TableShape::default() {
            // Its daemon ended before it had told the program anything.
            return Ok(None);
        }
        if shape != size.shape(shape.key) {
            return Err("it is of another shape".to_owned());
        }
        Ok(Some(state))
    }

    fn value<V: Pod>(&self, name: &str, index: u32) -> Result<V, String> {
        let map = MapData::from_pin(self.map(name)).and_then(Map::from_map_data);
        let array = map.and_then(Array::<MapData, V>::try_from);
        array.and_then(|array| array.get(&index, 0)).map_err(|error| format!("{name}: {error}"))
    }

    /// Removes the ring buffer and the meters of sources unless they are of these sizes: what is in them is worth
    /// less than a table.
    pub(super) fn check_others(&self, event_bytes: u32, meters: u32) {
        for layout in [
            (name::EVENTS, MapType::RingBuf, 0, event_bytes),
            (name::BUDGETS, MapType::Array, TableSize::METER_BYTES, meters),
        ] {
            if self.check(&layout).is_err() {
                let _ = fs::remove_file(self.map(layout.0));
            }
        }
    }

    fn check(&self, (name, kind, value_bytes, entries): &Layout) -> Result<(), String> {
        let map = MapInfo::from_pin(self.map(name)).map_err(|error| format!("{name}: {error}"))?;
        if map.map_type().ok() != Some(*kind) || map.value_size() as usize != *value_bytes {
            return Err(format!("{name} is of another layout"));
        }
        if map.max_entries() != *entries {
            return Err(format!("{name} has {} entries, not {entries}", map.max_entries()));
        }
        Ok(())
    }

    /// Removes the maps of all versions of the ABI but this one. Their program runs no more.
    pub(super) fn drop_other_versions(&self) {
        for folder in self.version_folders().filter(|folder| *folder != self.maps()) {
            tracing::warn!(
                "{}: a table of another version of xdp-tracker cannot be used, and its swarms are \
                 dropped",
                folder.display(),
            );
            remove_all(&folder, fs::remove_file);
        }
    }

    /// Removes the maps of this version. A program that uses them keeps them until it is replaced.
    pub(super) fn drop_maps(&self) {
        remove_all(&self.maps(), fs::remove_file);
        let _ = fs::create_dir_all(self.maps());
    }

    fn version_folders(&self) -> impl Iterator<Item = PathBuf> {
        entries(&self.folder)
            .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(is_version))
    }

    fn link(&self, mode: &str, index: u32) -> PathBuf {
        // A BPF file system allows no dots in names, and names of interfaces may have some.
        self.links().join(format!("{mode}-{index}"))
    }

    /// Has a link stay attached without us.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn pin(&self, link: FdLink, mode: &str, index: u32) -> anyhow::Result<()> {
        let path = self.link(mode, index);
        let _ = fs::remove_file(&path);
        link.pin(&path).with_context(|| format!("cannot pin {}", path.display()))?;
        Ok(())
    }

    /// A link that was pinned before.
    pub(super) fn pinned(&self, mode: &str, index: u32) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.link(mode, index)).ok()
    }

    /// Detaches from the interface of this index.
    pub(super) fn unpin(&self, mode: &str, index: u32) {
        let _ = detach(&self.link(mode, index));
    }

    /// Detaches from all interfaces but those of these indices.
    pub(super) fn unpin_others(&self, indices: &[u32]) {
        for link in entries(&self.links()) {
            if interface_of(&link).is_none_or(|index| !indices.contains(&index)) {
                let _ = detach(&link);
            }
        }
    }

    fn links(&self) -> PathBuf {
        self.folder.join("links")
    }

    /// Removes everything: the program is detached, and the table is gone.
    pub(super) fn remove(self) -> usize {
        let links = remove_all(&self.links(), |link| detach(&link));
        let maps: usize =
            self.version_folders().map(|folder| remove_all(&folder, fs::remove_file)).sum();
        let _ = fs::remove_dir(&self.folder);
        links + maps
    }
}

/// Detaches whatever a daemon that runs no more has left in the kernel. Returns how many pins there were.
///
/// # Errors
/// When a tracker runs, or a pin cannot be removed.
pub(super) fn remove(folder: &Path) -> anyhow::Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let pins = Pins { folder: folder.to_owned(), _lock: lock(folder)? };
    let removed = pins.remove();
    if folder.exists() {
        bail!("something is left there; are you allowed to remove it?");
    }
    Ok(removed)
}

/// Why a folder cannot be one of pins.
#[derive(Debug)]
pub(crate) enum PinsError {
    /// Another tracker uses it.
    InUse(anyhow::Error),
    /// It cannot be made there, or not be used.
    Unusable(anyhow::Error),
}

/// Tells whether [`Pins::open`] could, and makes nothing.
///
/// # Errors
/// Why not.
pub(crate) fn check(folder: &Path) -> Result<(), PinsError> {
    let is_mounted = needs_mount(folder).map_err(PinsError::Unusable)?;
    if let Mount::Needed = is_mounted {
        return match caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN) {
            Ok(true) => Ok(()),
            _ => Err(PinsError::Unusable(anyhow!(
                "there is no BPF file system; `mount -t bpf bpf {BPFFS}` as root makes one"
            ))),
        };
    }
    if !folder.exists() {
        let existing = existing_of(folder);
        return eaccess(existing, AccessFlags::W_OK | AccessFlags::X_OK)
            .with_context(|| format!("cannot create the folder in {}", existing.display()))
            .map_err(PinsError::Unusable);
    }
    let file = File::open(folder).context("cannot open the folder").map_err(PinsError::Unusable)?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(PinsError::InUse(anyhow!(IN_USE))),
        _ => Ok(()),
    }
}

/// The maps that make a table, and what they must be.
fn table_layouts(size: &TableSize) -> [Layout; 5] {
    [
        (name::STATE, MapType::Array, size_of::<abi::State>(), 1),
        (name::COUNTERS, MapType::PerCpuArray, size_of::<abi::Counters>(), 1),
        (name::TORRENTS_V4, MapType::Array, TableSize::BUCKET_V4_BYTES, size.buckets_v4),
        (name::TORRENTS_V6, MapType::Array, TableSize::BUCKET_V6_BYTES, size.buckets_v6),
        (name::BLOCKS, MapType::Array, TableSize::CHUNK_BYTES, size.chunks),
    ]
}

fn is_version(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
}

const IN_USE: &str = "another tracker uses this folder; give each an xdp.pin_path of its own";

fn lock(folder: &Path) -> anyhow::Result<File> {
    let file = File::open(folder).context("cannot open the folder")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(IN_USE)
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the folder"),
    }
}

/// Whether there is a BPF file system.
enum Mount {
    Done,
    Needed,
}

fn existing_of(folder: &Path) -> &Path {
    folder.ancestors().find(|parent| parent.exists()).unwrap_or(Path::new("/"))
}

/// Whether the folder is on a BPF file system, or one can be mounted for it.
fn needs_mount(folder: &Path) -> anyhow::Result<Mount> {
    let existing = existing_of(folder);
    if statfs(existing).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(Mount::Done);
    }
    if !folder.starts_with(BPFFS) || existing != Path::new(BPFFS) {
        bail!("this is not on a BPF file system; `mount -t bpf bpf DIRECTORY` makes one");
    }
    Ok(Mount::Needed)
}

/// Mounts a BPF file system where it belongs if the folder is to be there.
fn provide_bpffs(folder: &Path) -> anyhow::Result<()> {
    if let Mount::Done = needs_mount(folder)? {
        return Ok(());
    }
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>).with_context(|| {
        format!("there is no BPF file system; `mount -t bpf bpf {BPFFS}` as root makes one")
    })?;
    tracing::info!("mounted a BPF file system at {BPFFS}");
    Ok(())
}

/// The index of the interface that a pinned link is for.
pub(super) fn interface_of(link: &Path) -> Option<u32> {
    link.file_name()?.to_str()?.split_once('-')?.1.parse().ok()
}

/// Removes the pin of a link, and waits for the program to be detached, which the system does a moment
/// later: until then no other can be attached.
fn detach(link: &Path) -> io::Result<()> {
    let attached = || interface_of(link).and_then(attached_program);
    let before = attached();
    fs::remove_file(link)?;
    let end = Instant::now() + DETACH_MAX;
    while before.is_some() && attached() == before && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What is in a folder; nothing if it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Removes all that is in a folder, in this way, and the folder. Returns how many pins there were.
fn remove_all(folder: &Path, remove: impl Fn(PathBuf) -> io::Result<()>) -> usize {
    let removed = entries(folder).map(remove).filter(removed).count();
    let _ = fs::remove_dir(folder);
    removed
}

fn removed(result: &io::Result<()>) -> bool {
    if let Err(error) = result {
        tracing::warn!("a pin cannot be removed: {error}");
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_tables_are_told_from_others() {
        assert!(is_version("v3") && is_version("v12"));
        assert!(!is_version("links") && !is_version("v") && !is_version("vx"));
    }

    #[test]
    fn a_folder_elsewhere_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = Pins::open(&folder.path().join("pins")).unwrap_err();
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    }
}
