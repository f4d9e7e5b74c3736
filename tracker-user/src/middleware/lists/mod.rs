//! Lists in files, read again when the files change.
//!
//! * [`text`]: one entry a line;
//! * [`torrents`]: info-hashes, in text files and in directories of `.torrent` files, which
//!   [`metainfo`] reads.

mod metainfo;
mod text;
mod torrents;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

pub(super) use text::read_text;
pub(super) use torrents::TorrentFiles;

use super::background::Background;
use crate::{
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
    /// A line that is no entry.
    #[error("{}:{line}: `{word}`: {reason}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        word: String,
        /// What should.
        reason: String,
    },
}

/// What `read` makes of `files`, now and whenever they have changed: see [`follow`]. Without files it
/// stays as it is, and there is no thread.
///
/// # Errors
/// As for [`follow`].
pub(super) fn live<T: Default + Send + Sync + 'static, E: From<ListError> + From<io::Error>>(
    hook: &'static str,
    files: Vec<PathBuf>,
    metrics: &Metrics,
    mut read: impl FnMut() -> Result<T, ListError> + Send + 'static,
) -> Result<(Live<T>, Option<Background>), E> {
    if files.is_empty() {
        return Ok((Live::new(read()?), None));
    }
    let list = Live::new(T::default());
    let replaced = list.clone();
    let replace = move || {
        replaced.replace(read()?);
        Ok(())
    };
    let background = follow::<E>(hook, files, metrics.hook_refreshes(hook), replace)?;
    Ok((list, Some(background)))
}

/// Calls `read`, which puts what is in `files` into force, now and whenever they have changed and come
/// to rest, for as long as the returned thread is kept. When `read` fails, that is counted and logged.
///
/// # Errors
/// When the first `read` fails, or there can be no more threads.
pub(super) fn follow<E: From<ListError> + From<io::Error>>(
    hook: &'static str,
    files: Vec<PathBuf>,
    refreshes: Refreshes,
    mut read: impl FnMut() -> Result<(), ListError> + Send + 'static,
) -> Result<Background, E> {
    let look = move || -> Vec<_> { files.iter().map(|file| torrents::look_at(file)).collect() };
    let mut watch = Watch::new(look());
    read()?;
    let step = move || {
        let started = Instant::now();
        let look = look();
        let took = started.elapsed();
        if watch.has_changed(look) {
            match read() {
                Ok(()) => {
                    refreshes.succeeded.inc();
                    tracing::info!("the hook `{hook}` has read its changed lists");
                }
                Err(error) => {
                    refreshes.failed.inc();
                    let error = anyhow::Error::from(error);
                    tracing::warn!("the hook `{hook}` keeps its old lists: {error:#}");
                }
            }
        }
        LOOK_INTERVAL.max(took * LOOK_SHARE)
    };
    Ok(Background::start("hook-lists", LOOK_INTERVAL, step)?)
}
