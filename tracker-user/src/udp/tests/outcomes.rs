//! What becomes of a request behind the frontend: hooks refuse it or take their time, the storage
//! fails, post-hooks are shown it.

use tracker_common::wire::action;

use super::*;
use crate::{
    config::TorrentApprovalConfig,
    metrics::Metrics,
    middleware::TorrentApproval,
    pipeline::{AnnounceResponse, Pending},
    udp::Action,
};

#[test]
fn a_refused_announce_is_answered_with_the_hook_s_text_and_a_scrape_passes() {
    let blacklist = vec![InfoHash([b'h'; 20])];
    let options_of_hook = TorrentApprovalConfig { blacklist, ..Default::default() };
    let hook = TorrentApproval::new(&options_of_hook, &Metrics::new().unwrap());
    let hooks: Vec<Box<dyn PreHook>> = vec![Box::new(hook.unwrap())];
    let mut tracker = Tracker::with(settings(), FakeStorage::default(), hooks);
    let outcome = tracker.verified(&Announce::default().packet(), CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (Some(Action::Announce), "unapproved torrent"));
    assert_eq!(error_text(&tracker.reply), "unapproved torrent");
    assert!(tracker.scratch.announced().is_none());
    assert_eq!(tracker.verified(&scrape([b'h']), CLIENT_V4).error(), "");
}

/// A hook that has to ask somebody.
struct Asker(Pending);

impl PreHook for Asker {
    fn name(&self) -> &'static str {
        "asker"
    }

    fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        if self.0.has_ended() { Ok(()) } else { Err(Refusal::Pending(self.0.clone())) }
    }
}

#[test]
fn while_a_hook_asks_there_is_silence_and_the_client_s_next_try_is_answered() {
    let (asking, pending) = Pending::new();
    let hooks: Vec<Box<dyn PreHook>> = vec![Box::new(Asker(pending))];
    let mut tracker = Tracker::with(settings(), FakeStorage::default(), hooks);
    let packet = Announce::default().packet();
    let outcome = tracker.verified(&packet, CLIENT_V4);
    assert_eq!((outcome.action, outcome.error()), (Some(Action::Announce), "undecided"));
    assert_eq!(tracker.reply, b"");
    drop(asking);
    tracker.announced(&packet, CLIENT_V4);
    assert_eq!(tracker.reply[..4], action::ANNOUNCE);
}

#[test]
fn of_a_fault_of_ours_the_client_learns_nothing() {
    let storage = FakeStorage { broken: true, ..FakeStorage::default() };
    let mut tracker = Tracker::with(settings(), storage, Vec::new());
    for packet in [Announce::default().packet(), scrape([1])] {
        let outcome = tracker.verified(&packet, CLIENT_V4);
        assert_eq!(outcome.error(), "internal error");
        assert_eq!(outcome.refusal, Some(Refusal::Internal("no connection".to_owned())));
        assert_eq!(error_text(&tracker.reply), "internal server error");
    }
}

#[test]
fn post_hooks_are_shown_good_announces_only() {
    let mut tracker = Tracker::new(settings());
    tracker.verified(&Announce::default().packet(), CLIENT_V4);
    let (request, response) = tracker.scratch.announced().unwrap();
    assert_eq!((request.left, response.swarm), (20, SWARM));
    tracker.verified(&scrape([1]), CLIENT_V4);
    assert!(tracker.scratch.announced().is_none());
    tracker.verified(&Announce::default().packet(), CLIENT_V4);
    tracker.answer(&[], CLIENT_V4);
    assert!(tracker.scratch.announced().is_none());
}

#[test]
fn what_a_hook_refuses_could_be_read_and_what_is_malformed_could_not() {
    struct Refuses;
    impl PreHook for Refuses {
        fn name(&self) -> &'static str {
            "refuses"
        }

        fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
            Err(Refusal::Client("no".into()))
        }
    }
    let mut tracker = Tracker::with(settings(), FakeStorage::default(), vec![Box::new(Refuses)]);
    let mut is_read = |packet: &[u8]| tracker.verified(packet, CLIENT_V4).is_read;
    assert!(is_read(&Announce::default().packet()));
    assert!(!is_read(&Announce { port: 0, ..Announce::default() }.packet()));
    assert!(!is_read(&Announce::default().packet()[..97]));
    let outcome = tracker.answer(&Announce::default().packet(), CLIENT_V4);
    assert_eq!((outcome.is_read, outcome.error()), (false, "bad connection ID"));
}
