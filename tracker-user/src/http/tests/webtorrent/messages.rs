//! What is read, and what is refused.

use super::*;

#[tokio::test]
async fn scrapes_tell_of_one_torrent_or_several() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    browser.enter(json!({ "event": "started" })).await;
    browser.enter(json!({ "event": "completed" })).await;
    let other = "b".repeat(20);
    let [there, nobody] =
        [1, 0].map(|n| json!({ "complete": n, "downloaded": n, "incomplete": 0 }));
    browser.send(&json!({ "action": "scrape", "info_hash": TORRENT })).await;
    let files = json!({ TORRENT: there });
    assert_eq!(browser.next().await, json!({ "action": "scrape", "files": files }));
    browser.send(&json!({ "action": "scrape", "info_hash": [other, TORRENT] })).await;
    let files = json!({ TORRENT: there, other: nobody });
    assert_eq!(browser.next().await, json!({ "action": "scrape", "files": files }));
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_told() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    for (more, reason) in [
        (json!({ "peer_id": "short" }), "provided invalid id"),
        (json!({ "peer_id": "\u{100}".repeat(20) }), "provided invalid id"),
        (json!({ "peer_id": null }), "failed to provide valid peer_id"),
        (json!({ "answer": {} }), "invalid to_peer_id"),
        (json!({ "answer": {}, "to_peer_id": browser.peer_id }), "invalid offer_id"),
        (json!({ "action": "dance" }), "invalid action"),
    ] {
        assert_eq!(browser.enter(more.clone()).await, failure(reason), "{more}");
    }
    for (more, reason) in [
        (json!({ "info_hash": null }), "no info_hash parameter supplied"),
        (json!({ "info_hash": 1 }), "failed to parse message"),
        (json!({ "action": null }), "failed to parse message"),
    ] {
        // Nothing of an announce without its info-hash: that ends some clients.
        assert_eq!(
            browser.enter(more.clone()).await,
            json!({ "failure reason": reason }),
            "{more}"
        );
    }
    browser.send(&json!({ "action": "scrape" })).await;
    let expected =
        json!({ "action": "scrape", "failure reason": "no info_hash parameter supplied" });
    assert_eq!(browser.next().await, expected);
    browser.socket.send(Message::binary(b"{".as_slice())).await.unwrap();
    assert_eq!(browser.next().await, json!({ "failure reason": "failed to parse message" }));
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    // The other end may be gone before all of it is.
    let _ = browser.socket.send(Message::text("x".repeat(65 << 10))).await;
    while let Some(Ok(_)) = browser.socket.next().await {}
    server.stop().await;
}

#[tokio::test]
async fn whatever_figures_events_and_offers_a_client_sends_it_is_in_the_swarm() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    let good = json!({ "offer": {}, "offer_id": "x" });
    for (more, is_seeder) in [
        (json!({ "left": 0 }), true),
        (json!({ "left": "0" }), true),
        (json!({ "left": -1 }), false),
        (json!({ "left": "10" }), false),
        (json!({ "left": "many" }), false),
        (json!({ "left": null }), false),
        (json!({ "left": 1e300 }), false),
        (json!({ "left": [], "uploaded": {}, "downloaded": true }), false),
        (json!({ "uploaded": -1, "downloaded": "x" }), false),
        (json!({ "numwant": "5" }), false),
        (json!({ "numwant": null }), false),
        (json!({ "numwant": -1 }), false),
        (json!({ "numwant": 1e300 }), false),
        (json!({ "offers": null }), false),
        (json!({ "offers": "none" }), false),
        (json!({ "offers": [null, 1, "x", {}, [], { "offer": 1 }, good, good, good] }), false),
        (json!({ "event": "update" }), false),
        (json!({ "event": "gone" }), false),
        (json!({ "event": "" }), false),
        (json!({ "event": null }), false),
        (json!({ "event": 7 }), false),
        (json!({ "event": ["started"] }), false),
        (json!({ "trackerid": {}, "key": [1] }), false),
    ] {
        let expected = if is_seeder { swarm(1, 0) } else { swarm(0, 1) };
        assert_eq!(browser.enter(more.clone()).await, expected, "{more}");
    }
    // It may not even say what it has to fetch.
    let mut plain = browser.announce(&json!({}));
    for figure in ["left", "uploaded", "downloaded", "numwant"] {
        plain.as_object_mut().unwrap().remove(figure);
    }
    browser.send(&plain).await;
    assert_eq!(browser.next().await, swarm(0, 1));
    server.stop().await;
}
