use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const LISTEN: &str = "http: { addr: '127.0.0.1:0' }\nudp: { addr: '127.0.0.1:0' }\n";

/// A configuration that listens, with these keys of `http` and `udp`.
fn with(lines: &str, http: &str, udp: &str) -> String {
    format!(
        "{lines}\nhttp: {{ addr: '127.0.0.1:0', {http} }}\nudp: {{ addr: '127.0.0.1:0', {udp} }}"
    )
}

#[test]
fn a_reload_keeps_peers_connection_ids_and_connections() {
    let mut running =
        Running::start(&with("", "enable_keepalive: true, read_timeout: 1m", "")).unwrap();
    let udp = running.udp();
    let id = udp.connect();
    udp.announce(id, 1, [0; 4]);
    let mut kept = TcpStream::connect(running.addr("HTTP")).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();

    assert!(running.reload(&with("announce_interval: 10m", "", "")).is_empty());
    let reply = udp.announce(id, 2, [0; 4]);
    assert_eq!(reply[8..12], 600_u32.to_be_bytes());
    assert_eq!(reply[20..], [127, 0, 0, 1, 0, 1]);
    write!(kept, "GET {} HTTP/1.0\r\n\r\n", announce(3, "")).unwrap();
    let mut reply = Vec::new();
    kept.read_to_end(&mut reply).unwrap();
    assert!(reply.escape_ascii().to_string().contains("8:intervali600e"));
}

#[test]
fn a_reload_under_load_loses_no_packet() {
    const RELOADS: u32 = 50;
    let mut running = Running::start(LISTEN).unwrap();
    let done = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let client = running.udp();
        let announcing = scope.spawn(|| {
            let client = client;
            let id = client.connect();
            let mut answers = 0;
            // An answer that does not come fails the test.
            while !done.load(Ordering::Relaxed) {
                assert_eq!(client.announce(id, 1, [0; 4])[..4], action::ANNOUNCE);
                answers += 1;
            }
            answers
        });
        for minutes in 1..=RELOADS {
            running.reload(&with(&format!("announce_interval: {minutes}m"), "", ""));
        }
        done.store(true, Ordering::Relaxed);
        announcing.join().unwrap()
    });
    assert!(answers > 0);
}

#[test]
fn what_frontends_go_by_changes_with_the_next_request() {
    let mut running = Running::start(LISTEN).unwrap();
    let udp = running.udp();
    let id = udp.connect();
    assert_eq!(udp.scrape(id, 3).len(), 8 + 3 * 12);
    assert!(running.get("/new").starts_with("HTTP/1.1 404"));
    running.reload(&with("", "announce_routes: [/new]", "max_scrape_infohashes: 2"));
    assert_eq!(udp.scrape(id, 3).len(), 8 + 2 * 12);
    assert!(running.get("/new").starts_with("HTTP/1.1 200"));
    assert!(running.get("/announce").starts_with("HTTP/1.1 404"));
}

#[test]
fn hooks_change_with_the_next_request() {
    let mut running = Running::start(LISTEN).unwrap();
    assert!(running.get(&announce(1, "")).contains("incomplete"));
    let hooks = format!(
        "prehooks: [ {{ name: torrent approval, options: {{ blacklist: [ '{}' ] }} }} ]\n{LISTEN}",
        "61".repeat(20),
    );
    running.reload(&hooks);
    assert!(running.get(&announce(1, "")).contains("unapproved torrent"));
    running.reload(LISTEN);
    assert!(running.get(&announce(1, "")).contains("incomplete"));
}

#[test]
fn a_certificate_is_read_again() {
    let old = Certificate::new();
    let config = old.config();
    let mut running = Running::start(&config).unwrap();
    let https = running.addr("HTTPS");
    assert!(old.get(https, "/announce").contains("200 OK"));
    let new = old.renew();
    assert_eq!(new.get(https, "/announce"), "");
    running.reload(&config);
    assert!(new.get(https, "/announce").contains("200 OK"));
}

#[test]
fn a_shorter_life_of_peers_counts_at_once() {
    let mut running = Running::start(LISTEN).unwrap();
    running.get(&announce(1, ""));
    let scrape = "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa";
    assert!(running.get(scrape).contains("10:incompletei1e"));
    running.reload(&format!(
        "storage: {{ name: memory, config: {{ peer_lifetime: 1ns }} }}\n{LISTEN}"
    ));
    while !running.get(scrape).contains("10:incompletei0e") {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn where_it_listens_and_the_size_of_the_table_wait_for_a_restart() {
    let mut running = Running::start(LISTEN).unwrap();
    let (http, udp) = (running.addr("HTTP"), running.addr("UDP"));
    let waiting = running.reload(
        "http: { addr: '127.0.0.1:1' }\nudp: { addr: '127.0.0.1:2' }\nxdp: { table: { blocks: 1MiB } }",
    );
    assert_eq!(waiting, ["http.addr", "udp.addr", "xdp.table"]);
    assert_eq!((http, udp), (running.addr("HTTP"), running.addr("UDP")));
    assert!(running.get(&announce(1, "")).contains("incomplete"));
    assert!(running.reload(LISTEN).is_empty());
}

#[test]
fn a_configuration_that_cannot_be_used_is_found_before_anything_changes() {
    for (lines, reason) in [
        ("http: { addr: ':1', announce_routes: ['/:'] }", "has a parameter without a name"),
        (
            "http: { https_addr: ':1', tls_cert_path: /no/c.pem, tls_key_path: /no/k.pem }",
            "no certificate in /no/c.pem",
        ),
        ("udp: { addr: ':1' }\nunheard: 1", "t.yaml:3: chihaya.unheard: unknown key"),
    ] {
        let error = format!("{:#}", prepare(lines).err().unwrap());
        assert!(error.contains(reason), "{error}");
    }
}
