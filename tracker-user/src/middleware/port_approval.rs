//! The hook `port approval`: refuses announces by the port on which the client accepts connections. Scrapes pass.

use tracker_common::policy::Rule;

use crate::{
    config::PortApprovalConfig,
    pipeline::{KeyList, List, ListKind, Offload, PreHook},
};

/// Why the hook cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortApprovalError {
    /// It would not be clear what to do about a port on neither.
    #[error("`whitelist` and `blacklist` exclude each other: keep one of them")]
    BothLists,
}

/// The hook.
#[derive(Debug)]
pub struct PortApproval {
    list: KeyList,
}

impl PortApproval {
    /// Makes the hook.
    ///
    /// # Errors
    /// When both lists have entries.
    pub fn new(config: &PortApprovalConfig) -> Result<Self, PortApprovalError> {
        let PortApprovalConfig { lowest, whitelist, blacklist } = config;
        let list = match whitelist {
            Some(whitelist) if blacklist.is_empty() => {
                KeyList::of_ports(ListKind::Allow, whitelist.iter().copied())
            }
            Some(whitelist) if !whitelist.is_empty() => return Err(PortApprovalError::BothLists),
            _ => {
                let refused = (0..*lowest).chain(blacklist.iter().copied());
                KeyList::of_ports(ListKind::Deny, refused)
            }
        };
        Ok(Self { list })
    }
}

impl PreHook for PortApproval {
    fn name(&self) -> &'static str {
        Rule::Port.name()
    }

    fn offload(&self) -> Offload {
        Offload::Rule(List::Keys(self.list.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        middleware::tests::{announce_of, judge},
        pipeline::{AnnounceRequest, Refusal},
    };
    use tracker_common::id::InfoHash;

    fn announce_from(config: PortApprovalConfig, port: u16) -> Result<(), Refusal> {
        let peer = ([192, 0, 2, 1], port).into();
        let request = AnnounceRequest { peer, ..announce_of(InfoHash([1; 20])) };
        judge(PortApproval::new(&config).unwrap(), &request)
    }

    fn unapproved() -> Result<(), Refusal> {
        Err(Refusal::Client("unapproved port".into()))
    }

    #[test]
    fn ports_of_services_are_refused_and_others_admitted() {
        let default = PortApprovalConfig::default;
        assert_eq!(announce_from(default(), 1023), unapproved());
        assert_eq!(announce_from(default(), 1024), Ok(()));
        assert_eq!(announce_from(PortApprovalConfig { lowest: 0, ..default() }, 1), Ok(()));
    }

    #[test]
    fn a_blacklist_refuses_what_it_lists_beside_them() {
        let config = || PortApprovalConfig { blacklist: vec![6881], ..Default::default() };
        assert_eq!(announce_from(config(), 6881), unapproved());
        assert_eq!(announce_from(config(), 80), unapproved());
        assert_eq!(announce_from(config(), 6882), Ok(()));
    }

    #[test]
    fn a_whitelist_approves_of_what_it_lists() {
        let config = || PortApprovalConfig { whitelist: Some(vec![443]), ..Default::default() };
        assert_eq!(announce_from(config(), 443), Ok(()));
        assert_eq!(announce_from(config(), 6881), unapproved());
        let both = PortApprovalConfig { blacklist: vec![6881], ..config() };
        assert_eq!(PortApproval::new(&both).unwrap_err(), PortApprovalError::BothLists);
    }
}
