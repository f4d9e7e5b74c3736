//! What a configuration amounts to, made and checked before anything is started or changed.

use std::{sync::Arc, time::SystemTime};

use super::{
    found::{Found, Occasion},
    frontends::FrontendSettings,
    hooks::HookMaker,
    kept::Grantors,
    offline::is_certificate_told,
    options::{certificate_files, udp_settings},
    secrets::ConnectionKey,
};
use crate::{
    config::{Config, key},
    http::{self, Certificate, CertificateFiles},
    pipeline::{Pipeline, PostHook, PreHook},
    storage::Storage,
};

/// All that can be exchanged while a tracker runs.
pub(super) struct Prepared {
    pub(super) config: Config,
    pre_hooks: Vec<Arc<dyn PreHook>>,
    post_hooks: Vec<Box<dyn PostHook>>,
    http: http::Settings,
    certificate: Option<(Certificate, CertificateFiles)>,
}

impl Prepared {
    /// Makes it, and changes nothing else. Nothing is made where the configuration, or a file that it names, is
    /// wrong; what is wrong is then among what is `found`.
    pub(super) fn new(
        config: Config,
        hooks: &HookMaker,
        occasion: Occasion,
        found: &mut Found,
    ) -> Option<Self> {
        let is_certificate_here = is_certificate_told(&config, occasion, found);
        let of_http = |found: &mut Found, error: anyhow::Error| {
            found.error_below(key("http"), "/http", &error);
        };
        let http = http::Settings::new(config.http.clone())
            .map_err(|error| of_http(found, error.into()))
            .ok();
        let files = certificate_files(&config).filter(|_| is_certificate_here);
        let certificate = files.map(|files| {
            let loaded = Certificate::load(&files).map_err(|error| of_http(found, error.into()));
            let loaded = loaded.ok()?;
            if let Some(warning) = loaded.warning(SystemTime::now()) {
                found.warning(key("http.tls_cert_path"), warning);
            }
            Some((loaded, files))
        });
        let pre_hooks = hooks.pre_hooks(&config, occasion, found);
        let post_hooks = hooks.post_hooks(&config, found);
        Some(Self {
            pre_hooks: pre_hooks?,
            post_hooks: post_hooks?,
            http: http?,
            certificate: match certificate {
                Some(certificate) => Some(certificate?),
                None => None,
            },
            config,
        })
    }

    /// The hooks that leave grants.
    pub(super) fn grantors(&self) -> Grantors {
        Grantors::of(&self.pre_hooks)
    }

    /// What it is made from.
    pub(super) fn config(&self) -> &Config {
        &self.config
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
            pre_hooks.into_iter().map(|hook| Box::new(hook) as _).collect(),
            post_hooks,
            config.announce_interval.whole_seconds(),
            config.min_announce_interval.whole_seconds(),
        );
        let udp = udp_settings(&config, key.ids(&config.udp), http.routes());
        (config, pipeline, FrontendSettings { http, certificate, udp })
    }
}
