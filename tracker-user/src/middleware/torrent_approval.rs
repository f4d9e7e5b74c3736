//! The hook `torrent approval`: refuses announces of torrents by info-hash. Scrapes pass.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use tracker_common::{id::InfoHash, wire::Failure};

use crate::pipeline::{
    AnnounceRequest, AnnounceResponse, ListKind, Offload, PreHook, Refusal, TorrentList,
};

/// The hook's options; with both lists empty it approves of everything.
#[derive(Debug, Clone, Default)]
pub struct TorrentApprovalOptions {
    /// If there are any, only these torrents are approved.
    pub whitelist: Vec<InfoHash>,
    /// Torrents that are not approved.
    pub blacklist: Vec<InfoHash>,
}

/// Why the hook cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TorrentApprovalError {
    /// It would not be clear what to do about a torrent on neither.
    #[error("`whitelist` and `blacklist` exclude each other: keep one of them")]
    BothLists,
}

/// The hook.
#[derive(Debug)]
pub struct TorrentApproval {
    list: TorrentList,
}

impl TorrentApproval {
    /// Makes the hook.
    ///
    /// # Errors
    /// When both lists have entries.
    pub fn new(options: TorrentApprovalOptions) -> Result<Self, TorrentApprovalError> {
        let TorrentApprovalOptions { whitelist, blacklist } = options;
        let (kind, info_hashes) = match (whitelist.is_empty(), blacklist.is_empty()) {
            (false, false) => return Err(TorrentApprovalError::BothLists),
            (false, true) => (ListKind::Allow, whitelist),
            (true, _) => (ListKind::Deny, blacklist),
        };
        let info_hashes: HashSet<_> = info_hashes.into_iter().collect();
        Ok(Self { list: TorrentList { kind, info_hashes: Arc::new(info_hashes) } })
    }

    fn approves(&self, info_hash: &InfoHash) -> bool {
        self.list.kind.admits(self.list.info_hashes.contains(info_hash))
    }
}

impl PreHook for TorrentApproval {
    fn name(&self) -> &'static str {
        "torrent approval"
    }

    fn announce(
        &self,
        request: &AnnounceRequest,
        _response: &mut AnnounceResponse,
    ) -> Result<(), Refusal> {
        if self.approves(&request.info_hash) {
            return Ok(());
        }
        Err(Refusal::Client(Cow::Borrowed(Failure::UnapprovedTorrent.text())))
    }

    fn offload(&self) -> Offload {
        Offload::Torrents(self.list.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::tests::announce_of;

    const LISTED: InfoHash = InfoHash([1; 20]);
    const OTHER: InfoHash = InfoHash([2; 20]);

    fn whitelist() -> TorrentApprovalOptions {
        TorrentApprovalOptions { whitelist: vec![LISTED], ..Default::default() }
    }

    fn blacklist() -> TorrentApprovalOptions {
        TorrentApprovalOptions { blacklist: vec![LISTED], ..Default::default() }
    }

    fn judge(options: TorrentApprovalOptions, info_hash: InfoHash) -> Result<(), Refusal> {
        let hook = TorrentApproval::new(options).unwrap();
        hook.announce(&announce_of(info_hash), &mut AnnounceResponse::default())
    }

    fn unapproved() -> Result<(), Refusal> {
        Err(Refusal::Client("unapproved torrent".into()))
    }

    #[test]
    fn a_whitelist_approves_of_what_it_lists() {
        assert_eq!(judge(whitelist(), LISTED), Ok(()));
        assert_eq!(judge(whitelist(), OTHER), unapproved());
    }

    #[test]
    fn a_blacklist_approves_of_all_but_what_it_lists() {
        assert_eq!(judge(blacklist(), LISTED), unapproved());
        assert_eq!(judge(blacklist(), OTHER), Ok(()));
    }

    #[test]
    fn without_a_list_all_is_approved() {
        assert_eq!(judge(TorrentApprovalOptions::default(), OTHER), Ok(()));
    }

    #[test]
    fn both_lists_together_are_an_error() {
        let both = TorrentApprovalOptions { whitelist: vec![LISTED], blacklist: vec![OTHER] };
        assert_eq!(TorrentApproval::new(both).unwrap_err(), TorrentApprovalError::BothLists);
    }

    #[test]
    fn the_kernel_is_given_the_same_list() {
        let Offload::Torrents(list) = TorrentApproval::new(whitelist()).unwrap().offload() else {
            panic!("not offloaded");
        };
        assert_eq!(list.kind, ListKind::Allow);
        assert!(list.info_hashes.iter().eq([&LISTED]));
    }
}
