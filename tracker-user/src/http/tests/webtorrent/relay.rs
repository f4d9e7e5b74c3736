//! Offers and answers, on their way from browser to browser.

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
