//! `check --offline`: what belongs to the host is left out, and so is a part of the configuration whose files are
//! not there. What is left out is said.

use std::path::PathBuf;

use super::found::{Found, Occasion};
use crate::config::{Config, HookConfig};

/// Says what is not told here. Returns whether the certificate can be looked at.
pub(super) fn is_certificate_told(config: &Config, occasion: Occasion, found: &mut Found) -> bool {
    if occasion != Occasion::Offline {
        return true;
    }
    found.note(
        "not told: ports, addresses, interfaces, folders and Redis; `check` without --offline, where the tracker is \
         going to run, tells"
            .to_owned(),
    );
    let files = [&config.http.tls_cert_path, &config.http.tls_key_path];
    let missing = files.into_iter().flatten().find(|file| !file.exists());
    if let Some(file) = missing {
        found.note(format!("not told: the certificate: {} is not here", file.display()));
    }
    missing.is_none()
}

/// Why a hook cannot be made here, where that says nothing about the configuration.
pub(super) fn leaves_out(hook: &HookConfig, occasion: Occasion) -> Option<String> {
    if occasion != Occasion::Offline {
        return None;
    }
    if let HookConfig::Jwt(options) = hook {
        return Some(format!("the keys at {} are not fetched", options.jwk_set_url));
    }
    let files: Vec<&PathBuf> = match hook {
        HookConfig::Passkey(options) => options.files.iter().collect(),
        HookConfig::TorrentApproval(options) => {
            options.whitelist_files.iter().chain(&options.blacklist_files).collect()
        }
        HookConfig::IpApproval(options) => {
            options.allow_files.iter().chain(&options.deny_files).collect()
        }
        _ => Vec::new(),
    };
    let missing = files.into_iter().find(|file| !file.exists())?;
    Some(format!("{} is not here", missing.display()))
}
