//! One tracker at a time saves a snapshot: two would overwrite each other's swarms, and no message would say so.
//!
//! The lock is a file of its own beside the snapshot, which is replaced whenever it is saved. It has the number of
//! the process that holds it, for messages, and stays when the tracker ends: what counts is whether it is locked.

use std::{
    fmt,
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process, thread,
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

/// That of the snapshot at a path, held while this lives.
#[derive(Debug)]
pub(in crate::storage::memory) struct Lock {
    path: PathBuf,
    _file: File,
}

/// The tracker that saves a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process, as it calls itself: in a container others call it otherwise. `None` where that cannot be read.
    pub process: Option<u32>,
}

impl Holder {
    /// Whether it is this one.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.process == Some(process::id())
    }
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
        Ok(Self { path: path.to_owned(), _file: file })
    }

    /// The path of the snapshot.
    pub(in crate::storage::memory) fn path(&self) -> &Path {
        &self.path
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
    Holder { process: read.ok().and_then(|_| text.trim_end().parse().ok()) }
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
        let this = Holder { process: Some(process::id()) };
        assert_eq!(holder(&path), Some(this));
        let Err(LockError::Held(other)) = Lock::take(&path) else { panic!("it was taken twice") };
        assert_eq!(other, this);
        drop(first);
        assert_eq!(holder(&path), None);
        Lock::take(&path).unwrap();
    }
}
