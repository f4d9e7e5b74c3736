//! The hook `torrent approval`: refuses announces of torrents by info-hash. Scrapes pass.

use std::io;

use tracker_common::policy::Rule;

use super::{
    background::Background,
    lists::{self, ListError, TorrentFiles},
};
use crate::{
    config::TorrentApprovalConfig,
    metrics::Metrics,
    pipeline::{List, ListKind, Offload, PreHook, TorrentList},
};

const NAME: &str = Rule::Torrent.name();

/// Why the hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TorrentApprovalError {
    /// It would not be clear what to do about a torrent on neither.
    #[error("a whitelist and a blacklist exclude each other: keep one of them")]
    BothLists,
    /// A file cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// There can be no thread.
    #[error("cannot follow changes of the lists")]
    Thread(#[from] io::Error),
}

/// The hook.
#[derive(Debug)]
pub struct TorrentApproval {
    list: TorrentList,
    /// Follows the files, if there are any.
    _background: Option<Background>,
}

impl TorrentApproval {
    /// Makes the hook, and reads its files.
    ///
    /// # Errors
    /// When there are both lists, a file cannot be read, or there can be no thread.
    pub fn new(
        config: &TorrentApprovalConfig,
        metrics: &Metrics,
    ) -> Result<Self, TorrentApprovalError> {
        let TorrentApprovalConfig { whitelist, whitelist_files, blacklist, blacklist_files } =
            config;
        let is_whitelist_given = whitelist.is_some() || !whitelist_files.is_empty();
        let whitelist = whitelist.as_deref().unwrap_or_default();
        let has_whitelist = !whitelist.is_empty() || !whitelist_files.is_empty();
        let has_blacklist = !blacklist.is_empty() || !blacklist_files.is_empty();
        let (kind, written, files) = match (has_whitelist, has_blacklist) {
            (true, true) => return Err(TorrentApprovalError::BothLists),
            (_, false) if is_whitelist_given => (ListKind::Allow, whitelist, whitelist_files),
            _ => (ListKind::Deny, &blacklist[..], blacklist_files),
        };
        let mut source = TorrentFiles::new(written.to_vec(), files.clone());
        let read = move || source.read();
        let (info_hashes, background) =
            lists::live::<_, TorrentApprovalError>(NAME, files.clone(), metrics, read)?;
        Ok(Self { list: TorrentList { kind, info_hashes }, _background: background })
    }
}

impl PreHook for TorrentApproval {
    fn name(&self) -> &'static str {
        NAME
    }

    fn offload(&self) -> Offload {
        Offload::Rule(List::Torrents(self.list.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tracker_common::id::InfoHash;

    use crate::{
        middleware::tests::{announce_of, judge as judge_by},
        pipeline::{AnnounceResponse, Pipeline, Refusal},
    };

    const LISTED: InfoHash = InfoHash([1; 20]);
    const OTHER: InfoHash = InfoHash([2; 20]);

    fn whitelist() -> TorrentApprovalConfig {
        TorrentApprovalConfig { whitelist: Some(vec![LISTED]), ..Default::default() }
    }

    fn blacklist() -> TorrentApprovalConfig {
        TorrentApprovalConfig { blacklist: vec![LISTED], ..Default::default() }
    }

    fn make(options: TorrentApprovalConfig) -> Result<TorrentApproval, TorrentApprovalError> {
        TorrentApproval::new(&options, &Metrics::new().unwrap())
    }

    fn judge(options: TorrentApprovalConfig, info_hash: InfoHash) -> Result<(), Refusal> {
        judge_by(make(options).unwrap(), &announce_of(info_hash))
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
        assert_eq!(judge(TorrentApprovalConfig::default(), OTHER), Ok(()));
    }

    #[test]
    fn files_belong_to_the_list_that_is_written_beside_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), OTHER.to_string()).unwrap();
        let files = vec![file.path().to_owned()];
        let whitelist = TorrentApprovalConfig { whitelist_files: files.clone(), ..whitelist() };
        assert_eq!(judge(whitelist.clone(), LISTED), Ok(()));
        assert_eq!(judge(whitelist.clone(), OTHER), Ok(()));
        assert_eq!(judge(whitelist, InfoHash([3; 20])), unapproved());
        let blacklist = TorrentApprovalConfig { blacklist_files: files, ..Default::default() };
        assert_eq!(judge(blacklist, OTHER), unapproved());
    }

    #[test]
    fn a_whitelist_whose_file_is_empty_approves_of_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let whitelist_files = vec![file.path().to_owned()];
        let options = TorrentApprovalConfig { whitelist_files, ..Default::default() };
        assert_eq!(judge(options, LISTED), unapproved());
    }

    #[test]
    fn a_whitelist_that_is_given_and_empty_approves_of_nothing() {
        let empty = TorrentApprovalConfig { whitelist: Some(Vec::new()), ..Default::default() };
        assert_eq!(judge(empty.clone(), LISTED), unapproved());
        let beside = TorrentApprovalConfig { blacklist: vec![LISTED], ..empty };
        assert_eq!(judge(beside.clone(), LISTED), unapproved());
        assert_eq!(judge(beside, OTHER), Ok(()));
    }

    #[test]
    fn both_lists_together_are_an_error() {
        let both = TorrentApprovalConfig { blacklist_files: vec!["x".into()], ..whitelist() };
        assert!(matches!(make(both), Err(TorrentApprovalError::BothLists)));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_at_start() {
        let whitelist_files = vec!["/no/such/list".into()];
        let error = make(TorrentApprovalConfig { whitelist_files, ..Default::default() });
        assert_eq!(error.unwrap_err().to_string(), "cannot read the list /no/such/list");
    }

    #[test]
    fn a_changed_file_waits_for_the_kernel() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let whitelist_files = vec![file.path().to_owned()];
        let hook = make(TorrentApprovalConfig { whitelist_files, ..Default::default() }).unwrap();
        let Offload::Rule(List::Torrents(list)) = hook.offload() else { panic!("not offloaded") };
        let mut follower = list.info_hashes.follow();
        let pipeline = Pipeline::of_hooks(vec![Box::new(hook)]);
        let before = pipeline.revision();
        fs::write(file.path(), LISTED.to_string()).unwrap();
        while !follower.prepare() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let judge = || pipeline.admit(&announce_of(LISTED), &mut AnnounceResponse::default());
        assert!(list.info_hashes.coming().contains(&LISTED));
        assert_eq!((judge(), pipeline.revision()), (unapproved(), before));
        follower.commit();
        assert_eq!(judge(), Ok(()));
        assert_ne!(pipeline.revision(), before);
    }
}
