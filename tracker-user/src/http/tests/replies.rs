use std::time::Instant;

use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::*;
use crate::http::frontend::{Head, Reply, Scratch};

/// Sends one request from `remote`.
fn request(tracker: &Tracker, remote: &str, method: Method, path: &str) -> Reply {
    let head = Head {
        method: &method,
        uri: &path.parse::<Uri>().unwrap(),
        headers: &HeaderMap::new(),
        remote: SocketAddr::new(remote.parse().unwrap(), 40000),
        received: Instant::now(),
        may_wait: false,
    };
    let (reply, answered) = tracker.frontend.answer(&head, &mut Scratch::default()).unwrap();
    if let Some(answered) = answered {
        answered.run_post_hooks();
    }
    reply
}

/// The body of the answer to a GET, which is a success as far as HTTP goes.
fn get(tracker: &Tracker, remote: &str, path: &str) -> String {
    let reply = request(tracker, remote, Method::GET, path);
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["content-type"], "text/plain; charset=utf-8");
    let mut body = Box::pin(reply.into_body().collect());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match body.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(body)) => body.to_bytes().escape_ascii().to_string(),
        _ => panic!("the body is there in one piece"),
    }
}

fn tracker() -> Tracker {
    Tracker::new(HttpConfig::default())
}

#[test]
fn the_first_announcer_is_told_of_itself_and_the_second_of_the_first() {
    let tracker = tracker();
    assert_eq!(
        get(&tracker, "192.0.2.1", &announce(0x4142, "")),
        "d8:completei0e10:downloadedi0e11:external ip4:\\xc0\\x00\\x02\\x0110:incompletei1e\
         8:intervali1800e12:min intervali900e5:peers6:\\xc0\\x00\\x02\\x01ABe"
    );
    assert_eq!(
        get(&tracker, "::ffff:192.0.2.2", &announce(0x4344, "")),
        "d8:completei0e10:downloadedi0e11:external ip4:\\xc0\\x00\\x02\\x0210:incompletei2e\
         8:intervali1800e12:min intervali900e5:peers6:\\xc0\\x00\\x02\\x01ABe"
    );
}

#[test]
fn over_ipv6_peers_are_in_peers6_and_peers_is_there_but_empty() {
    let tracker = tracker();
    assert_eq!(
        get(&tracker, "3031:3233:3435:3637:3839:4142:4344:4546", &announce(0x4748, "")),
        "d8:completei0e10:downloadedi0e11:external ip16:0123456789ABCDEF10:incompletei1e8:intervali1800e\
         12:min intervali900e5:peers0:6:peers618:0123456789ABCDEFGHe"
    );
}

#[test]
fn dictionary_peers_name_the_announcer_s_peer_id_only() {
    let tracker = tracker();
    let path = |port| announce(port, "&compact=0");
    let peers = |body: String| body[body.find("5:peers").unwrap()..].to_owned();
    assert_eq!(
        peers(get(&tracker, "192.0.2.1", &path(1))),
        "5:peersld2:ip9:192.0.2.17:peer id20:-TR4050-bbbbbbbbbbbb4:porti1eeee"
    );
    assert_eq!(peers(get(&tracker, "192.0.2.1", &path(2))), "5:peersld2:ip9:192.0.2.14:porti1eeee");
    assert_eq!(
        peers(get(&tracker, "2001:db8::1", &announce(65535, "&compact=&no_peer_id=1"))),
        "5:peersld2:ip11:2001:db8::14:porti65535eeee"
    );
}

#[test]
fn a_client_that_names_its_address_of_the_other_family_is_in_both_swarms() {
    let options = HttpConfig { allow_ip_spoofing: true, ..HttpConfig::default() };
    let tracker = Tracker::new(options);
    let claim = "&ipv6=[3031:3233:3435:3637:3839:4142:4344:4546]:18505";
    assert_eq!(
        get(&tracker, "192.0.2.1", &announce(0x4142, claim)),
        "d8:completei0e10:downloadedi0e11:external ip4:\\xc0\\x00\\x02\\x0110:incompletei2e\
         8:intervali1800e12:min intervali900e5:peers6:\\xc0\\x00\\x02\\x01AB\
         6:peers618:0123456789ABCDEFHIe"
    );
    let over_v6 = get(&tracker, "2001:db8::1", &announce(1, ""));
    assert!(over_v6.ends_with("5:peers0:6:peers618:0123456789ABCDEFHIe"), "{over_v6}");
    let listed = get(&tracker, "192.0.2.2", &announce(2, "&compact=0&ipv6=2001:db8::2"));
    let peers = "5:peersld2:ip9:192.0.2.14:porti16706eed2:ip";
    assert!(listed.contains(peers) && listed.contains("4:porti18505ee"), "{listed}");
    assert_eq!(tracker.journal.announced.lock().unwrap().len(), 5);
    let swarms = |claim: &str| {
        let tracker = Tracker::new(HttpConfig::default());
        get(&tracker, "192.0.2.1", &announce(1, claim))
    };
    assert_eq!(swarms("&ipv6=2001:db8::2"), swarms(""), "where claims do not count");
    // It is the only one over IPv4 in this swarm, and is not named beside one over IPv6.
    let path = |port, extra| announce(port, extra).replace("aaaa", "bbbb");
    get(&tracker, "2001:db8::4", &path(4, ""));
    let beside = get(&tracker, "192.0.2.5", &path(5, "&ipv6=2001:db8::5"));
    assert!(beside.contains("5:peers0:6:peers618:"), "{beside}");
    let refused = get(&tracker, "192.0.2.3", &announce(1, "&refuse&ipv6=2001:db8::3"));
    assert_eq!(refused, "d14:failure reason17:unapproved cliente");
}

#[test]
fn a_scrape_answers_in_sorted_order_with_zeros_for_unknown_torrents() {
    let tracker = tracker();
    get(&tracker, "192.0.2.1", &announce(1, ""));
    get(&tracker, "192.0.2.1", &announce(2, "&left=0&event=completed"));
    let path = "/scrape?info_hash=zzzzzzzzzzzzzzzzzzzz&info_hash=aaaaaaaaaaaaaaaaaaaa\
                &info_hash=zzzzzzzzzzzzzzzzzzzz";
    assert_eq!(
        get(&tracker, "192.0.2.9", path),
        "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi1e10:incompletei1ee\
         20:zzzzzzzzzzzzzzzzzzzzd8:completei0e10:downloadedi0e10:incompletei0eeee"
    );
    let over_v6 = get(&tracker, "2001:db8::1", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
    assert!(over_v6.contains("8:completei0e"), "swarms of the families are separate: {over_v6}");
}

#[test]
fn faults_are_told_with_status_200() {
    let tracker = tracker();
    let bodies = [
        ("/announce", "d14:failure reason31:no info_hash parameter suppliede"),
        ("/scrape", "d14:failure reason31:no info_hash parameter suppliede"),
        ("/scrape?info_hash=a", "d14:failure reason25:provided invalid infohashe"),
        ("/announce?a=%", "d14:failure reason20:invalid query escapee"),
    ];
    for (path, body) in bodies {
        assert_eq!(get(&tracker, "192.0.2.1", path), body, "{path}");
    }
    let refused = get(&tracker, "192.0.2.1", &announce(1, "&refuse"));
    assert_eq!(refused, "d14:failure reason17:unapproved cliente");
}

#[test]
fn a_fault_of_ours_keeps_its_cause_and_asks_for_patience() {
    let tracker = tracker();
    tracker.pipeline.store(Arc::new(pipeline(Arc::new(Broken), &tracker.journal, 1)));
    let body = "d14:failure reason21:internal server error8:retry ini5ee";
    assert_eq!(get(&tracker, "192.0.2.1", &announce(1, "")), body);
    assert_eq!(get(&tracker, "192.0.2.1", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa"), body);
    assert_eq!(tracker.journal.responses.lock().unwrap()[0].2, "internal error");
}

#[test]
fn unknown_paths_are_not_found_and_only_get_is_allowed() {
    let tracker = tracker();
    let status = |method, path| request(&tracker, "192.0.2.1", method, path).status();
    assert_eq!(status(Method::GET, "/"), StatusCode::NOT_FOUND);
    assert_eq!(status(Method::POST, "/announcement"), StatusCode::NOT_FOUND);
    assert_eq!(status(Method::GET, "/%zz"), StatusCode::BAD_REQUEST);
    for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
        let reply = request(&tracker, "192.0.2.1", method, "/announce");
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.headers()["allow"], "GET");
    }
    assert!(tracker.journal.responses.lock().unwrap().is_empty());
}

#[test]
fn route_parameters_reach_the_hooks() {
    let options = HttpConfig {
        announce_routes: vec!["/announce".to_owned(), "/:refuse/announce".to_owned()],
        ..HttpConfig::default()
    };
    let tracker = Tracker::new(options);
    let refused = get(&tracker, "192.0.2.1", &format!("/k3y{}", announce(1, "")));
    assert_eq!(refused, "d14:failure reason17:unapproved cliente");
}

#[test]
fn post_hooks_see_what_was_answered_and_metrics_see_everything() {
    let tracker = tracker();
    get(&tracker, "192.0.2.1", &announce(1, ""));
    get(&tracker, "192.0.2.1", &announce(2, "&refuse=1"));
    get(&tracker, "192.0.2.1", &announce(3, "&port=bad"));
    get(&tracker, "2001:db8::1", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(*tracker.journal.announced.lock().unwrap(), ["192.0.2.1:1".parse().unwrap()]);
    let (v4, v6) = ("192.0.2.1".parse().ok(), "2001:db8::1".parse().ok());
    let expected = [
        (Action::Announce, v4, ""),
        (Action::Announce, v4, "unapproved client"),
        (Action::Announce, None, "failed to parse parameter: port"),
        (Action::Scrape, v6, ""),
    ]
    .map(|(action, client, error)| (action, client, error.to_owned()));
    assert_eq!(*tracker.journal.responses.lock().unwrap(), expected);
}

#[test]
fn a_reload_applies_to_the_next_request() {
    let tracker = tracker();
    let announce_routes = vec!["/new".to_owned()];
    let options = HttpConfig { announce_routes, ..HttpConfig::default() };
    let status = |path| request(&tracker, "192.0.2.1", Method::GET, path).status();
    assert_eq!(status("/new"), StatusCode::NOT_FOUND);
    tracker.frontend.reload(Settings::new(options).unwrap());
    assert_eq!(status("/new"), StatusCode::OK);
    assert_eq!(status("/announce"), StatusCode::NOT_FOUND);
    let pipeline = pipeline(Arc::new(Swarms::default()), &tracker.journal, 77);
    tracker.pipeline.store(Arc::new(pipeline));
    let body = get(&tracker, "192.0.2.1", &announce(1, "").replace("/announce", "/new"));
    assert!(body.contains("8:intervali77e"), "{body}");
}
