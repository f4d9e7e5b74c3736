//! The hook `client approval`: refuses announces by the software that makes them. Scrapes pass.

use tracker_common::policy::Rule;

use crate::{
    config::ClientApprovalConfig,
    pipeline::{KeyList, List, ListKind, Offload, PreHook},
};

/// Why the hook cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientApprovalError {
    /// It would not be clear what to do about a client on neither.
    #[error("`whitelist` and `blacklist` exclude each other: keep one of them")]
    BothLists,
}

/// The hook.
#[derive(Debug)]
pub struct ClientApproval {
    list: KeyList,
}

impl ClientApproval {
    /// Makes the hook.
    ///
    /// # Errors
    /// When both lists have entries.
    pub fn new(config: &ClientApprovalConfig) -> Result<Self, ClientApprovalError> {
        let ClientApprovalConfig { whitelist, blacklist } = config;
        let (kind, ids) = match whitelist {
            Some(whitelist) if blacklist.is_empty() => (ListKind::Allow, whitelist),
            Some(whitelist) if !whitelist.is_empty() => return Err(ClientApprovalError::BothLists),
            _ => (ListKind::Deny, blacklist),
        };
        Ok(Self { list: KeyList::of_clients(kind, ids.iter().copied()) })
    }
}

impl PreHook for ClientApproval {
    fn name(&self) -> &'static str {
        Rule::Client.name()
    }

    fn offload(&self) -> Offload {
        Offload::Rule(List::Keys(self.list.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        middleware::tests::{announce_of, judge as judge_by},
        pipeline::{AnnounceRequest, Refusal},
    };
    use tracker_common::id::{ClientId, InfoHash, PeerId};

    const LISTED: ClientId = ClientId(*b"TR4050");

    fn whitelist() -> ClientApprovalConfig {
        ClientApprovalConfig { whitelist: Some(vec![LISTED]), ..Default::default() }
    }

    fn blacklist() -> ClientApprovalConfig {
        ClientApprovalConfig { blacklist: vec![LISTED], ..Default::default() }
    }

    fn judge(options: ClientApprovalConfig, peer_id: &[u8; 20]) -> Result<(), Refusal> {
        let request =
            AnnounceRequest { peer_id: PeerId(*peer_id), ..announce_of(InfoHash([1; 20])) };
        judge_by(ClientApproval::new(&options).unwrap(), &request)
    }

    fn unapproved() -> Result<(), Refusal> {
        Err(Refusal::Client("unapproved client".into()))
    }

    #[test]
    fn a_whitelist_approves_of_what_it_lists() {
        assert_eq!(judge(whitelist(), b"-TR4050-abcdefghijkl"), Ok(()));
        assert_eq!(judge(whitelist(), b"-TR4060-abcdefghijkl"), unapproved());
    }

    #[test]
    fn a_blacklist_approves_of_all_but_what_it_lists() {
        assert_eq!(judge(blacklist(), b"-TR4050-abcdefghijkl"), unapproved());
        assert_eq!(judge(blacklist(), b"-TR4060-abcdefghijkl"), Ok(()));
    }

    #[test]
    fn without_a_dash_the_id_is_the_first_six_bytes() {
        assert_eq!(judge(whitelist(), b"TR4050-abcdefghijklm"), Ok(()));
        assert_eq!(judge(whitelist(), b"xTR4050-abcdefghijkl"), unapproved());
    }

    #[test]
    fn without_a_list_all_is_approved() {
        assert_eq!(judge(ClientApprovalConfig::default(), b"-TR4050-abcdefghijkl"), Ok(()));
    }

    #[test]
    fn a_whitelist_that_is_given_and_empty_approves_of_nothing() {
        let empty = ClientApprovalConfig { whitelist: Some(Vec::new()), ..Default::default() };
        assert_eq!(judge(empty.clone(), b"-TR4050-abcdefghijkl"), unapproved());
        let beside = ClientApprovalConfig { blacklist: vec![LISTED], ..empty };
        assert_eq!(judge(beside.clone(), b"-TR4050-abcdefghijkl"), unapproved());
        assert_eq!(judge(beside, b"-TR4060-abcdefghijkl"), Ok(()));
    }

    #[test]
    fn both_lists_together_are_an_error() {
        let both = ClientApprovalConfig { whitelist: Some(vec![LISTED]), blacklist: vec![LISTED] };
        assert_eq!(ClientApproval::new(&both).unwrap_err(), ClientApprovalError::BothLists);
    }
}
