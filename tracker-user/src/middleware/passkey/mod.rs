//! The hook `passkey`: refuses announces without a good passkey. Scrapes pass.
//!
//! The key is the parameter `passkey`: of the route or the query (HTTP), or of the URL data (UDP,
//! BEP 41). Good keys are those in files, or those that a [`service`] says are good, which a [`cache`]
//! remembers.

mod cache;
mod service;
mod sources;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Instant, SystemTime},
};

use prometheus::IntCounter;

use super::{
    background::Background,
    client::Client,
    credentials::{Credentials, GRANT_WITHOUT_END},
    lists::{self, Entries as _, ListError, read_words},
};
use crate::{
    config::{PasskeyConfig, ServiceUrl},
    log_limit::Trouble,
    metrics::Metrics,
    pipeline::{AnnounceRequest, AnnounceResponse, GrantSink, Offload, PreHook, Refusal},
};
use cache::{Cache, Known, Limits};
use service::Service;

const NAME: &str = "passkey";

/// Longer keys are no good: nobody is asked about them.
const KEY_BYTES_MAX: usize = 64;

/// Why the hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// A file cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// No answer could be remembered, so every announce would wait.
    #[error("`answers_max` is 0")]
    NoAnswers,
    /// There can be no thread.
    #[error("cannot follow changes of the keys")]
    Thread(#[from] io::Error),
}

/// The hook.
pub struct Passkey {
    keys: Keys,
}

enum Keys {
    Listed {
        keys: Arc<Credentials<Listed>>,
        /// Follows the files.
        _background: Background,
    },
    Asked {
        cache: Credentials<Arc<Cache>>,
        /// Counts how often there was too much to ask.
        overloads: IntCounter,
        /// Counts keys of sources that had brought too many.
        source_limited: IntCounter,
    },
}

type Listed = HashSet<String>;

impl Passkey {
    /// Makes the hook, and reads its files. The service is not asked yet.
    ///
    /// # Errors
    /// When a file cannot be read, or an option is out of its range.
    pub fn new(
        config: &PasskeyConfig,
        metrics: &Metrics,
        grants: Arc<dyn GrantSink>,
    ) -> Result<Self, PasskeyError> {
        let keys = match &config.url {
            None => Keys::of_files(config.files.clone(), metrics, grants)?,
            Some(url) => {
                let (keys, service, woken) = Keys::of_service(config, url, metrics, grants)?;
                service.start(woken)?;
                keys
            }
        };
        Ok(Self { keys })
    }
}

impl Keys {
    fn of_files(
        files: Vec<PathBuf>,
        metrics: &Metrics,
        grants: Arc<dyn GrantSink>,
    ) -> Result<Self, PasskeyError> {
        let keys = Arc::new(Credentials::new(Listed::new(), grants));
        let (listed, paths) = (Arc::downgrade(&keys), files.clone());
        let read = move || read_files(&paths).map(lists::Loaded::from);
        let replace = move |next| {
            let mut changes = None;
            if let Some(keys) = listed.upgrade() {
                keys.replace(next, |next, before| {
                    changes.insert(next.changes_from(before)).gone == 0
                });
            }
            changes.unwrap_or_default()
        };
        let refreshes = metrics.hook_refreshes(NAME);
        let background = lists::follow::<_, PasskeyError>(NAME, files, refreshes, read, replace)?;
        Ok(Self::Listed { keys, _background: background })
    }

    /// The keys, what gets answers for them, and what tells it to.
    fn of_service(
        config: &PasskeyConfig,
        url: &ServiceUrl,
        metrics: &Metrics,
        grants: Arc<dyn GrantSink>,
    ) -> Result<(Self, Service, Receiver<()>), PasskeyError> {
        let limits = Limits::of(config).ok_or(PasskeyError::NoAnswers)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let cache = Arc::new(Cache::new(limits, wake));
        let service = Service {
            client: Client::new(*config.timeout),
            url: url.clone(),
            cache: Arc::downgrade(&cache),
            refreshes: metrics.hook_refreshes(NAME),
            trouble: Trouble::default(),
        };
        let overloads = metrics.limit_reached("passkey_questions");
        let source_limited = metrics.limit_reached("passkeys_per_source");
        let cache = Credentials::new(cache, grants);
        Ok((Self::Asked { cache, overloads, source_limited }, service, woken))
    }
}

fn read_files(files: &[PathBuf]) -> Result<Listed, ListError> {
    let mut keys = Listed::new();
    for file in files {
        read_words(file, |key: String| {
            keys.insert(key);
        })
        .map_err(without_key)?;
    }
    Ok(keys)
}

/// Removes the words of the line from the error: they may be a member's key, and the error is logged.
fn without_key(error: ListError) -> ListError {
    match error {
        ListError::Entry { path, line, reason, .. } => {
            ListError::Entry { path, line, word: "…".to_owned(), reason }
        }
        other => other,
    }
}

impl PreHook for Passkey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn announce(
        &self,
        request: &AnnounceRequest,
        _response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        let Some(key) = request.params.get("passkey") else {
            return Err(Refusal::Client(Cow::Borrowed("unapproved request: missing passkey")));
        };
        match &self.keys {
            Keys::Listed { keys, .. } => keys.approve(request, |keys| {
                let is_good = keys.contains(key);
                is_good.then(|| Some(SystemTime::now() + GRANT_WITHOUT_END)).ok_or(INVALID)
            }),
            Keys::Asked { .. } if key.len() > KEY_BYTES_MAX => Err(INVALID),
            Keys::Asked { cache, overloads, source_limited } => {
                let (source, now) = (request.peer.ip(), Instant::now());
                cache.approve(request, |cache| match cache.look_up(key, source, now) {
                    Known::Admitted(until) => {
                        let left = until.checked_duration_since(now);
                        Ok(left.map(|left| SystemTime::now() + left))
                    }
                    Known::Refused => Err(INVALID),
                    Known::Unknown => Err(no_answer("is not answered by its service")),
                    Known::Overloaded => {
                        overloads.inc();
                        Err(no_answer("has too much to ask"))
                    }
                    Known::SourceLimited => {
                        source_limited.inc();
                        Err(SOURCE_LIMITED)
                    }
                    Known::Asking(pending) => Err(Refusal::Pending(pending)),
                })
            }
        }
    }

    fn revision(&self) -> u64 {
        match &self.keys {
            Keys::Listed { keys, .. } => keys.revision(),
            // It is asked again with the next announce.
            Keys::Asked { .. } => 0,
        }
    }

    fn offload(&self) -> Offload {
        Offload::Grants
    }
}

const INVALID: Refusal = Refusal::Client(Cow::Borrowed("unapproved request: invalid passkey"));

/// Not that the key is invalid, which it need not be.
const SOURCE_LIMITED: Refusal =
    Refusal::Client(Cow::Borrowed("unapproved request: too many unknown passkeys"));

fn no_answer(cause: &str) -> Refusal {
    Refusal::Internal(format!("the hook `{NAME}` {cause}"))
}
