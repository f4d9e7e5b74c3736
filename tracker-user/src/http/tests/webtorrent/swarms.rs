//! Which peers are in a swarm, and until when.

use super::*;

#[tokio::test]
async fn a_peer_is_told_of_its_swarm_and_counts_until_it_leaves_or_its_connection_ends() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    assert_eq!(one.enter(json!({ "event": "started" })).await, swarm(0, 1));
    let mut two = Browser::open(&server, "/", '2').await;
    assert_eq!(two.enter(json!({ "left": 0 })).await, swarm(1, 1));
    assert_eq!(one.enter(json!({ "event": "completed", "left": 0 })).await, swarm(2, 0));
    assert_eq!(two.enter(json!({ "event": "stopped" })).await, swarm(1, 0));
    assert_eq!(two.enter(json!({ "event": "stopped" })).await, swarm(1, 0));
    drop(one);
    while two.enter(json!({ "event": "update" })).await != swarm(0, 1) {}
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_has_not_announced_for_two_intervals_leaves_its_swarm() {
    let tracker = Tracker::new(options());
    let mut silent = in_memory(&tracker, "/", '1').await;
    silent.enter(json!({})).await;
    silent.stays(200).await;
    assert_eq!(tracker.webtorrent.leechers.get(), 1);
    let mut other = in_memory(&tracker, "/", '2').await;
    assert_eq!(other.enter(json!({})).await, swarm(0, 2));
    silent.stays(51).await;
    let offers = json!({ "offers": [{ "offer": {}, "offer_id": "x" }] });
    assert_eq!(other.enter(offers).await, swarm(0, 1));
    assert_eq!(tracker.webtorrent.offers.get(), 0, "an offer for a peer that has left");
    assert_eq!(silent.enter(json!({})).await, swarm(0, 2), "it may come back");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_announces_in_each_interval_stays() {
    let tracker = Tracker::new(options());
    let mut browser = in_memory(&tracker, "/", '1').await;
    for _ in 0..10 {
        assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
        browser.stays(119).await;
        assert_eq!(tracker.webtorrent.leechers.get(), 1);
    }
}

#[tokio::test]
async fn a_connection_announces_no_more_torrents_than_it_may() {
    let server = Server::start(options()).await;
    let mut browser = Browser::open(&server, "/", '1').await;
    for letter in ["b", "c"] {
        let info_hash = letter.repeat(20);
        assert_eq!(browser.enter(json!({ "info_hash": info_hash })).await["incomplete"], 1);
    }
    assert_eq!(browser.enter(json!({})).await, failure("too many torrents"));
    let again = browser.enter(json!({ "info_hash": "c".repeat(20) })).await;
    assert_eq!(again["incomplete"], 1);
    browser.enter(json!({ "info_hash": "b".repeat(20), "event": "stopped" })).await;
    assert_eq!(browser.enter(json!({})).await, swarm(0, 1));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_comes_back_from_another_address_is_served_at_once_and_its_old_place_goes() {
    let tracker = Tracker::new(options());
    let mut other = in_memory_from(3, &tracker, '2').await;
    other.enter(json!({})).await;
    let mut before = in_memory_from(1, &tracker, '1').await;
    before.enter(json!({})).await;
    // Its network is gone, and so nothing is read and nothing is sent on its old connection.
    let mut after = in_memory_from(2, &tracker, '1').await;
    assert_eq!(after.enter(json!({})).await, swarm(0, 3));
    let offer = json!({ "offer": {}, "offer_id": "x" });
    other.enter(json!({ "offers": [offer, offer] })).await;
    assert_eq!(after.next().await["peer_id"], other.peer_id);
    after.stays(9).await;
    assert_eq!(tracker.webtorrent.connections.get(), 3);
    after.stays(2).await;
    assert_eq!(tracker.webtorrent.connections.get(), 2);
    assert_eq!(after.enter(json!({})).await, swarm(0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_browser_whose_id_another_address_announces_keeps_its_place_its_offers_and_its_answers() {
    let tracker = Tracker::new(options());
    let mut victim = in_memory_from(1, &tracker, '1').await;
    victim.enter(json!({})).await;
    let mut copy = in_memory_from(2, &tracker, '1').await;
    for _ in 0..5 {
        copy.enter(json!({})).await;
        victim.stays(20).await;
        copy.enter(json!({ "event": "stopped" })).await;
    }
    let mut other = in_memory_from(3, &tracker, '2').await;
    other.enter(json!({})).await;
    assert_eq!(copy.enter(json!({})).await, swarm(0, 3));
    assert_eq!(tracker.webtorrent.connections.get(), 3);
    let offer = json!({ "offer": {}, "offer_id": "x" });
    other.enter(json!({ "offers": [offer, offer] })).await;
    assert_eq!(victim.next().await["peer_id"], other.peer_id);
    let answer = json!({ "to_peer_id": victim.peer_id, "answer": {}, "offer_id": "y" });
    other.send(&other.announce(&answer)).await;
    assert_eq!(victim.next().await["offer_id"], "y");
    assert_eq!(victim.enter(json!({})).await, swarm(0, 3));
}
