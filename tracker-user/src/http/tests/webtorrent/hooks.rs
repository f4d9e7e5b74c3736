//! Hooks judge browsers when they announce, and again when hooks or lists change.

use super::*;
use crate::{
    config::TorrentApprovalConfig, http::tests::waiting::server_that_asks,
    middleware::TorrentApproval, pipeline::Live,
};

#[tokio::test]
async fn hooks_judge_by_the_parameters_of_the_url_and_are_told_of_what_was_answered() {
    let server = Server::start(options()).await;
    let mut refused = Browser::open(&server, "/k3y/announce?refuse=1", '1').await;
    assert_eq!(refused.enter(json!({})).await, failure("unapproved client"));
    assert_eq!(server.tracker.announced(), 0);
    let mut admitted = Browser::open(&server, "/k3y/announce", '2').await;
    assert_eq!(admitted.enter(json!({})).await, swarm(0, 1));
    admitted.is_left_alone().await;
    assert_eq!(server.tracker.announced(), 1);
    let seen = std::mem::take(&mut *server.tracker.journal.responses.lock().unwrap());
    let errors: Vec<_> = seen.iter().map(|(_, _, error)| &**error).collect();
    assert_eq!(errors, ["unapproved client", "", "provided invalid id"]);
    server.stop().await;
}

/// Refuses everybody.
struct Closed;

impl PreHook for Closed {
    fn name(&self) -> &'static str {
        "closed"
    }

    fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        Err(Refusal::Client("closed".into()))
    }
}

#[tokio::test]
async fn who_is_refused_leaves_the_swarm() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    let storage = Arc::new(Swarms::default());
    let closed = Pipeline::new(storage, vec![Box::new(Closed)], vec![], 1800, 900);
    server.tracker.pipeline.store(Arc::new(closed));
    assert_eq!(browser.enter(json!({})).await, failure("closed"));
    assert_eq!(server.tracker.webtorrent.leechers.get(), 0);
    server.stop().await;
}

/// Refuses a passkey from a moment on.
struct Revocable(Live<&'static str>);

impl PreHook for Revocable {
    fn name(&self) -> &'static str {
        "revocable"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        match request.params.get("passkey") {
            Some(key) if key == **self.0.load() => Err(Refusal::Client("revoked".into())),
            _ => Ok(()),
        }
    }

    fn revision(&self) -> u64 {
        self.0.revision()
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_key_is_revoked_its_browsers_leave_without_an_announce() {
    let tracker = Tracker::new(options());
    let revoked = Live::new("");
    let hook = Box::new(Revocable(revoked.clone()));
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![hook], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    let mut one = in_memory(&tracker, "/k3y/announce", '1').await;
    let mut two = in_memory(&tracker, "/k4y/announce", '2').await;
    one.enter(json!({})).await;
    two.enter(json!({})).await;
    one.stays(30).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 2);
    revoked.replace("k3y");
    one.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    let offers = json!({ "offers": [{ "offer": {}, "offer_id": "x" }] });
    assert_eq!(two.enter(offers).await, swarm(0, 1));
    assert_eq!(tracker.webtorrent.offers.get(), 0, "an offer for a peer that was refused");
    assert_eq!(one.enter(json!({})).await, failure("revoked"));
}

#[tokio::test(start_paused = true)]
async fn when_hooks_are_reloaded_the_browsers_that_they_refuse_leave_without_an_announce() {
    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    browser.enter(json!({})).await;
    let blacklist = TorrentApprovalConfig {
        blacklist: vec![InfoHash(*b"a\0\"\x7f\x80\xffaaaaaaaaaaaaaa")],
        ..TorrentApprovalConfig::default()
    };
    let hook = TorrentApproval::new(&blacklist, &Metrics::new().unwrap()).unwrap();
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![Box::new(hook)], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    browser.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 0);
    let reply = browser.enter(json!({})).await;
    assert_eq!(reply["failure reason"], "unapproved torrent");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_has_no_judgement_is_asked_again_and_nobody_leaves_meanwhile() {
    /// Fails until it is told to refuse.
    struct Failing(Live<bool>);

    impl PreHook for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }

        fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
            Err(if **self.0.load() {
                Refusal::Client("refused".into())
            } else {
                Refusal::Internal("no answer".to_owned())
            })
        }
    }

    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    browser.enter(json!({})).await;
    let refuses = Live::new(false);
    let hook = Box::new(Failing(refuses.clone()));
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![hook], vec![], 1800, 900);
    tracker.pipeline.store(Arc::new(pipeline));
    browser.stays(30).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    refuses.replace(true);
    browser.stays(11).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 0);
}

#[tokio::test]
async fn an_announce_waits_for_a_hook_that_has_to_ask() {
    let (server, mut asked) = server_that_asks(1, options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    browser.send(&browser.announce(&json!({}))).await;
    drop(asked.recv().await.unwrap());
    assert_eq!(browser.next().await, swarm(0, 1));
    server.stop().await;
}
