//! The hook `jwt`: refuses announces without a JSON web token for their torrent. Scrapes pass.
//!
//! The token is the parameter `jwt`: of the query or the route (HTTP), or of the URL data (UDP,
//! BEP 41). [`token`] verifies it by the [`keys`] that the issuer publishes.

mod keys;
#[cfg(test)]
mod tests;
mod token;

use std::{
    borrow::Cow,
    io,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use prometheus::IntCounterVec;
use serde_json::Value;

use super::{
    background::Background,
    client::{Client, ClientError},
    credentials::{Credentials, GRANT_WITHOUT_END},
};
use crate::{
    config::{JwtConfig, ServiceUrl},
    log_limit::Trouble,
    metrics::{Metrics, Refreshes},
    pipeline::{AnnounceRequest, AnnounceResponse, GrantSink, Offload, PreHook, Refusal},
};
use keys::KeySet;
pub use keys::KeySetError;
use token::Expected;

const NAME: &str = "jwt";

/// How long the issuer may take to send its keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// No keys: every announce would be refused.
    #[error("cannot fetch the keys at {url}: is jwk_set_url right, and can this host reach it?")]
    Keys {
        /// Where they should be.
        url: ServiceUrl,
        /// Why they cannot be had.
        source: KeysError,
    },
    /// There can be no thread.
    #[error("cannot follow changes of the keys")]
    Thread(#[from] io::Error),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// They cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] ClientError),
    /// What was fetched is of no use.
    #[error(transparent)]
    Set(#[from] KeySetError),
}

/// The hook.
pub struct Jwt {
    expected: Expected,
    keys: Arc<Credentials<KeySet>>,
    refusals: IntCounterVec,
    /// Fetches the keys.
    _background: Option<Background>,
}

impl Jwt {
    /// Makes the hook, and fetches the keys: this takes up to ten seconds.
    ///
    /// # Errors
    /// When the keys cannot be had.
    pub fn new(
        config: &JwtConfig,
        metrics: &Metrics,
        grants: Arc<dyn GrantSink>,
    ) -> Result<Self, JwtError> {
        let interval = *config.jwk_set_update_interval;
        let (hook, mut updater) = Self::make(config, metrics, grants)?;
        let step = move || {
            updater.update();
            interval
        };
        Ok(Self { _background: Some(Background::start("hook-jwt", interval, step)?), ..hook })
    }

    fn make(
        config: &JwtConfig,
        metrics: &Metrics,
        grants: Arc<dyn GrantSink>,
    ) -> Result<(Self, Updater), JwtError> {
        let JwtConfig { issuer, audience, jwk_set_url: url, .. } = config.clone();
        let client = Client::new(FETCH_TIMEOUT);
        let first =
            fetch(&client, &url).map_err(|source| JwtError::Keys { url: url.clone(), source })?;
        let keys = Arc::new(Credentials::new(first, grants));
        let updater = Updater {
            client,
            url,
            keys: Arc::downgrade(&keys),
            refreshes: metrics.hook_refreshes(NAME),
            trouble: Trouble::default(),
        };
        let (expected, refusals) = (Expected { issuer, audience }, metrics.jwt_refusals());
        Ok((Self { expected, keys, refusals, _background: None }, updater))
    }
}

impl PreHook for Jwt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn announce(
        &self,
        request: &AnnounceRequest,
        _response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        let Some(token) = request.params.get("jwt") else {
            return Err(Refusal::Client(Cow::Borrowed("unapproved request: missing jwt")));
        };
        let now = SystemTime::now();
        self.keys.approve(request, |keys| {
            match token::verify(token, keys, &self.expected, &request.info_hash, now) {
                Ok(expires_at) => Ok(expires_at.or(Some(now + GRANT_WITHOUT_END))),
                Err(error) => {
                    self.refusals.with_label_values(&[error.label()]).inc();
                    Err(Refusal::Client(Cow::Borrowed("unapproved request: invalid jwt")))
                }
            }
        })
    }

    fn offload(&self) -> Offload {
        Offload::Grants
    }

    fn revision(&self) -> u64 {
        self.keys.revision()
    }
}

/// Fetches the keys again and again.
struct Updater {
    client: Client,
    url: ServiceUrl,
    /// Gone when the hook is, even if a fetch is still under way.
    keys: Weak<Credentials<KeySet>>,
    refreshes: Refreshes,
    trouble: Trouble,
}

impl Updater {
    /// Exchanges the keys; those that there are stay if no others can be had.
    fn update(&mut self) {
        let fetched = fetch(&self.client, &self.url);
        let Some(keys) = self.keys.upgrade() else { return };
        match fetched {
            Ok(next) => {
                keys.replace(next, KeySet::contains);
                self.refreshes.succeeded.inc();
                if self.trouble.is_over() {
                    tracing::info!("the hook `{NAME}` has fetched keys again");
                }
            }
            Err(error) => {
                self.refreshes.failed.inc();
                let (url, error) = (&self.url, format!("{:#}", anyhow::Error::from(error)));
                if self.trouble.goes_on(&error) {
                    tracing::warn!("the hook `{NAME}` keeps its keys: none from {url}: {error}");
                }
            }
        }
    }
}

fn fetch(client: &Client, url: &ServiceUrl) -> Result<KeySet, KeysError> {
    Ok(KeySet::read(&client.get::<Value>(url.reveal())?)?)
}
