//! What is wrong with a hook's options that their types cannot say.

use std::time::Duration;

use ::http::Uri;

use super::{
    ClientApprovalConfig, HookConfig, JwtConfig, PasskeyConfig, PreferredSubnetConfig,
    ReportConfig, TorrentApprovalConfig,
};
use crate::config::{ServiceUrl, finding::Findings, path::Path};

/// A service is not to be asked more often.
const REPORT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Each is looked for in each announce. The schema has the same number.
const REPORT_PARAMETERS_MAX: usize = 16;

impl HookConfig {
    /// Reports what is wrong with the options, which stand at `path`.
    pub(in crate::config) fn validate(&self, path: &Path, findings: &mut Findings) {
        match self {
            Self::Jwt(options) => jwt(options, path, findings),
            Self::Passkey(options) => passkey(options, path, findings),
            Self::TorrentApproval(options) => {
                let TorrentApprovalConfig { whitelist, whitelist_files, .. } = options;
                let TorrentApprovalConfig { blacklist, blacklist_files, .. } = options;
                let whitelist = whitelist.as_ref().map(Vec::is_empty);
                let has_blacklist = !blacklist.is_empty() || !blacklist_files.is_empty();
                one_list(whitelist, !whitelist_files.is_empty(), has_blacklist, path, findings);
            }
            Self::ClientApproval(options) => {
                let ClientApprovalConfig { whitelist, blacklist } = options;
                let whitelist = whitelist.as_ref().map(Vec::is_empty);
                one_list(whitelist, false, !blacklist.is_empty(), path, findings);
            }
            Self::PreferredSubnet(options) => preferred_subnet(options, path, findings),
            Self::Report(options) => report(options, path, findings),
            // The schema bounds their numbers, and what else is wrong the hook itself finds when it is made.
            Self::IpApproval(_) | Self::PortApproval(_) | Self::IntervalVariation(_) => {}
        }
    }
}

fn jwt(options: &JwtConfig, path: &Path, findings: &mut Findings) {
    url(&options.jwk_set_url, &path.key("jwk_set_url"), findings);
    if *options.jwk_set_update_interval < Duration::from_secs(1) {
        let message = format!("{} is not 1s or more", options.jwk_set_update_interval);
        findings.error(&path.key("jwk_set_update_interval"), message);
    }
}

fn passkey(options: &PasskeyConfig, path: &Path, findings: &mut Findings) {
    match (&options.url, options.files.is_empty()) {
        (Some(_), false) => findings.error(path, "has both files and a url; give one"),
        (None, true) => findings.error(path, "needs files or a url"),
        (None, false) => {}
        (Some(address), true) => url(address, &path.key("url"), findings),
    }
}

/// The message does not repeat the text, which may hold a password.
fn url(url: &ServiceUrl, path: &Path, findings: &mut Findings) {
    let is_good = url.reveal().parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !is_good {
        findings.error(path, "is no URL that begins with http:// or https://");
    }
}

/// `is_empty` is that of the whitelist, if one is given.
fn one_list(
    is_empty: Option<bool>,
    has_whitelist_files: bool,
    has_blacklist: bool,
    path: &Path,
    findings: &mut Findings,
) {
    match (is_empty == Some(false) || has_whitelist_files, has_blacklist) {
        (true, true) => findings.error(path, "has both a whitelist and a blacklist; give one"),
        (false, false) if is_empty.is_some() => findings.warning(
            &path.key("whitelist"),
            "is empty, so nothing is approved of; in Chihaya everything is. Leave the key out for that",
        ),
        _ => {}
    }
}

fn preferred_subnet(options: &PreferredSubnetConfig, path: &Path, findings: &mut Findings) {
    let lengths =
        [options.preferred_ipv4_subnet_mask_bits_set, options.preferred_ipv6_subnet_mask_bits_set];
    if lengths == [0, 0] {
        findings.warning(path, "prefers no subnet: give a length above zero");
    }
}

fn report(options: &ReportConfig, path: &Path, findings: &mut Findings) {
    url(&options.url, &path.key("url"), findings);
    if *options.interval < REPORT_INTERVAL_MIN {
        let message = format!("{} is not 10ms or more", options.interval);
        findings.error(&path.key("interval"), message);
    }
    if options.parameters.len() > REPORT_PARAMETERS_MAX {
        let message = format!("names more than {REPORT_PARAMETERS_MAX} parameters");
        findings.error(&path.key("parameters"), message);
    }
}
