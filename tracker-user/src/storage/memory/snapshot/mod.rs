//! Swarms on disk, for a host that starts anew and for trackers without a kernel to keep them.
//!
//! * [`format`]: the bytes;
//! * `lock`: keeps two trackers from one file;
//! * `saver`: the thread that saves at an interval and at the end.

pub mod format;
mod lock;
mod saver;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use tracker_common::{
    family::{Family, V4, V6},
    id::InfoHash,
    table::{
        layout::Memory,
        owner::{SavedPeer, Table},
    },
    time::ticks_ns,
};

use self::format::{ReadError, Restore, Writer};
pub use self::lock::{Holder, held, holder};
pub(super) use self::{lock::Lock, saver::Saver};
use crate::{
    clock::{monotonic_ns, wall_ns},
    files::{self, SNAPSHOT_BYTES_MAX},
};

/// Writes the table to `path`: whole, or not at all. Without `with_peers`, completed downloads only.
///
/// # Errors
/// When it cannot be written; the file before stays.
pub fn save<M: Memory>(table: &Table<M>, path: &Path, with_peers: bool) -> io::Result<()> {
    let new = beside(path, "new");
    let file = files::create_anew(&new)?;
    let written = write(table, file, with_peers).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The name is on the disk once its folder is.
    files::sync_folder_of(path)
}

fn write<M: Memory>(table: &Table<M>, file: File, with_peers: bool) -> io::Result<()> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file), wall_ns())?;
    table.save::<V4, _>(monotonic_ns(), |info_hash, completed, peers| {
        put(&mut writer, with_peers, info_hash, completed, peers)
    })?;
    table.save::<V6, _>(monotonic_ns(), |info_hash, completed, peers| {
        put(&mut writer, with_peers, info_hash, completed, peers)
    })?;
    let mut out = writer.end()?;
    out.flush()?;
    out.get_ref().sync_all()
}

fn put<F: Family>(
    writer: &mut Writer<BufWriter<File>>,
    with_peers: bool,
    info_hash: &InfoHash,
    completed: u32,
    peers: &[SavedPeer<F>],
) -> io::Result<()> {
    let peers = if with_peers { peers } else { &[] };
    if peers.is_empty() && completed == 0 {
        return Ok(());
    }
    writer.torrent(info_hash, completed, peers)
}

/// Fills a table that the kernel does not use yet from the file at `path`, if there is one. One that
/// cannot be used is set aside, with a message. Returns how many peers are restored.
pub fn restore<M: Memory>(table: &Table<M>, path: &Path) -> usize {
    let mut file = match files::open(path, SNAPSHOT_BYTES_MAX) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => {
            tracing::error!("{}: nothing is restored: {error}", path.display());
            return 0;
        }
    };
    let mut into = Into { table, now_ns: monotonic_ns(), peers: 0 };
    let read = format::check(&mut file).and_then(|saved_at_ns| {
        let elapsed = wall_ns().saturating_sub(saved_at_ns) / ticks_ns(1);
        format::read(&file, elapsed, &mut into)
    });
    let Into { peers, .. } = into;
    match read {
        Ok(()) => tracing::info!("{}: restored {peers} peers", path.display()),
        Err(error @ ReadError::Io(_)) => {
            tracing::error!("{}: {error}; {}", path.display(), extent(peers));
        }
        Err(error) => set_aside(path, &error, peers),
    }
    peers
}

/// One such file is kept, so that they do not fill the disk.
fn set_aside(path: &Path, why: &ReadError, peers: usize) {
    let restored = extent(peers);
    let aside = beside(path, "unusable");
    match fs::rename(path, &aside) {
        Ok(()) => tracing::error!(
            "{}: {why}; {restored}, and the file is set aside as {}",
            path.display(),
            aside.display(),
        ),
        Err(error) => {
            tracing::error!("{}: {why}; {restored}, and the file stays: {error}", path.display());
        }
    }
}

/// How much of a file that cannot be used is in the table.
fn extent(peers: usize) -> String {
    match peers {
        0 => "nothing is restored".to_owned(),
        peers => format!("the {peers} peers before the fault are restored"),
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

struct Into<'a, M> {
    table: &'a Table<M>,
    now_ns: u64,
    peers: usize,
}

impl<M: Memory> Restore for Into<'_, M> {
    fn v4(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V4>]) {
        self.peers += self.table.restore(info_hash, completed, peers, self.now_ns);
    }

    fn v6(&mut self, info_hash: &InfoHash, completed: u32, peers: &[SavedPeer<V6>]) {
        self.peers += self.table.restore(info_hash, completed, peers, self.now_ns);
    }
}
