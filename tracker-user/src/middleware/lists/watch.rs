//! Sees that files have changed, by looking at them: that also works on network file systems.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::torrents::metainfo_files;

/// Text files, and directories of `.torrent` files.
#[derive(Debug)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    /// What the files looked like when they were last found changed, or at first.
    settled: u64,
    /// What they looked like last.
    last: u64,
}

impl Watch {
    /// Changes are those after this call.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let settled = look_of(&paths);
        Self { paths, settled, last: settled }
    }

    /// Whether the files are others than before, and how long it took to see. A change counts at the
    /// second look that sees it: a file that is just being written differs from one to the next.
    pub(super) fn look(&mut self) -> (bool, Duration) {
        let started = Instant::now();
        let look = look_of(&self.paths);
        let is_at_rest = std::mem::replace(&mut self.last, look) == look;
        let has_changed = is_at_rest && self.settled != look;
        if has_changed {
            self.settled = look;
        }
        (has_changed, started.elapsed())
    }
}

/// A number that is another when a file is.
fn look_of(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        look_of_path(path).hash(&mut hasher);
    }
    hasher.finish()
}

/// 0 for a path that leads nowhere. The order in which a directory lists its files does not matter.
fn look_of_path(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return stamp(path.as_os_str(), &metadata);
    }
    let files = metainfo_files(path).into_iter().flatten();
    files.fold(1, |sum, (_, stamp)| sum.wrapping_add(stamp))
}

/// A number that is another when the file is. The time is that of the last change of anything about
/// the file (`ctime`): a modification time can be set to what it was before.
pub(super) fn stamp(name: &OsStr, metadata: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (metadata.dev(), metadata.ino(), metadata.len()).hash(&mut hasher);
    (metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until files that have changed are at rest.
    fn sees_change(watch: &mut Watch) -> bool {
        let first = watch.look().0;
        let second = watch.look().0;
        assert!(!first, "a change counts at the second look");
        second
    }

    fn watch(path: &Path) -> Watch {
        let mut watch = Watch::new(vec![path.to_owned()]);
        assert!(!watch.look().0 && !watch.look().0, "nothing has changed yet");
        watch
    }

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        fs::write(&list, "one").unwrap();
        let mut watch = watch(&list);
        fs::write(&list, "three").unwrap();
        assert!(sees_change(&mut watch));
        assert!(!watch.look().0);
        let other = directory.path().join("other");
        fs::write(&other, "seven").unwrap();
        fs::rename(&other, &list).unwrap();
        assert!(sees_change(&mut watch));
        fs::remove_file(&list).unwrap();
        assert!(sees_change(&mut watch));
        assert!(!watch.look().0);
    }

    #[test]
    fn a_file_that_goes_on_changing_is_left_until_it_rests() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        fs::write(&list, "").unwrap();
        let mut watch = watch(&list);
        for length in 1..5 {
            fs::write(&list, "x".repeat(length)).unwrap();
            assert!(!watch.look().0);
        }
        assert!(watch.look().0);
    }

    #[test]
    fn a_directory_has_changed_when_a_torrent_in_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = watch(directory.path());
        let torrent = directory.path().join("a.torrent");
        fs::write(&torrent, "one").unwrap();
        assert!(sees_change(&mut watch));
        fs::write(&torrent, "three").unwrap();
        assert!(sees_change(&mut watch));
        fs::write(directory.path().join("notes"), "other files do not matter").unwrap();
        assert!(!sees_change(&mut watch));
        fs::remove_file(&torrent).unwrap();
        assert!(sees_change(&mut watch));
    }
}
