//! Sees that files have changed, by looking at them: that also works on network file systems.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Tells changes of files from files that are just being changed.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    /// What the files looked like when they were last found changed, or at first.
    settled: T,
    /// What they looked like last.
    last: T,
}

impl<T: PartialEq + Clone> Watch<T> {
    /// Changes are those after this look.
    pub(crate) fn new(look: T) -> Self {
        Self { settled: look.clone(), last: look }
    }

    /// Whether the files are others than before: once for each change. It counts at the second look
    /// that sees it, as a file that is being written differs from one to the next.
    pub(crate) fn has_changed(&mut self, look: T) -> bool {
        let is_at_rest = mem::replace(&mut self.last, look.clone()) == look;
        let has_changed = is_at_rest && self.settled != look;
        if has_changed {
            self.settled = look;
        }
        has_changed
    }
}

/// What a file looks like: a number that is another when the file is. `None` if there is none.
pub(crate) fn look_at(path: &Path) -> Option<u64> {
    Some(stamp(path.as_os_str(), &fs::metadata(path).ok()?))
}

/// The same of a file whose metadata are known. The time is that of the last change of anything about
/// the file (`ctime`): a modification time can be set to what it was before.
pub(crate) fn stamp(name: &OsStr, metadata: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (metadata.dev(), metadata.ino(), metadata.len()).hash(&mut hasher);
    (metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(look_at(&file));
        let mut looks = || [(); 3].map(|()| watch.has_changed(look_at(&file)));
        assert_eq!(looks(), [false; 3]);
        fs::write(&file, "three").unwrap();
        assert_eq!(looks(), [false, true, false]);
        let other = directory.path().join("other");
        fs::write(&other, "seven").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(looks(), [false, true, false]);
        fs::remove_file(&file).unwrap();
        assert_eq!(looks(), [false, true, false]);
    }

    #[test]
    fn what_goes_on_changing_is_left_until_it_rests() {
        let mut watch = Watch::new(0);
        assert_eq!(
            [1, 2, 3, 3, 3].map(|look| watch.has_changed(look)),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn what_is_as_it_was_before_has_not_changed() {
        let mut watch = Watch::new(0);
        assert_eq!([1, 0, 0].map(|look| watch.has_changed(look)), [false; 3]);
    }
}
