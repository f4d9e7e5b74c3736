//! How a list that was read again differs from the one before.

use std::{collections::HashSet, fmt, hash::Hash};

use crate::pipeline::NetworkList;

/// How many entries a list has, and how many of them are new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::middleware) struct Changes {
    /// Those that were not in the list before.
    pub(in crate::middleware) new: usize,
    /// Those of the list before that are not in this one.
    pub(in crate::middleware) gone: usize,
    /// All that there are now.
    pub(in crate::middleware) entries: usize,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new, gone, entries } = self;
        write!(f, "{new} entries came, {gone} went, {entries} are there")
    }
}

/// A list whose entries can be counted.
pub(in crate::middleware) trait Entries {
    /// How it differs from the list before. Takes time in proportion to both.
    fn changes_from(&self, before: &Self) -> Changes;
}

impl<T: Eq + Hash> Entries for HashSet<T> {
    fn changes_from(&self, before: &Self) -> Changes {
        let new = self.difference(before).count();
        Changes { new, gone: before.len() + new - self.len(), entries: self.len() }
    }
}

/// A range counts for as many networks as it is made of. A network that is allowed and was denied is new.
impl Entries for NetworkList {
    fn changes_from(&self, before: &Self) -> Changes {
        let new = self.iter().filter(|(network, kind)| !before.has(*network, *kind)).count();
        Changes { new, gone: before.len() + new - self.len(), entries: self.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ListKind;

    #[test]
    fn entries_that_come_and_go_are_counted() {
        let changes = |next: &[u8], before: &[u8]| {
            let set = |list: &[u8]| list.iter().copied().collect::<HashSet<_>>();
            set(next).changes_from(&set(before))
        };
        assert_eq!(changes(&[], &[]), Changes::default());
        assert_eq!(changes(&[1, 2], &[]), Changes { new: 2, gone: 0, entries: 2 });
        assert_eq!(changes(&[2, 3, 4], &[1, 2]), Changes { new: 2, gone: 1, entries: 3 });
        assert_eq!(changes(&[], &[1, 2]), Changes { new: 0, gone: 2, entries: 0 });
        assert_eq!(changes(&[2, 3, 4], &[1, 2]).to_string(), "2 entries came, 1 went, 3 are there");
    }

    #[test]
    fn a_network_that_changes_its_meaning_goes_and_comes() {
        let list = |networks: &[(&str, ListKind)]| {
            let mut list = NetworkList::default();
            for (network, kind) in networks {
                list.add(network.parse().unwrap(), *kind);
            }
            list
        };
        let before = list(&[("192.0.2.0/24", ListKind::Deny), ("2001:db8::/32", ListKind::Deny)]);
        let next = list(&[("192.0.2.0/24", ListKind::Allow), ("2001:db8::/32", ListKind::Deny)]);
        assert_eq!(next.changes_from(&before), Changes { new: 1, gone: 1, entries: 2 });
    }
}
