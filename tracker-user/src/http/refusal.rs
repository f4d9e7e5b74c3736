//! Refusals, in Chihaya's words.

use std::borrow::Cow;

use crate::pipeline::Refusal;

pub(super) const NO_INFO_HASH: Refusal = refusal("no info_hash parameter supplied");
pub(super) const NO_ADDRESS: Refusal = refusal("failed to parse peer IP address");

/// The client is told this.
pub(super) const fn refusal(reason: &'static str) -> Refusal {
    Refusal::Client(Cow::Borrowed(reason))
}
