//! The values that labels take. All sets are bounded: a label per stranger's whim would be a leak.

use std::{collections::HashSet, net::IpAddr, sync::RwLock};

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A UDP connection id.
    Connect,
    /// An announce.
    Announce,
    /// A scrape.
    Scrape,
    /// Something that cannot be told.
    Other,
}

impl Action {
    /// How many there are.
    pub(super) const COUNT: usize = 4;

    /// Chihaya's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Announce => "announce",
            Self::Scrape => "scrape",
            Self::Other => "",
        }
    }
}

/// The family of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4, also when mapped into IPv6.
    IPv4,
    /// IPv6.
    IPv6,
    /// The address cannot be told.
    Unknown,
}

impl AddressFamily {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// Chihaya's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<Option<IpAddr>> for AddressFamily {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(_)) => Self::IPv4,
            Some(IpAddr::V6(_)) => Self::IPv6,
            None => Self::Unknown,
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was served.
    Answered,
    /// The client is at fault: told so, or met with silence where the protocol says so.
    Refused,
    /// We are at fault.
    Failed,
    /// An announce over a limit: answered without peers, with a long interval.
    Throttled,
    /// It was met with silence, before the daemon saw it.
    Dropped,
    /// The kernel left it to the daemon, which counts it again.
    Passed,
}

impl Outcome {
    /// How many there are.
    pub(super) const COUNT: usize = 6;

    /// The label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Throttled => "throttled",
            Self::Dropped => "dropped",
            Self::Passed => "passed",
        }
    }
}

/// Lets the first so many distinct texts through as labels, and no more.
#[derive(Debug)]
pub(super) struct BoundedLabels {
    known: RwLock<HashSet<String>>,
    max: usize,
}

impl BoundedLabels {
    /// The label of all texts beyond the bound.
    pub(super) const OTHER: &'static str = "other";

    pub(super) fn new(max: usize) -> Self {
        Self { known: RwLock::default(), max }
    }

    /// The text itself, or `None` when it comes too late.
    pub(super) fn admit<'t>(&self, text: &'t str) -> Option<&'t str> {
        let is_known = |known: &HashSet<_>| known.contains(text);
        if self.known.read().is_ok_and(|known| is_known(&known)) {
            return Some(text);
        }
        let mut known = self.known.write().ok()?;
        if known.len() >= self.max && !is_known(&known) {
            return None;
        }
        known.insert(text.to_owned());
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_labels_is_bounded() {
        let labels = BoundedLabels::new(2);
        assert_eq!(labels.admit("a"), Some("a"));
        assert_eq!(labels.admit("b"), Some("b"));
        assert_eq!(labels.admit("c"), None);
        assert_eq!(labels.admit("a"), Some("a"));
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let family = |text: &str| AddressFamily::from(Some(text.parse().unwrap()));
        assert_eq!(family("::ffff:192.0.2.1"), AddressFamily::IPv4);
        assert_eq!(family("2001:db8::1"), AddressFamily::IPv6);
        assert_eq!(AddressFamily::from(None), AddressFamily::Unknown);
    }
}
