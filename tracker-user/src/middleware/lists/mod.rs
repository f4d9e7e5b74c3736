//! Lists in files, read again when the files change.
//!
//! * [`text`]: one entry a line;
//! * [`networks`]: networks and ranges, one a line;
//! * [`torrents`]: info-hashes, in text files and in directories of `.torrent` files, which
//!   [`metainfo`] reads.

mod changes;
mod metainfo;
mod networks;
mod text;
mod torrents;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

pub(super) use changes::{Changes, Entries};
pub(super) use networks::read_networks;
pub(super) use text::read_words;
pub(super) use torrents::TorrentFiles;

use super::background::Background;
use crate::{
    log_limit::Trouble,
    metrics::{Metrics, Refreshes},
    pipeline::Live,
    watch::Watch,
};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Looking takes at most this share of a processor: where there are very many files, they are looked
/// at less often.
const LOOK_SHARE: u32 = 20;

/// Why a list is not read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The system does not let us.
    #[error("cannot read the list {}", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line that cannot be read.
    #[error("{}:{line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Why not.
        reason: &'static str,
    },
    /// A line that is no entry, or more than one.
    #[error("{}:{line}: `{word}`: {reason}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The words that are none, cut short.
        word: String,
        /// What should.
        reason: String,
    },
    /// Files in a directory that the system does not let us read.
    #[error("cannot read {files} of the files in {}; one is {}", .directory.display(), .first.display())]
    Torrents {
        /// The directory.
        directory: PathBuf,
        /// How many.
        files: usize,
        /// One of them.
        first: PathBuf,
        /// What the system says of it.
        source: io::Error,
    },
}

/// What was read of lists.
pub(super) struct Loaded<T> {
    pub(super) list: T,
    /// What could not be read of it, if it is of use without.
    pub(super) missing: Option<ListError>,
}

impl<T> From<T> for Loaded<T> {
    fn from(list: T) -> Self {
        Self { list, missing: None }
    }
}

/// What `read` makes of `files`, now and whenever they have changed: see [`follow`]. Without files it
/// stays as it is, and there is no thread.
///
/// # Errors
/// As for [`follow`].
pub(super) fn live<
    T: Entries + Default + Send + Sync + 'static,
    E: From<ListError> + From<io::Error>,
>(
    hook: &'static str,
    files: Vec<PathBuf>,
    metrics: &Metrics,
    mut read: impl FnMut() -> Result<Loaded<T>, ListError> + Send + 'static,
) -> Result<(Live<T>, Option<Background>), E> {
    if files.is_empty() {
        return Ok((Live::new(read()?.list), None));
    }
    let list = Live::new(T::default());
    let replaced = list.clone();
    let replace = move |list: T| {
        let changes = list.changes_from(&replaced.latest());
        replaced.replace(list);
        changes
    };
    let background = follow::<T, E>(hook, files, metrics.hook_refreshes(hook), read, replace)?;
    Ok((list, Some(background)))
}

/// Calls `read`, and `replace` with what it returns, now and whenever the files have changed and come to rest,
/// for as long as the returned thread is kept. What `replace` says of the changes is logged. What fails, or is
/// not complete, is counted, logged, and tried again at each look; the lists before stay meanwhile.
///
/// # Errors
/// When the first `read` fails, or there can be no more threads.
pub(super) fn follow<T, E: From<ListError> + From<io::Error>>(
    hook: &'static str,
    files: Vec<PathBuf>,
    refreshes: Refreshes,
    mut read: impl FnMut() -> Result<Loaded<T>, ListError> + Send + 'static,
    mut replace: impl FnMut(T) -> Changes + Send + 'static,
) -> Result<Background, E> {
    let look = move || -> Vec<_> { files.iter().map(|file| torrents::look_at(file)).collect() };
    let seen = look();
    let mut watch = Watch::new(seen.clone());
    let mut report = Report { hook, refreshes, trouble: Trouble::default() };
    let Loaded { list, missing } = read()?;
    let Changes { entries, .. } = replace(list);
    tracing::info!("the hook `{hook}` has read its lists: {entries} entries");
    watch.settle(missing.is_none());
    // What is in force without being all of it.
    let mut incomplete = missing.map(|missing| (seen, text(missing)));
    if let Some((_, missing)) = &incomplete {
        report.is_incomplete(missing);
    }
    let step = move || {
        let started = Instant::now();
        let seen = look();
        let mut took = started.elapsed();
        if watch.is_due(seen.clone()) {
            let read = read().map_err(text);
            watch.settle(matches!(read, Ok(Loaded { missing: None, .. })));
            match read {
                Ok(Loaded { list, missing: None }) => {
                    incomplete = None;
                    report.is_read(replace(list));
                }
                Ok(Loaded { list, missing: Some(missing) }) => {
                    let missing = Some((seen, text(missing)));
                    if incomplete != missing {
                        report.changes(replace(list));
                        incomplete = missing;
                    }
                    report.is_incomplete(incomplete.as_ref().map_or("", |(_, missing)| missing));
                    took = started.elapsed();
                }
                Err(error) => {
                    report.has_failed(&error);
                    took = started.elapsed();
                }
            }
        }
        LOOK_INTERVAL.max(took * LOOK_SHARE)
    };
    Ok(Background::start("hook-lists", LOOK_INTERVAL, step)?)
}

fn text(error: ListError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Counts and logs what becomes of lists.
struct Report {
    hook: &'static str,
    refreshes: Refreshes,
    trouble: Trouble,
}

impl Report {
    fn is_read(&mut self, changes: Changes) {
        self.refreshes.succeeded.inc();
        if self.trouble.is_over() {
            tracing::info!("the hook `{}` has read its lists again", self.hook);
        }
        self.changes(changes);
    }

    fn changes(&self, changes: Changes) {
        tracing::info!("the hook `{}` has read its changed lists: {changes}", self.hook);
    }

    fn is_incomplete(&mut self, missing: &str) {
        self.refreshes.failed.inc();
        if self.trouble.goes_on(missing) {
            let hook = self.hook;
            tracing::warn!(
                "the hook `{hook}` goes by incomplete lists, and tries again: {missing}"
            );
        }
    }

    fn has_failed(&mut self, error: &str) {
        self.refreshes.failed.inc();
        if self.trouble.goes_on(error) {
            tracing::warn!(
                "the hook `{}` keeps its old lists, and tries again: {error}",
                self.hook
            );
        }
    }
}

#[cfg(test)]
mod tests;
