//! What is wrong with a hook's options that their types cannot say.

use super::{HookConfig, IntervalVariationConfig};
use crate::config::{load::Findings, path::Path};

impl HookConfig {
    /// Reports what is wrong with the options, which stand at `path`.
    pub(in crate::config) fn validate(&self, path: &Path, findings: &mut Findings) {
        match self {
            Self::TorrentApproval(options) => {
                one_list(&options.whitelist, &options.blacklist, path, findings);
            }
            Self::ClientApproval(options) => {
                one_list(&options.whitelist, &options.blacklist, path, findings);
            }
            Self::IntervalVariation(options) => interval_variation(options, path, findings),
        }
    }
}

fn one_list<T>(whitelist: &[T], blacklist: &[T], path: &Path, findings: &mut Findings) {
    if !whitelist.is_empty() && !blacklist.is_empty() {
        findings.error(path, "has both a whitelist and a blacklist; give one");
    }
}

fn interval_variation(options: &IntervalVariationConfig, path: &Path, findings: &mut Findings) {
    let probability = options.modify_response_probability;
    if !(probability > 0.0 && probability <= 1.0) {
        let message = format!("{probability} is not above 0 and at most 1");
        findings.error(&path.key("modify_response_probability"), message);
    }
    let seconds = options.max_increase_delta;
    if !(1..=i64::from(i32::MAX)).contains(&seconds) {
        let message = format!("{seconds} is not from 1 to 2147483647 seconds");
        findings.error(&path.key("max_increase_delta"), message);
    }
}
