//! From the names of hooks to hooks.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

use anyhow::{Context as _, bail};

use super::preflight::{self, Found, Occasion};
use crate::{
    config::{
        Config, HookConfig, Network, PreferredSubnetConfig, ReportConfig, ReportedAnnounces, key,
    },
    dataplane::Grants,
    metrics::Metrics,
    middleware::{
        ClientApproval, ClientApprovalOptions, IntervalVariation, IntervalVariationOptions,
        IpApproval, IpApprovalOptions, Jwt, JwtOptions, Passkey, PasskeyOptions, PasskeyService,
        PortApproval, PreferredSubnet, Report, ReportOptions, Reports, TorrentApproval,
        TorrentApprovalOptions,
    },
    pipeline::{self, GrantSink, Interest, PostHook, PreHook},
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
}

impl HookMaker {
    pub(super) fn new(own: &OwnHooks, metrics: &Arc<Metrics>) -> Self {
        let (grants, reports) = (Arc::default(), Reports::default());
        Self { own: own.clone(), grants, metrics: Arc::clone(metrics), reports }
    }

    /// Where its hooks leave grants.
    pub(super) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// The pre-hooks: those of the configuration in its order, then one's own. Takes as long as it takes to
    /// read their lists and to fetch their keys. `None` where one of them cannot be made; what is wrong with each
    /// is then among what is `found`.
    pub(super) fn pre_hooks(
        &self,
        config: &Config,
        occasion: Occasion,
        found: &mut Found,
    ) -> Option<Vec<Box<dyn PreHook>>> {
        let grants: Arc<dyn GrantSink> = self.grants.clone();
        let mut hooks = Vec::new();
        let mut is_complete = true;
        for (index, hook) in config.prehooks.iter().enumerate() {
            if let Some(why) = preflight::leaves_out(hook, occasion) {
                found.note(format!("not told: prehooks[{index}] ({}): {why}", hook.name()));
                continue;
            }
            match pre_hook(hook, &self.metrics, &grants) {
                Ok(hook) => hooks.push(hook),
                Err(error) => {
                    is_complete = false;
                    cannot_be_made("prehooks", index, hook, error, found);
                }
            }
        }
        hooks.extend(self.own.pre_hooks.iter().map(|hook| Box::new(Arc::clone(hook)) as _));
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
            let HookConfig::Report(options) = hook else { continue };
            match self.report(options) {
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

    fn report(&self, options: &ReportConfig) -> anyhow::Result<Arc<Report>> {
        let options = options.clone();
        let names: BTreeSet<_> =
            options.parameters.iter().map(|name| name.to_ascii_lowercase()).collect();
        let options = ReportOptions {
            url: options.url,
            interest: match options.announces {
                ReportedAnnounces::Every => Interest::Every,
                ReportedAnnounces::Transitions => Interest::Transitions,
            },
            parameters: names.into_iter().collect(),
            interval: *options.interval,
            timeout: *options.timeout,
            batch_max: NonZeroUsize::new(options.batch_max as usize).context("`batch_max` is 0")?,
            queue_max: options.queue_max as usize,
        };
        Ok(self.reports.get(options, &self.metrics)?)
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
) -> anyhow::Result<Box<dyn PreHook>> {
    Ok(match config {
        HookConfig::Jwt(options) => {
            let options = options.clone();
            let options = JwtOptions {
                issuer: options.issuer,
                audience: options.audience,
                jwk_set_url: options.jwk_set_url,
                jwk_set_update_interval: *options.jwk_set_update_interval,
            };
            Box::new(Jwt::new(options, metrics, Arc::clone(grants))?)
        }
        HookConfig::Passkey(options) => {
            let options = options.clone();
            let options = match options.url {
                None => PasskeyOptions::Files(options.files),
                Some(url) => PasskeyOptions::Service(PasskeyService {
                    url,
                    timeout: *options.timeout,
                    admitted_lifetime: *options.admitted_lifetime,
                    refused_lifetime: *options.refused_lifetime,
                    answers_max: NonZeroUsize::new(options.answers_max as usize)
                        .context("`answers_max` is 0")?,
                    unknown_keys: options.unknown_keys,
                    unknown_keys_per_source: options.unknown_keys_per_source,
                }),
            };
            Box::new(Passkey::new(options, metrics, Arc::clone(grants))?)
        }
        HookConfig::TorrentApproval(options) => {
            let options = options.clone();
            let options = TorrentApprovalOptions {
                whitelist: options.whitelist,
                whitelist_files: options.whitelist_files,
                blacklist: options.blacklist,
                blacklist_files: options.blacklist_files,
            };
            Box::new(TorrentApproval::new(options, metrics)?)
        }
        HookConfig::ClientApproval(options) => {
            Box::new(ClientApproval::new(ClientApprovalOptions {
                whitelist: options.whitelist.clone(),
                blacklist: options.blacklist.clone(),
            })?)
        }
        HookConfig::IpApproval(options) => {
            let options = options.clone();
            let networks = |list: Vec<Network>| list.into_iter().map(Into::into).collect();
            let options = IpApprovalOptions {
                allow: networks(options.allow),
                allow_files: options.allow_files,
                deny: networks(options.deny),
                deny_files: options.deny_files,
            };
            Box::new(IpApproval::new(options, metrics)?)
        }
        HookConfig::PortApproval(options) => Box::new(PortApproval::new(options)?),
        HookConfig::IntervalVariation(options) => {
            Box::new(IntervalVariation::new(&IntervalVariationOptions {
                modify_response_probability: options.modify_response_probability,
                max_increase_delta_s: options.max_increase_delta,
                modify_min_interval: options.modify_min_interval,
            })?)
        }
        HookConfig::PreferredSubnet(options) => Box::new(PreferredSubnet::new(bits(options))?),
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
