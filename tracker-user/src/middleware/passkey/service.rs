//! Asks a service which passkeys are good.
//!
//! It is sent `{"passkeys": ["...", "..."]}` by POST, and answers with the same, reduced to those that
//! are. One question is under way at a time; what comes up meanwhile is put into the next.

use std::{
    collections::HashSet,
    io,
    sync::{Weak, mpsc::Receiver},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::{NAME, cache::Cache};
use crate::{
    config::ServiceUrl,
    log_limit::Trouble,
    metrics::Refreshes,
    middleware::client::{Client, ClientError},
    privileges,
};

#[derive(Serialize)]
struct Question<'a> {
    passkeys: &'a [String],
}

#[derive(Deserialize)]
struct Answer {
    passkeys: HashSet<String>,
}

/// Gets a cache its answers.
pub(super) struct Service {
    pub(super) client: Client,
    pub(super) url: ServiceUrl,
    pub(super) cache: Weak<Cache>,
    pub(super) refreshes: Refreshes,
    pub(super) trouble: Trouble,
}

impl Service {
    /// Asks whenever `woken`, in a thread that ends with the cache.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(mut self, woken: Receiver<()>) -> io::Result<()> {
        privileges::spawn("hook-passkey", move || {
            while woken.recv().is_ok() {
                self.ask();
            }
        })?;
        Ok(())
    }

    /// Asks what is to be asked, if there is something.
    pub(super) fn ask(&mut self) {
        let Some(cache) = self.cache.upgrade() else { return };
        let Some(question) = cache.question() else { return };
        let good = self.good_among(&question.keys);
        match good {
            Ok(good) => {
                cache.answer(question, &good, Instant::now());
                self.refreshes.succeeded.inc();
                if self.trouble.is_over() {
                    tracing::info!("the hook `{NAME}` is answered by its service again");
                }
            }
            Err(error) => {
                cache.give_up(question, Instant::now());
                self.refreshes.failed.inc();
                let (url, error) = (&self.url, format!("{:#}", anyhow::Error::from(error)));
                if self.trouble.goes_on(&error) {
                    tracing::warn!(
                        "the hook `{NAME}` goes by what it knows, and fails for other keys: {url} \
                         does not answer: {error}"
                    );
                }
            }
        }
    }

    fn good_among(&self, keys: &[String]) -> Result<HashSet<String>, ClientError> {
        let answer: Answer = self.client.post(self.url.reveal(), &Question { passkeys: keys })?;
        Ok(answer.passkeys)
    }
}
