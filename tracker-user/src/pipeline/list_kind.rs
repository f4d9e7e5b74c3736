//! Whether a list names what is admitted or what is refused.

/// What being on a list means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Only what is listed is admitted.
    Allow,
    /// All but what is listed is admitted.
    Deny,
}

impl ListKind {
    /// Whether what is on the list, or is not, is admitted.
    #[must_use]
    pub const fn admits(self, listed: bool) -> bool {
        match self {
            Self::Allow => listed,
            Self::Deny => !listed,
        }
    }
}
