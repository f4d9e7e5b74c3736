//! Parts of the tracker that a build may lack: cargo features. Of XDP and Redis the steps of their own say so.

use super::Subject;
use crate::daemon::found::{Found, at};

/// What the configuration asks for is in this build.
pub(super) fn are_built_in(subject: &Subject, found: &mut Found) {
    if !cfg!(feature = "webtorrent") && !subject.config.http.webtorrent.routes.is_empty() {
        let message = "this build serves no browsers: its cargo feature `webtorrent` is off";
        found.error(at("http.webtorrent.routes"), message);
    }
}
