//! Info-hashes from text files and from directories of `.torrent` files.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tracker_common::id::InfoHash;

use super::{ListError, Loaded, metainfo, read_words};
use crate::{
    files::{self, METAINFO_BYTES_MAX},
    watch::{self, stamp},
};

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

    /// All info-hashes. Files in a directory that are no torrents are left out and logged. Those that cannot
    /// be read are missing: they are read again the next time.
    ///
    /// # Errors
    /// When a path cannot be read, or a text file has a line that is no info-hash.
    pub(in crate::middleware) fn read(&mut self) -> Result<Loaded<HashSet<InfoHash>>, ListError> {
        let mut reading = Reading {
            known: &self.known,
            seen: HashMap::new(),
            listed: self.written.iter().copied().collect(),
            missing: None,
        };
        for path in &self.paths {
            if path.is_dir() {
                reading.directory(path)?;
            } else {
                read_words(path, |info_hash| {
                    reading.listed.insert(info_hash);
                })?;
            }
        }
        let Reading { seen, listed, missing, .. } = reading;
        self.known = seen;
        Ok(Loaded { list: listed, missing })
    }
}

/// One time of reading.
struct Reading<'a> {
    known: &'a HashMap<u64, Hashes>,
    seen: HashMap<u64, Hashes>,
    listed: HashSet<InfoHash>,
    missing: Option<ListError>,
}

impl Reading<'_> {
    fn directory(&mut self, directory: &Path) -> Result<(), ListError> {
        let failed = |source| ListError::Read { path: directory.to_owned(), source };
        let mut broken = Vec::new();
        let mut unread = Vec::new();
        for file in metainfo_files(directory).map_err(failed)? {
            let (path, stamp) = file.map_err(failed)?;
            let known = stamp.and_then(|stamp| self.known.get(&stamp).copied());
            let hashes = match known.map_or_else(|| read_metainfo(&path), Ok) {
                Ok(hashes) => hashes,
                // Taken away meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    unread.push((path, error));
                    continue;
                }
            };
            if known.is_none() && hashes == Hashes::default() {
                broken.push(path);
            }
            self.listed.extend(hashes.into_iter().flatten());
            if let Some(stamp) = stamp {
                self.seen.insert(stamp, hashes);
            }
        }
        if let Some(first) = broken.first() {
            let (files, directory) = (broken.len(), directory.display());
            let first = first.display();
            tracing::warn!(
                "{directory}: {files} files are no torrents and are left out; one is {first}"
            );
        }
        let files = unread.len();
        if let Some((first, source)) = unread.into_iter().min_by(|(a, _), (b, _)| a.cmp(b)) {
            let directory = directory.to_owned();
            self.missing = Some(ListError::Torrents { directory, files, first, source });
        }
        Ok(())
    }
}

/// None for a file that can be no torrent.
///
/// # Errors
/// When it cannot be read, as it might be the next time.
fn read_metainfo(path: &Path) -> io::Result<Hashes> {
    match files::read(path, METAINFO_BYTES_MAX) {
        Ok(metainfo) => Ok(metainfo::info_hashes(&metainfo).unwrap_or_default()),
        Err(error) if files::is_unfit(&error) => Ok(Hashes::default()),
        Err(error) => Err(error),
    }
}

/// The `.torrent` files of a directory, not of those below it, each with its [`stamp`] if it has one.
///
/// # Errors
/// When the directory cannot be read, also in its midst.
fn metainfo_files(
    directory: &Path,
) -> io::Result<impl Iterator<Item = io::Result<(PathBuf, Option<u64>)>>> {
    Ok(fs::read_dir(directory)?.filter_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let name = entry.file_name();
        if Path::new(&name).extension()? != "torrent" {
            return None;
        }
        let path = entry.path();
        // Follows links, as reading does.
        let stamp = fs::metadata(&path).ok().map(|metadata| stamp(&name, &metadata));
        Some(Ok((path, stamp)))
    }))
}

/// What a text file, or all of a directory, looks like. The order in which a directory lists its files
/// does not matter.
pub(super) fn look_at(path: &Path) -> Option<u64> {
    match metainfo_files(path) {
        Ok(files) => Some(files.fold(1_u64, |sum, file| {
            // One without a stamp cannot be read, which is seen when it is.
            sum.wrapping_add(file.ok().and_then(|(_, stamp)| stamp).unwrap_or(1))
        })),
        Err(_) => watch::look_at(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::files::tests::put_fifo;

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
        let listed = files.read().unwrap().list;
        assert_eq!(listed.len(), 3);
        assert!(listed.contains(&InfoHash([1; 20])) && listed.contains(&InfoHash([2; 20])));
    }

    #[test]
    fn a_file_that_is_no_torrent_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.torrent"), "half of").unwrap();
        let mut files = TorrentFiles::new(written(), vec![directory.path().to_owned()]);
        assert_eq!(files.read().unwrap().list.len(), 1);
        fs::write(directory.path().join("a.torrent"), torrent("a")).unwrap();
        assert_eq!(files.read().unwrap().list.len(), 2);
    }

    #[test]
    fn torrents_that_are_taken_away_or_replaced_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.torrent");
        fs::write(&path, torrent("a")).unwrap();
        let mut files = TorrentFiles::new(Vec::new(), vec![directory.path().to_owned()]);
        let first = files.read().unwrap().list;
        let other = directory.path().join("other");
        fs::write(&other, torrent("b")).unwrap();
        fs::rename(&other, &path).unwrap();
        let second = files.read().unwrap().list;
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
        fs::remove_file(&path).unwrap();
        assert_eq!(files.read().unwrap().list, HashSet::new());
        assert!(files.known.is_empty());
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error() {
        let mut files = TorrentFiles::new(Vec::new(), vec!["/no/such/list".into()]);
        assert!(files.read().is_err());
    }
    #[test]
    fn a_torrent_that_is_no_file_is_left_out_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        put_fifo(&directory.path().join("a.torrent"));
        symlink("/dev/zero", directory.path().join("b.torrent")).unwrap();
        symlink("/no/such/file", directory.path().join("c.torrent")).unwrap();
        fs::write(directory.path().join("d.torrent"), torrent("d")).unwrap();
        let mut files = TorrentFiles::new(Vec::new(), vec![directory.path().to_owned()]);
        let Loaded { list, missing } = files.read().unwrap();
        assert_eq!(list.len(), 1);
        assert!(missing.is_none());
    }

    #[test]
    fn a_torrent_that_could_not_be_read_is_missing_until_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.torrent");
        // A loop of links cannot even be looked at.
        symlink("a.torrent", &path).unwrap();
        let mut files = TorrentFiles::new(Vec::new(), vec![directory.path().to_owned()]);
        for _ in 0..2 {
            let Loaded { list, missing } = files.read().unwrap();
            assert!(list.is_empty());
            let missing = missing.unwrap().to_string();
            assert!(missing.starts_with("cannot read 1 of the files in "), "{missing}");
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, torrent("a")).unwrap();
        let Loaded { list, missing } = files.read().unwrap();
        assert_eq!(list.len(), 1);
        assert!(missing.is_none());
    }
}
