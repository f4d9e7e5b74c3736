//! Offers and answers, on their way from browser to browser.

use tokio::time::sleep;

use super::*;

#[tokio::test]
async fn offers_are_passed_on_to_others_and_their_answers_back() {
    let server = Server::start(options()).await;
    let mut browsers = [
        Browser::open(&server, "/", '1').await,
        Browser::open(&server, "/", '2').await,
        Browser::open(&server, "/", '3').await,
    ];
    for browser in &mut browsers {
        browser.enter(json!({ "offers": [] })).await;
    }
    let [one, two, three] = &mut browsers;
    let offers = ["x", "y", "z"].map(
        |name| json!({ "offer": { "sdp": name, "type": "offer" }, "offer_id": [name, "\u{ff}"] }),
    );
    assert_eq!(one.enter(json!({ "offers": offers })).await, swarm(0, 3));
    let mut offered = Vec::new();
    for other in [&mut *two, three] {
        let offer = other.next().await;
        let sdp = offer["offer"]["sdp"].as_str().unwrap().to_owned();
        let expected = json!({
            "action": "announce", "info_hash": TORRENT, "peer_id": one.peer_id,
            "offer": { "sdp": sdp, "type": "offer" }, "offer_id": [sdp, "\u{ff}"],
        });
        assert_eq!(offer, expected);
        offered.push(sdp);
        let answer = json!({
            "action": "announce", "info_hash": TORRENT, "peer_id": other.peer_id,
            "to_peer_id": one.peer_id, "answer": { "sdp": "w" }, "offer_id": offer["offer_id"],
        });
        other.send(&answer).await;
        let mut expected = answer;
        expected.as_object_mut().unwrap().remove("to_peer_id");
        assert_eq!(one.next().await, expected);
        other.is_left_alone().await;
    }
    offered.sort();
    assert_eq!(offered, ["x", "y"], "one too many is not passed on");
    server.stop().await;
}

#[tokio::test]
async fn a_seeder_s_offers_are_for_leechers() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    let mut two = Browser::open(&server, "/", '2').await;
    one.enter(json!({ "left": 0 })).await;
    let offer = json!({ "offers": [{ "offer": {}, "offer_id": "x" }], "left": 0 });
    two.enter(offer.clone()).await;
    one.is_left_alone().await;
    one.enter(json!({ "event": "stopped" })).await;
    one.enter(json!({ "left": 1 })).await;
    two.enter(offer).await;
    assert_eq!(one.next().await["peer_id"], two.peer_id);
    server.stop().await;
}

#[tokio::test]
async fn who_answers_must_be_in_the_swarm() {
    let server = Server::start(options()).await;
    let mut one = Browser::open(&server, "/", '1').await;
    let mut two = Browser::open(&server, "/", '2').await;
    one.enter(json!({})).await;
    let answer = two.announce(&json!({ "to_peer_id": one.peer_id, "answer": {}, "offer_id": 1 }));
    two.send(&answer).await;
    two.is_left_alone().await;
    one.is_left_alone().await;
    two.enter(json!({})).await;
    let mut again = Browser::open(&server, "/", '2').await;
    again.enter(json!({})).await;
    two.send(&answer).await;
    two.is_left_alone().await;
    one.is_left_alone().await;
    again.send(&answer).await;
    assert_eq!(one.next().await["peer_id"], again.peer_id);
    server.stop().await;
}

/// The options with a short write timeout.
fn hasty() -> HttpConfig {
    HttpConfig { write_timeout: GoDuration::from_secs(3), ..options() }
}

/// Two offers of 3 KB each.
fn offers() -> Value {
    let offer = json!({ "offer": { "sdp": "x".repeat(3000) }, "offer_id": "x" });
    json!({ "offers": [offer, offer] })
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_messages_before_it_loses_its_connection() {
    let tracker = Tracker::new(hasty());
    let mut slow = in_memory_from(1, &tracker, '1').await;
    slow.enter(json!({})).await;
    let mut other = in_memory_from(2, &tracker, '2').await;
    for _ in 0..50 {
        other.enter(offers()).await;
    }
    let (taken, lost) = (tracker.webtorrent.offers.get(), tracker.webtorrent.relay_full.get());
    assert_eq!(taken + lost, 50, "there is but one other peer");
    assert!(lost >= 10, "{lost}");
    // Longer than the write timeout, and shorter than a ping may stay unanswered.
    sleep(Duration::from_secs(25)).await;
    assert_eq!(tracker.webtorrent.connections.get(), 2);
    for _ in 0..taken {
        assert_eq!(slow.next().await["peer_id"], other.peer_id);
    }
    assert_eq!(slow.enter(json!({})).await, swarm(0, 2));
    other.enter(offers()).await;
    assert_eq!(slow.next().await["peer_id"], other.peer_id);
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_of_what_others_send_is_gone_when_a_ping_stays_unanswered() {
    let tracker = Tracker::new(hasty());
    let mut dead = in_memory_from(1, &tracker, '1').await;
    dead.enter(json!({})).await;
    let mut other = in_memory_from(2, &tracker, '2').await;
    for _ in 0..50 {
        other.enter(offers()).await;
    }
    other.stays(70).await;
    assert_eq!(tracker.webtorrent.connections.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_goes_on_leaving_may_take_longer_than_the_write_timeout() {
    let tracker = Tracker::new(hasty());
    let mut browser = over(pipe(&tracker, 1 << 10).0, "/", '1').await;
    let hashes: Vec<_> = ('0'..'Z').map(|letter| String::from(letter).repeat(20)).collect();
    browser.send(&json!({ "action": "scrape", "info_hash": hashes })).await;
    let mut reply = Vec::new();
    while !reply.ends_with(b"}}}") {
        sleep(Duration::from_secs(2)).await;
        let mut part = [0; 512];
        let length = browser.socket.get_mut().read(&mut part).await.unwrap();
        assert_ne!(length, 0, "after {} bytes", reply.len());
        reply.extend_from_slice(&part[..length]);
    }
    assert!(reply.len() > 2000);
}
