//! Sees that files have changed, by looking at them: that also works on network file systems.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Tells when files are to be read: when they have changed and are not just being changed, and then until
/// they could be read.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    /// What the files looked like when they were last read.
    settled: T,
    /// What they looked like last.
    last: T,
    /// They could not be read the last time.
    is_unread: bool,
}

impl<T: PartialEq + Clone> Watch<T> {
    /// Of files that are read after this look.
    pub(crate) fn new(look: T) -> Self {
        Self { settled: look.clone(), last: look, is_unread: false }
    }

    /// Whether the files are to be read: they are others than when they were read last, or could not be read
    /// then. A change counts at the second look that sees it, as a file that is being written differs from one
    /// to the next.
    pub(crate) fn is_due(&mut self, look: T) -> bool {
        let is_at_rest = mem::replace(&mut self.last, look.clone()) == look;
        is_at_rest && (self.is_unread || self.settled != look)
    }

    /// Says what came of reading them after the last look. What could not be read may look the same when it
    /// can: a disk or a server may have failed, and not the file.
    pub(crate) fn settle(&mut self, is_read: bool) {
        self.is_unread = !is_read;
        if is_read {
            self.settled = self.last.clone();
        }
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

    /// Of files that can be read.
    fn is_due<T: PartialEq + Clone>(watch: &mut Watch<T>, look: T) -> bool {
        let is_due = watch.is_due(look);
        if is_due {
            watch.settle(true);
        }
        is_due
    }

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(look_at(&file));
        let mut looks = || [(); 3].map(|()| is_due(&mut watch, look_at(&file)));
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
            [1, 2, 3, 3, 3].map(|look| is_due(&mut watch, look)),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn what_is_as_it_was_before_has_not_changed() {
        let mut watch = Watch::new(0);
        assert_eq!([1, 0, 0].map(|look| is_due(&mut watch, look)), [false; 3]);
    }

    #[test]
    fn what_could_not_be_read_is_due_until_it_is() {
        let mut watch = Watch::new(0);
        assert_eq!([1, 1].map(|look| watch.is_due(look)), [false, true]);
        watch.settle(false);
        assert!(watch.is_due(1));
        watch.settle(false);
        // As it was when it could be read last.
        assert_eq!([0, 0].map(|look| watch.is_due(look)), [false, true]);
        watch.settle(true);
        assert!(!watch.is_due(0));
    }
}
