//! From the names of hooks to hooks.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use tracker_common::policy::RANKS;

use super::{
    found::{Found, Occasion},
    kept::KeptHooks,
    offline::leaves_out,
};
use crate::{
    config::{Config, HookConfig, PreferredSubnetConfig, key},
    dataplane::Grants,
    metrics::Metrics,
    middleware::{
        ClientApproval, IntervalVariation, IpApproval, Jwt, Passkey, PortApproval, PreferredSubnet,
        Report, Reports, TorrentApproval,
    },
    pipeline::{self, GrantSink, PostHook, PreHook},
};

/// Hooks of the program that embeds the tracker. They come after those of the configuration, and stay when it is
/// reloaded.
#[derive(Clone, Default)]
pub(super) struct OwnHooks {
    /// Run before a reply is made.
    pub(super) pre_hooks: Vec<Arc<dyn PreHook>>,
    /// Run after it.
    pub(super) post_hooks: Vec<Arc<dyn PostHook>>,
}

/// What hooks are made with, at the start and at each reload.
pub(super) struct HookMaker {
    own: OwnHooks,
    grants: Arc<Grants>,
    metrics: Arc<Metrics>,
    reports: Reports,
    /// Those in force.
    kept_pre_hooks: KeptHooks<dyn PreHook>,
    kept_reports: KeptHooks<Report>,
}

impl HookMaker {
    pub(super) fn new(own: &OwnHooks, metrics: &Arc<Metrics>) -> Self {
        Self {
            own: own.clone(),
            grants: Arc::default(),
            metrics: Arc::clone(metrics),
            reports: Reports::default(),
            kept_pre_hooks: KeptHooks::default(),
            kept_reports: KeptHooks::default(),
        }
    }

    /// Where its hooks leave grants.
    pub(super) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// The pre-hooks: those of the configuration in its order, then one's own. Takes as long as it takes to
    /// read the lists and to fetch the keys of those that are not in force already. `None` where one of them cannot be made; what is wrong with each
    /// is then among what is `found`.
    pub(super) fn pre_hooks(
        &self,
        config: &Config,
        occasion: Occasion,
        found: &mut Found,
    ) -> Option<Vec<Arc<dyn PreHook>>> {
        let grants: Arc<dyn GrantSink> = self.grants.clone();
        let mut hooks = Vec::new();
        let mut is_complete = true;
        for (index, hook) in config.prehooks.iter().enumerate() {
            if let Some(why) = leaves_out(hook, occasion) {
                found.note(format!("not told: prehooks[{index}] ({}): {why}", hook.name()));
                continue;
            }
            let make = || pre_hook(hook, &self.metrics, &grants);
            match self.kept_pre_hooks.get(hook, make) {
                Ok(hook) => hooks.push(hook),
                Err(error) => {
                    is_complete = false;
                    cannot_be_made("prehooks", index, hook, error, found);
                }
            }
        }
        hooks.extend(self.own.pre_hooks.iter().cloned());
        if hooks.len() > RANKS as usize {
            is_complete = false;
            let error = anyhow!("{} hooks are more than {RANKS}; leave some out", hooks.len());
            found.error_below(key("prehooks"), "/prehooks", &error);
        }
        is_complete.then_some(hooks)
    }

    /// The post-hooks: those of the configuration, then one's own. Chihaya's have no effect after a reply. `None`
    /// as for [`HookMaker::pre_hooks`].
    pub(super) fn post_hooks(
        &self,
        config: &Config,
        found: &mut Found,
    ) -> Option<Vec<Box<dyn PostHook>>> {
        let mut hooks: Vec<Box<dyn PostHook>> = Vec::new();
        let mut is_complete = true;
        for (index, hook) in config.posthooks.iter().enumerate() {
            let HookConfig::Report(config) = hook else { continue };
            let make = || Ok(self.reports.start(config, &self.metrics)?);
            match self.kept_reports.get(hook, make) {
                Ok(hook) => hooks.push(Box::new(hook)),
                Err(error) => {
                    is_complete = false;
                    cannot_be_made("posthooks", index, hook, error, found);
                }
            }
        }
        hooks.extend(self.own.post_hooks.iter().map(|hook| Box::new(Arc::clone(hook)) as _));
        is_complete.then_some(hooks)
    }

    /// To be called when nothing will be announced any more. May take a few seconds.
    pub(super) fn stop(&self) {
        self.reports.stop(&self.metrics);
    }
}

/// Says what is wrong with one of the hooks in this list.
fn cannot_be_made(
    list: &str,
    index: usize,
    hook: &HookConfig,
    error: anyhow::Error,
    found: &mut Found,
) {
    let error = error.context(format!("the hook `{}`", hook.name()));
    found.error_below(key(list).index(index), &format!("/{list}/{index}"), &error);
}

fn pre_hook(
    config: &HookConfig,
    metrics: &Metrics,
    grants: &Arc<dyn GrantSink>,
) -> anyhow::Result<Arc<dyn PreHook>> {
    Ok(match config {
        HookConfig::Jwt(config) => Arc::new(Jwt::new(config, metrics, Arc::clone(grants))?),
        HookConfig::Passkey(config) => Arc::new(Passkey::new(config, metrics, Arc::clone(grants))?),
        HookConfig::TorrentApproval(config) => Arc::new(TorrentApproval::new(config, metrics)?),
        HookConfig::ClientApproval(config) => Arc::new(ClientApproval::new(config)?),
        HookConfig::IpApproval(config) => Arc::new(IpApproval::new(config, metrics)?),
        HookConfig::PortApproval(config) => Arc::new(PortApproval::new(config)?),
        HookConfig::IntervalVariation(config) => Arc::new(IntervalVariation::new(config)?),
        HookConfig::PreferredSubnet(config) => Arc::new(PreferredSubnet::new(bits(config))?),
        HookConfig::Report(_) => bail!("only runs after a reply: put it into posthooks"),
    })
}

/// The subnet by which peers are chosen. It shapes the table.
pub(super) fn preferred_subnet(config: &Config) -> pipeline::PreferredSubnet {
    let given = config.prehooks.iter().find_map(|hook| match hook {
        HookConfig::PreferredSubnet(options) => Some(bits(options)),
        _ => None,
    });
    given.unwrap_or_default()
}

const fn bits(options: &PreferredSubnetConfig) -> pipeline::PreferredSubnet {
    pipeline::PreferredSubnet {
        ipv4_bits: options.preferred_ipv4_subnet_mask_bits_set,
        ipv6_bits: options.preferred_ipv6_subnet_mask_bits_set,
    }
}
