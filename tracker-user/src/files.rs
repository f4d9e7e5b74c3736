//! The one way to the files that the configuration names.
//!
//! A name may lead to anything. To open a FIFO waits for its other end, a device may never come to an end, and
//! a text without line ends would be one line that fills the memory. So only regular files are read, up to a
//! bound, and without waiting. Links are followed for reading: Kubernetes mounts configurations and secrets
//! behind links. A file that is created is always a new one, so nothing is written through a link.

use std::{
    error::Error as StdError,
    fs::{self, File, FileType, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read as _, Take},
    mem,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::unistd::{self, AccessFlags};

/// The longest configuration: longer ones are no configuration.
pub(crate) const CONFIG_BYTES_MAX: u64 = 16 << 20;

/// The longest file of certificates or keys: those of all authorities of a system have some 250 KB.
pub(crate) const PEM_BYTES_MAX: u64 = 4 << 20;

/// The longest list: 25 million info-hashes.
pub(crate) const LIST_BYTES_MAX: u64 = 1 << 30;

/// The longest line of a list, comment included.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// The longest `.torrent` file.
pub(crate) const METAINFO_BYTES_MAX: u64 = 64 << 20;

/// The longest snapshot: 10^8 peers over IPv6 have a twentieth of it.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;

/// Why a file is not read, though the system would let us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It is something else.
    #[error("it is {0}, not a regular file")]
    Kind(&'static str),
    /// It is too long.
    #[error("it is longer than {0} bytes")]
    Size(u64),
    /// One of its lines is too long.
    #[error("its line {0} is longer than {LINE_BYTES_MAX} bytes")]
    Line(usize),
}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        Self::new(ErrorKind::InvalidInput, unfit)
    }
}

/// Whether the file is there and is none that can be read: to try again is of no use until it is another.
pub(crate) fn is_unfit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<Unfit>)
}

/// Tells whether a file that is there is one that [`open`] would take, by its kind.
///
/// # Errors
/// [`Unfit`], or what the system says. A file that is missing is none.
pub(crate) fn check_if_there(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(check_kind(metadata.file_type())?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why a file cannot be created in a folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// There is none.
    #[error("there is no folder {0}; create it, with the tracker's user as its owner")]
    Missing(String),
    /// It is something else.
    #[error("{0} is no folder; name a file in one")]
    Other(String),
    /// This user may not write to it.
    #[error("the folder {0} cannot be written to by this user; change its owner or its mode")]
    Closed(String),
    /// No user may write to it, or the system does not tell why this one may not.
    #[error("the folder {0} cannot be written to: {1}")]
    Unfit(String, io::Error),
}

/// Tells whether the folder of this file is there and can be written to.
///
/// # Errors
/// Why not.
pub(crate) fn check_folder_of(file: &Path) -> Result<(), FolderError> {
    let folder = folder_of(file);
    let name = || folder.display().to_string();
    let of_errno = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => FolderError::Missing(name()),
        ErrorKind::NotADirectory => FolderError::Other(name()),
        ErrorKind::PermissionDenied => FolderError::Closed(name()),
        _ => FolderError::Unfit(name(), error),
    };
    if !fs::metadata(folder).map_err(of_errno)?.is_dir() {
        return Err(FolderError::Other(name()));
    }
    // As the effective user with the capabilities of this thread, as a file would be created.
    unistd::eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| of_errno(errno.into()))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a file to be locked: one that is there stays as it is. `None` where there is none and none is to be
/// `created`.
///
/// # Errors
/// What the system says, or [`Unfit`].
pub(crate) fn open_lock(path: &Path, created: bool) -> io::Result<Option<File>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags);
    if created {
        options.write(true).create(true).truncate(false);
    }
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !created => Ok(None),
        opened => {
            let file = opened?;
            check_kind(file.metadata()?.file_type())?;
            Ok(Some(file))
        }
    }
}

/// Opens a regular file for reading, of at most so many bytes. It may become longer while it is read.
///
/// # Errors
/// What the system says, or [`Unfit`].
pub(crate) fn open(path: &Path, bytes_max: u64) -> io::Result<File> {
    // Looked at first, as to open a device may set it going.
    check_kind(fs::metadata(path)?.file_type())?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    // It may have become something else meanwhile.
    check_kind(metadata.file_type())?;
    if metadata.len() > bytes_max { Err(Unfit::Size(bytes_max).into()) } else { Ok(file) }
}

/// The bytes of a regular file, of which there are at most so many.
///
/// # Errors
/// As for [`open`].
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path, bytes_max)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if read as u64 > bytes_max { Err(Unfit::Size(bytes_max).into()) } else { Ok(bytes) }
}

/// The text of a regular file.
///
/// # Errors
/// As for [`open`], and when it is no UTF-8.
pub(crate) fn read_to_string(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|error| {
        let error = error.utf8_error();
        io::Error::new(ErrorKind::InvalidData, format!("it is no UTF-8: {error}"))
    })
}

/// The lines of a list, one at a time, whatever they end in: LF, CRLF or CR.
pub(crate) struct Lines<R = BufReader<Take<File>>> {
    list: R,
    line: Vec<u8>,
    /// How many were read.
    number: usize,
    /// The last one ended in CR: an LF that follows belongs to it.
    follows_cr: bool,
}

impl Lines {
    /// Opens the list.
    ///
    /// # Errors
    /// As for [`open`].
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let list = open(path, LIST_BYTES_MAX)?.take(LIST_BYTES_MAX + 1);
        Ok(Self::new(BufReader::with_capacity(64 << 10, list)))
    }

    /// The next line with its number, counted from 1, and without its end; `None` after the last.
    ///
    /// # Errors
    /// As for [`read`], and when the line is too long.
    pub(crate) fn next(&mut self) -> io::Result<Option<(usize, &[u8])>> {
        let is_there = self.advance()?;
        if self.list.get_ref().limit() == 0 {
            return Err(Unfit::Size(LIST_BYTES_MAX).into());
        }
        if self.line.len() > LINE_BYTES_MAX {
            return Err(Unfit::Line(self.number).into());
        }
        Ok(is_there.then_some((self.number, &self.line)))
    }
}

impl<R: BufRead> Lines<R> {
    fn new(list: R) -> Self {
        Self { list, line: Vec::new(), number: 0, follows_cr: false }
    }

    /// Reads the next line; `false` if there is none. Of one that is too long not much more than is needed to
    /// tell.
    fn advance(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.number += 1;
        let mut is_there = false;
        while self.line.len() <= LINE_BYTES_MAX {
            let bytes = self.list.fill_buf()?;
            let Some(&first) = bytes.first() else { break };
            if mem::take(&mut self.follows_cr) && first == b'\n' {
                self.list.consume(1);
                continue;
            }
            is_there = true;
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.line.extend_from_slice(part);
            self.follows_cr = end.is_some_and(|end| bytes[end] == b'\r');
            let read = part.len() + usize::from(end.is_some());
            self.list.consume(read);
            if end.is_some() {
                break;
            }
        }
        Ok(is_there)
    }
}

/// Creates a file to be written. What has its name, but for a folder, is removed: a file left behind by a
/// process that was killed, or a link or a FIFO that must not be written to.
///
/// # Errors
/// What the system says.
pub(crate) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link.
    OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Has the names in the folder of this file on the disk.
///
/// # Errors
/// What the system says.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(folder_of(path))?.sync_all()
}

fn check_kind(kind: FileType) -> Result<(), Unfit> {
    Err(Unfit::Kind(match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "something else",
    }))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};
    use tempfile::TempDir;

    use super::*;

    /// Puts a FIFO whose other end is not open in the place of what is there.
    pub(crate) fn put_fifo(path: &Path) {
        let _ = fs::remove_file(path);
        mkfifo(path, Mode::S_IRWXU).unwrap();
    }

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once_and_named() {
        let folder = folder();
        let at = |name| folder.path().join(name);
        put_fifo(&at("fifo"));
        symlink("fifo", at("link to a fifo")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("zeros")).unwrap();
        for (name, kind) in [
            ("fifo", "a FIFO"),
            ("link to a fifo", "a FIFO"),
            ("socket", "a socket"),
            ("zeros", "a character device"),
            (".", "a folder"),
        ] {
            let error = read(&at(name), 10).unwrap_err();
            assert_eq!(error.to_string(), format!("it is {kind}, not a regular file"));
            assert!(is_unfit(&error));
            assert!(is_unfit(&Lines::open(&at(name)).err().unwrap()));
        }
        assert!(!is_unfit(&read(&at("missing"), 10).unwrap_err()));
    }

    #[test]
    fn links_lead_to_regular_files() {
        let folder = folder();
        fs::create_dir(folder.path().join("..2026")).unwrap();
        fs::write(folder.path().join("..2026/key"), "secret").unwrap();
        symlink("..2026", folder.path().join("..data")).unwrap();
        symlink("..data/key", folder.path().join("key")).unwrap();
        assert_eq!(read_to_string(&folder.path().join("key"), 6).unwrap(), "secret");
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "1234567").unwrap();
        assert_eq!(read(&file, 6).unwrap_err().to_string(), "it is longer than 6 bytes");
        // Of what the system makes when it is read the length is not known before.
        let error = read(Path::new("/proc/self/status"), 6).unwrap_err();
        assert_eq!(error.to_string(), "it is longer than 6 bytes");
        File::create(&file).unwrap().set_len(LIST_BYTES_MAX + 1).unwrap();
        assert!(is_unfit(&Lines::open(&file).err().unwrap()));
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_with_its_number() {
        let folder = folder();
        let file = folder.path().join("file");
        let long = "x".repeat(LINE_BYTES_MAX);
        fs::write(&file, format!("one\n{long}\n{long}x\n")).unwrap();
        let mut lines = Lines::open(&file).unwrap();
        assert_eq!(lines.next().unwrap(), Some((1, &b"one"[..])));
        assert_eq!(lines.next().unwrap(), Some((2, long.as_bytes())));
        assert_eq!(
            lines.next().unwrap_err().to_string(),
            format!("its line 3 is longer than {LINE_BYTES_MAX} bytes")
        );
        fs::write(&file, "one\ntwo").unwrap();
        let mut lines = Lines::open(&file).unwrap();
        lines.next().unwrap();
        assert_eq!(lines.next().unwrap(), Some((2, &b"two"[..])));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_line_may_end_where_a_buffer_does() {
        for capacity in 1..8 {
            let text = BufReader::with_capacity(capacity, &b"one\r\ntwo\r\rfour\n"[..]);
            let mut lines = Lines::new(text);
            for (number, expected) in [(1, "one"), (2, "two"), (3, ""), (4, "four")] {
                assert!(lines.advance().unwrap(), "{capacity}");
                assert_eq!((lines.number, &lines.line[..]), (number, expected.as_bytes()));
            }
            assert!(!lines.advance().unwrap());
        }
    }

    #[test]
    fn a_file_that_is_created_is_a_new_one() {
        use std::io::Write as _;
        let folder = folder();
        let (file, precious) = (folder.path().join("file"), folder.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, &file).unwrap();
        create_anew(&file).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        put_fifo(&file);
        create_anew(&file).unwrap().write_all(b"newer").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
    }
}
