//! Info-hashes from text files and from directories of `.torrent` files.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

use tracker_common::id::InfoHash;

use super::{ListError, metainfo, read_text};
use crate::watch::{self, stamp};

/// Bigger `.torrent` files are left out.
const METAINFO_BYTES_MAX: u64 = 64 << 20;

/// Info-hashes that stand in the configuration, and those of files.
#[derive(Debug)]
pub(in crate::middleware) struct TorrentFiles {
    written: Vec<InfoHash>,
    paths: Vec<PathBuf>,
    /// The `.torrent` files that were read last, by their [`stamp`], so that in a big directory only
    /// new ones need to be read.
    known: HashMap<u64, Hashes>,
}

/// Of one file; none if it is no torrent.
type Hashes = [Option<InfoHash>; 2];

impl TorrentFiles {
    /// Nothing is read yet. Each path is that of a text file of info-hashes, or of a directory of
    /// `.torrent` files.
    pub(in crate::middleware) fn new(written: Vec<InfoHash>, paths: Vec<PathBuf>) -> Self {
        Self { written, paths, known: HashMap::new() }
    }

    /// All info-hashes. Files in a directory that are no torrents are left out and logged.
    ///
    /// # Errors
    /// When a path cannot be read, or a text file has a line that is no info-hash.
    pub(in crate::middleware) fn read(&mut self) -> Result<HashSet<InfoHash>, ListError> {
        let mut listed: HashSet<_> = self.written.iter().copied().collect();
        let mut seen = HashMap::new();
        for path in &self.paths {
            if path.is_dir() {
                read_directory(path, &self.known, &mut seen, &mut listed)?;
            } else {
                read_text(path, |info_hash| {
                    listed.insert(info_hash);
                })?;
            }
        }
        self.known = seen;
        Ok(listed)
    }
}

fn read_directory(
    path: &Path,
    known: &HashMap<u64, Hashes>,
    seen: &mut HashMap<u64, Hashes>,
    listed: &mut HashSet<InfoHash>,
) -> Result<(), ListError> {
    let failed = |source| ListError::Read { path: path.to_owned(), source };
    let mut broken = Vec::new();
    for (entry, stamp) in metainfo_files(path).map_err(failed)? {
        let hashes = match known.get(&stamp) {
            Some(hashes) => *hashes,
            None => {
                let hashes = read_metainfo(&entry.path());
                if hashes == Hashes::default() {
                    broken.push(entry.path());
                }
                hashes
            }
        };
        seen.insert(stamp, hashes);
        listed.extend(hashes.into_iter().flatten());
    }
    if let Some(first) = broken.first() {
        let (files, directory) = (broken.len(), path.display());
        let first = first.display();
        tracing::warn!(
            "{directory}: {files} files are no torrents and are left out; one is {first}"
        );
    }
    Ok(())
}

/// Nothing for a file that cannot be read: it may be gone again.
fn read_metainfo(path: &Path) -> Hashes {
    let is_small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= METAINFO_BYTES_MAX);
    let metainfo = if is_small { fs::read(path).unwrap_or_default() } else { Vec::new() };
    metainfo::info_hashes(&metainfo).unwrap_or_default()
}

/// The `.torrent` files of a directory, not of those below it, each with its [`stamp`].
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn metainfo_files(
    directory: &Path,
) -> io::Result<impl Iterator<Item = (DirEntry, u64)>> {
    Ok(fs::read_dir(directory)?.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        if Path::new(&name).extension()? != "torrent" {
            return None;
        }
        // Follows links, as reading does.
        let stamp = stamp(&name, &fs::metadata(entry.path()).ok()?);
        Some((entry, stamp))
    }))
}

/// What a text file, or all of a directory, looks like. The order in which a directory lists its files
/// does not matter.
pub(super) fn look_at(path: &Path) -> Option<u64> {
    match metainfo_files(path) {
        Ok(files) => Some(files.fold(1, |sum, (_, stamp)| sum.wrapping_add(stamp))),
        Err(_) => watch::look_at(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_looks_different_when_a_torrent_in_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let looks = || look_at(directory.path());
        let torrent = directory.path().join("a.torrent");
        let mut seen = vec![looks()];
        fs::write(&torrent, "one").unwrap();
        seen.push(looks());
        fs::write(&torrent, "three").unwrap();
        seen.push(looks());
        assert!(seen[0] != seen[1] && seen[1] != seen[2]);
        fs::write(directory.path().join("notes"), "other files do not matter").unwrap();
        assert_eq!(looks(), seen[2]);
        fs::remove_file(&torrent).unwrap();
        assert_eq!(looks(), seen[0]);
    }

    #[test]
    fn a_list_looks_like_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(look_at(file.path()), watch::look_at(file.path()));
        assert_eq!(look_at(Path::new("/no/such/list")), None);
    }

    fn torrent(name: &str) -> String {
        format!("d4:infod4:name1:{name}6:pieces0:ee")
    }

    fn written() -> Vec<InfoHash> {
        vec![InfoHash([1; 20])]
    }

    #[test]
    fn the_written_the_listed_and_the_torrents_are_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        fs::write(&list, "0202020202020202020202020202020202020202\n").unwrap();
        fs::write(directory.path().join("a.torrent"), torrent("a")).unwrap();
        fs::write(directory.path().join("b.txt"), torrent("b")).unwrap();
        let mut files = TorrentFiles::new(written(), vec![list, directory.path().to_owned()]);
        let listed = files.read().unwrap();
        assert_eq!(listed.len(), 3);
        assert!(listed.contains(&InfoHash([1; 20])) && listed.contains(&InfoHash([2; 20])));
    }

    #[test]
    fn a_file_that_is_no_torrent_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.torrent"), "half of").unwrap();
        let mut files = TorrentFiles::new(written(), vec![directory.path().to_owned()]);
        assert_eq!(files.read().unwrap().len(), 1);
        fs::write(directory.path().join("a.torrent"), torrent("a")).unwrap();
        assert_eq!(files.read().unwrap().len(), 2);
    }

    #[test]
    fn torrents_that_are_taken_away_or_replaced_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.torrent");
        fs::write(&path, torrent("a")).unwrap();
        let mut files = TorrentFiles::new(Vec::new(), vec![directory.path().to_owned()]);
        let first = files.read().unwrap();
        let other = directory.path().join("other");
        fs::write(&other, torrent("b")).unwrap();
        fs::rename(&other, &path).unwrap();
        let second = files.read().unwrap();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
        fs::remove_file(&path).unwrap();
        assert_eq!(files.read().unwrap(), HashSet::new());
        assert!(files.known.is_empty());
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error() {
        let mut files = TorrentFiles::new(Vec::new(), vec!["/no/such/list".into()]);
        assert!(files.read().is_err());
    }
}
