//! What a configuration amounts to, made and checked before anything is started or changed.

use std::{sync::Arc, time::SystemTime};

use anyhow::Context as _;

use super::{
    frontends::FrontendSettings,
    hooks::HookMaker,
    options::{certificate_files, http_options, seconds},
    secrets::ConnectionKey,
};
use crate::{
    config::Config,
    dataplane,
    http::{self, Certificate, CertificateFiles},
    pipeline::{Pipeline, PostHook, PreHook},
    storage::{Storage, memory::snapshot, redis},
};

/// All that can be exchanged while a tracker runs.
pub(super) struct Prepared {
    pub(super) config: Config,
    pre_hooks: Vec<Box<dyn PreHook>>,
    post_hooks: Vec<Box<dyn PostHook>>,
    http: http::Settings,
    certificate: Option<(Certificate, CertificateFiles)>,
}

impl Prepared {
    /// Makes it, and changes nothing else.
    ///
    /// # Errors
    /// What is wrong with the configuration or with a file that it names.
    pub(super) fn new(config: Config, hooks: &HookMaker) -> anyhow::Result<Self> {
        dataplane::interfaces(&config)?;
        let http = http::Settings::new(http_options(&config)).context("http")?;
        let certificate = certificate_files(&config)
            .map(|files| anyhow::Ok((Certificate::load(&files)?, files)))
            .transpose()
            .context("http")?;
        redis::check_files(&config.storage).context("storage.config")?;
        snapshot::check_file(&config.storage).context("storage.config")?;
        Ok(Self {
            pre_hooks: hooks.pre_hooks(&config)?,
            post_hooks: hooks.post_hooks(&config)?,
            http,
            certificate,
            config,
        })
    }

    /// What will be trouble soon, though a tracker can start with it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let certificate = self.certificate.as_ref();
        certificate
            .and_then(|(certificate, _)| certificate.warning(SystemTime::now()))
            .map(|warning| format!("http: {warning}"))
            .into_iter()
            .collect()
    }

    pub(super) fn log_warnings(&self) {
        for warning in self.warnings() {
            tracing::warn!("{warning}");
        }
    }

    /// Divides it among those it is for: hooks before `storage` and, where it wants to hear
    /// of announces, `feed` after it; settings of the frontends.
    pub(super) fn split(
        self,
        storage: Arc<dyn Storage>,
        feed: Option<Box<dyn PostHook>>,
        key: &ConnectionKey,
    ) -> (Config, Pipeline, FrontendSettings) {
        let Self { config, pre_hooks, mut post_hooks, http, certificate } = self;
        post_hooks.extend(feed);
        let pipeline = Pipeline::new(
            storage,
            pre_hooks,
            post_hooks,
            seconds(&config.announce_interval),
            seconds(&config.min_announce_interval),
        );
        let connection_ids = key.ids(&config.udp);
        (config, pipeline, FrontendSettings { http, certificate, connection_ids })
    }
}
