//! One tracker at a time saves a snapshot: two would overwrite each other's swarms, and no message would say so.
//!
//! The lock is a file of its own beside the snapshot, which is replaced whenever it is saved. It has the number of
//! the process that holds it, for messages, and stays when the tracker ends: what counts is whether it is locked.

use std::{
    fmt,
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::beside;
use crate::files;

/// How often a lock is tried that is taken: `xdp-tracker check` has it for a moment.
const TRIES: u32 = 20;

/// Between tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest number of a process, in digits.
const DIGITS_MAX: u64 = 10;

/// The lock files that this process holds. A file's contents cannot say so: anything may empty it.
static OURS: Mutex<Vec<FileId>> = Mutex::new(Vec::new());

fn ours() -> MutexGuard<'static, Vec<FileId>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file whatever its name: the device and the inode.
type FileId = (u64, u64);

fn id(file: &File) -> io::Result<FileId> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// That of the snapshot at a path, held while this lives.
#[derive(Debug)]
pub(in crate::storage::memory) struct Lock {
    path: PathBuf,
    id: FileId,
    _file: File,
}

/// The tracker that saves a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process, as it calls itself: in a container others call it otherwise. `None` where that cannot be read.
    pub process: Option<u32>,
    /// Whether this process holds the lock, whatever the file says.
    pub is_this_process: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) => write!(f, "process {process} saves its swarms there"),
            None => f.write_str("another tracker saves its swarms there"),
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(in crate::storage::memory) enum LockError {
    /// Another tracker has it.
    #[error("{0}; give each tracker a snapshot.path of its own")]
    Held(Holder),
    /// The file cannot be made.
    #[error("the lock beside it cannot be made: {0}")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock of the snapshot at `path`.
    ///
    /// # Errors
    /// When another tracker has it, or its file cannot be made.
    pub(in crate::storage::memory) fn take(path: &Path) -> Result<Self, LockError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let mut file = files::open_lock(&beside(path, "lock"), true)?.ok_or_else(missing)?;
        for tries_left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) if tries_left == 0 => {
                    return Err(LockError::Held(read(&mut file)));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
        // A disk that is full has room for the lock, and may have none for the number.
        let _ = write(&mut file);
        let id = id(&file)?;
        ours().push(id);
        Ok(Self { path: path.to_owned(), id, _file: file })
    }

    /// The path of the snapshot.
    pub(in crate::storage::memory) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        ours().retain(|id| *id != self.id);
    }
}

fn write(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

fn read(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.take(DIGITS_MAX + 1).read_to_string(&mut text);
    Holder {
        process: read.ok().and_then(|_| text.trim_end().parse().ok()),
        is_this_process: id(file).is_ok_and(|id| ours().contains(&id)),
    }
}

/// The tracker that saves the snapshot at `path`, if one does.
#[must_use]
pub fn holder(path: &Path) -> Option<Holder> {
    let mut file = files::open_lock(&beside(path, "lock"), false).ok()??;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read(&mut file)),
        _ => None,
    }
}

/// What to say of a snapshot that another tracker saves.
#[must_use]
pub fn held(path: &Path, holder: &Holder) -> String {
    format!("{}: {}", path.display(), LockError::Held(*holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_of_one_snapshot_is_refused_with_the_process_that_has_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swarms");
        assert_eq!(holder(&path), None);
        let first = Lock::take(&path).unwrap();
        let this = Holder { process: Some(process::id()), is_this_process: true };
        assert_eq!(holder(&path), Some(this));
        let Err(LockError::Held(other)) = Lock::take(&path) else { panic!("it was taken twice") };
        assert_eq!(other, this);
        drop(first);
        assert_eq!(holder(&path), None);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_process_knows_its_own_lock_whatever_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swarms");
        let _lock = Lock::take(&path).unwrap();
        for text in ["", "moon", "1"] {
            std::fs::write(beside(&path, "lock"), text).unwrap();
            assert!(holder(&path).unwrap().is_this_process, "{text:?}");
        }
        // Another process's, though its file has the number of this one.
        let other = folder.path().join("others");
        let file = File::create(beside(&other, "lock")).unwrap();
        file.lock().unwrap();
        writeln!(&file, "{}", process::id()).unwrap();
        let holder = holder(&other).unwrap();
        assert_eq!((holder.process, holder.is_this_process), (Some(process::id()), false));
    }
}
