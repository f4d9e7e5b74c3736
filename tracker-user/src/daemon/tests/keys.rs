//! Every key of Chihaya's example file has its effect: one test each, on what clients or operators
//! can observe. Those of hooks are with the hooks.

use tracker_common::family::V4;

use super::*;
use crate::{clock::wall_ns, daemon::secrets::ConnectionKey};

/// The keys of Chihaya's example, in the order of its documentation, all with its values.
const EXAMPLE: &str = r#"
announce_interval: "30m"
min_announce_interval: "15m"
metrics_addr: "0.0.0.0:6880"
http:
  addr: "0.0.0.0:6969"
  https_addr: ""
  tls_cert_path: ""
  tls_key_path: ""
  read_timeout: "5s"
  write_timeout: "5s"
  enable_keepalive: false
  idle_timeout: "30s"
  enable_request_timing: false
  announce_routes: ["/announce"]
  scrape_routes: ["/scrape"]
  allow_ip_spoofing: false
  real_ip_header: "x-real-ip"
  max_numwant: 100
  default_numwant: 50
  max_scrape_infohashes: 50
udp:
  addr: "0.0.0.0:6969"
  max_clock_skew: "10s"
  private_key: "a long random text of the operator's"
  enable_request_timing: false
  allow_ip_spoofing: false
  max_numwant: 100
  default_numwant: 50
  max_scrape_infohashes: 50
storage:
  name: "memory"
  config:
    gc_interval: "3m"
    peer_lifetime: "31m"
    shard_count: 1024
    prometheus_reporting_interval: "1s"
prehooks:
"#;

/// A tracker with these keys of `http`.
fn with_http(keys: &str) -> Running {
    Running::start(&format!("http: {{ addr: '127.0.0.1:0', {keys} }}")).unwrap()
}

/// A tracker with these keys of `udp`.
fn with_udp(keys: &str) -> Running {
    Running::start(&format!("udp: {{ addr: '127.0.0.1:0', {keys} }}")).unwrap()
}

/// A tracker whose storage has these options.
fn with_storage(keys: &str) -> Running {
    Running::start(&format!(
        "http: {{ addr: '127.0.0.1:0' }}\nstorage: {{ name: memory, config: {{ {keys} }} }}"
    ))
    .unwrap()
}

/// How many peers the reply to an announce of the last of `peers` carries.
fn peers_over_http(running: &Running, peers: u16, extra: &str) -> usize {
    (1..peers).for_each(|port| _ = running.get(&announce(port, "")));
    let reply = running.get(&announce(peers, extra));
    let length = reply.split("5:peers").nth(1).unwrap().split(':').next().unwrap();
    length.parse::<usize>().unwrap() / 6
}

fn peers_over_udp(client: &UdpClient, peers: u16, numwant: i32) -> usize {
    let id = client.connect();
    (1..peers).for_each(|port| _ = client.announce(id, port, [0; 4]));
    let announce = Announce { numwant, ..Announce::of_port(peers) };
    (client.announce_as(id, &announce).len() - 20) / 6
}

fn wait_for(running: &Running, line: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !running.metrics().lines().any(|shown| shown == line) {
        assert!(std::time::Instant::now() < deadline, "{line} is not in\n{}", running.metrics());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The sum of all durations of this protocol.
fn total_ms(running: &Running, protocol: &str) -> f64 {
    let name = format!("chihaya_{protocol}_response_duration_milliseconds_sum");
    let metrics = running.metrics();
    let sums = metrics.lines().filter(|line| line.starts_with(&name));
    sums.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn the_example_loads() {
    prepare(EXAMPLE).unwrap();
}

#[test]
fn announce_interval() {
    let running = Running::start(
        "announce_interval: 7m\nhttp: { addr: '127.0.0.1:0' }\nudp: { addr: '127.0.0.1:0' }",
    )
    .unwrap();
    assert!(running.get(&announce(1, "")).contains("8:intervali420e"));
    let udp = running.udp();
    assert_eq!(udp.announce(udp.connect(), 1, [0; 4])[8..12], 420_u32.to_be_bytes());
}

#[test]
fn min_announce_interval() {
    let running =
        Running::start("min_announce_interval: 6m\nhttp: { addr: '127.0.0.1:0' }").unwrap();
    assert!(running.get(&announce(1, "")).contains("12:min intervali360e"));
}

#[test]
fn metrics_addr() {
    let running =
        Running::start("metrics_addr: '127.0.0.1:0'\nudp: { addr: '127.0.0.1:0' }").unwrap();
    let metrics = get_from(running.addr("metrics"), "/metrics", "");
    assert!(metrics.contains("chihaya_storage_infohashes_count 0"), "{metrics}");
}

#[test]
fn http_addr() {
    assert!(with_http("").get(&announce(1, "")).starts_with("HTTP/1.1 200 OK\n"));
}

#[test]
fn http_https_addr_tls_cert_path_and_tls_key_path() {
    let certificate = Certificate::new();
    let running = Running::start(&certificate.config()).unwrap();
    assert!(certificate.get(running.addr("HTTPS"), &announce(1, "")).contains("10:incompletei1e"));
}

#[test]
fn http_read_timeout() {
    let running = with_http("read_timeout: 20ms");
    let mut silent = TcpStream::connect(running.addr("HTTP")).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed by the tracker");
}

/// What it does where a client does not read is shown by the frontend's own tests.
#[test]
fn http_write_timeout() {
    let timeout = |lines: &str| {
        let config: config::Config = serde_yaml::from_str(lines).unwrap();
        *config.http.write_timeout
    };
    assert_eq!(timeout("http: { write_timeout: 5s }"), Duration::from_secs(5));
    assert_eq!(timeout("{}"), Duration::from_secs(2));
}

#[test]
fn http_enable_keepalive() {
    for (keys, kept) in [("enable_keepalive: false", false), ("enable_keepalive: true", true)] {
        let running = with_http(keys);
        let mut stream = TcpStream::connect(running.addr("HTTP")).unwrap();
        let one = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", announce(1, ""));
        stream.write_all(one.as_bytes()).unwrap();
        // The last of the requests closes the connection.
        let _ = stream.write_all(one.replace("Host: t", "Connection: close").as_bytes());
        let mut replies = Vec::new();
        let _ = stream.read_to_end(&mut replies);
        let count = replies.escape_ascii().to_string().matches("HTTP/1.1 200").count();
        assert_eq!(count, 1 + usize::from(kept));
    }
}

#[test]
fn http_idle_timeout() {
    let running = with_http("enable_keepalive: true, idle_timeout: 20ms");
    let mut stream = TcpStream::connect(running.addr("HTTP")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {} HTTP/1.1\r\nHost: t\r\n\r\n", announce(1, "")).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the tracker closes the connection");
    assert!(reply.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn http_enable_request_timing() {
    for (keys, timed) in
        [("enable_request_timing: false", false), ("enable_request_timing: true", true)]
    {
        let running = with_http(keys);
        running.get(&announce(1, ""));
        assert_eq!(total_ms(&running, "http") > 0.0, timed);
    }
}

#[test]
fn http_announce_routes() {
    let running = with_http("announce_routes: [/announce.php, '/:key/announce', '/t/*rest']");
    for path in ["/announce.php", "/k3y/announce", "/t/a/b"] {
        assert!(running.get(path).contains("no info_hash parameter supplied"), "{path}");
    }
    assert!(running.get("/announce").starts_with("HTTP/1.1 404"));
}

#[test]
fn http_scrape_routes() {
    let running = with_http("scrape_routes: [/scrape.php]");
    assert!(running.get("/scrape.php?info_hash=aaaaaaaaaaaaaaaaaaaa").contains("d5:files"));
    assert!(running.get("/scrape").starts_with("HTTP/1.1 404"));
}

#[test]
fn http_allow_ip_spoofing() {
    for (keys, peer) in
        [("", "\\x7f\\x00\\x00\\x01"), ("allow_ip_spoofing: true", "\\x01\\x02\\x03\\x04")]
    {
        let reply = with_http(keys).get(&announce(1, "&ip=1.2.3.4"));
        assert!(reply.contains(&format!("5:peers6:{peer}\\x00\\x01")), "{reply}");
    }
}

#[test]
fn http_real_ip_header() {
    for (keys, peer) in
        [("", "\\x7f\\x00\\x00\\x01"), ("real_ip_header: x-real-ip", "\\x01\\x02\\x03\\x04")]
    {
        let reply = with_http(keys).get_with(&announce(1, ""), "X-Real-IP: 1.2.3.4\r\n");
        assert!(reply.contains(&format!("5:peers6:{peer}\\x00\\x01")), "{reply}");
    }
}

#[test]
fn http_max_numwant() {
    assert_eq!(peers_over_http(&with_http("max_numwant: 3"), 6, "&numwant=5"), 3);
}

#[test]
fn http_default_numwant() {
    assert_eq!(peers_over_http(&with_http("default_numwant: 2"), 6, ""), 2);
}

#[test]
fn http_dual_stack() {
    for (keys, peers, seeders) in [
        ("", "6:\\xc0\\x00\\x02\\x01\\x00\\x01e", 1),
        ("dual_stack: own", "6:\\xc0\\x00\\x02\\x01\\x00\\x01e", 1),
        (
            "dual_stack: both",
            "6:\\xc0\\x00\\x02\\x01\\x00\\x016:peers618:3031323334353637\\x00\\x02e",
            2,
        ),
    ] {
        let running = with_http(&format!("real_ip_header: x-real-ip, {keys}"));
        let as_from =
            |client: &str, path: &str| running.get_with(path, &format!("X-Real-IP: {client}\r\n"));
        as_from("192.0.2.1", &announce(1, "&left=0"));
        let v6 = "3330:3331:3332:3333:3334:3335:3336:3337";
        as_from(v6, &announce(2, "&left=0"));
        let reply = as_from("192.0.2.3", &announce(3, ""));
        assert!(reply.ends_with(&format!("5:peers{peers}")), "{keys}: {reply}");
        assert!(reply.contains(&format!("8:completei{seeders}e")), "{keys}: {reply}");
        // The only IPv4 peer, itself, is not named beside others.
        as_from("192.0.2.1", &announce(1, "&event=stopped"));
        let reply = as_from("192.0.2.3", &announce(3, ""));
        assert_eq!(reply.contains("5:peers0:"), keys.ends_with("both"), "{keys}: {reply}");
        let scrape = as_from("192.0.2.3", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
        let expected = format!("8:completei{}e", seeders - 1);
        assert!(scrape.contains(&expected), "{keys}: {scrape}");
    }
}

#[test]
fn http_max_scrape_infohashes() {
    // The second request is longer than requests may be by default.
    for (max, asked) in [(2, 3), (900, 900)] {
        let running = with_http(&format!("max_scrape_infohashes: {max}"));
        let hashes: String = (0..asked)
            .map(|n| format!("info_hash=%{:02x}%{:02x}{}&", n / 256, n % 256, "%ff".repeat(18)))
            .collect();
        let reply = running.get(&format!("/scrape?{hashes}"));
        assert_eq!(reply.matches("8:complete").count(), max);
    }
}

#[test]
fn udp_addr() {
    let udp = with_udp("");
    let client = udp.udp();
    assert_eq!(client.announce(client.connect(), 1, [0; 4])[..4], action::ANNOUNCE);
}

#[test]
fn udp_private_key() {
    let keys = ["private_key: one", "private_key: one", "private_key: another"];
    let [one, same, another] = keys.map(with_udp);
    let id = one.udp().connect();
    assert_eq!(same.udp().scrape(id, 1)[..4], action::SCRAPE);
    assert_eq!(another.udp().scrape(id, 1)[8..], *b"bad connection ID\0");
}

/// The id that a tracker with the same key would issue to this machine when its clock says so.
fn foreign_id(private_key: &str, now_ns: u64) -> [u8; 8] {
    let udp = serde_yaml::from_str(&format!("private_key: {private_key}")).unwrap();
    ConnectionKey::new().unwrap().ids(&udp).issue::<V4>(&[127, 0, 0, 1], now_ns)
}

#[test]
fn udp_max_clock_skew() {
    let id = foreign_id("one", wall_ns() + 60_000_000_000);
    for (keys, action) in [("", action::ERROR), (", max_clock_skew: 70s", action::SCRAPE)] {
        let running = with_udp(&format!("private_key: one{keys}"));
        assert_eq!(running.udp().scrape(id, 1)[..4], action);
    }
}

/// Not a key of Chihaya's.
#[test]
fn udp_connection_id_lifetime() {
    let id = foreign_id("one", wall_ns() - 240_000_000_000);
    for (keys, action) in [("", action::ERROR), (", connection_id_lifetime: 5m", action::SCRAPE)] {
        let running = with_udp(&format!("private_key: one{keys}"));
        assert_eq!(running.udp().scrape(id, 1)[..4], action);
    }
}

#[test]
fn udp_enable_request_timing() {
    for (keys, timed) in
        [("enable_request_timing: false", false), ("enable_request_timing: true", true)]
    {
        let running = with_udp(keys);
        running.udp().connect();
        assert_eq!(total_ms(&running, "udp") > 0.0, timed);
    }
}

#[test]
fn udp_allow_ip_spoofing() {
    for (keys, peer) in [("", [127, 0, 0, 1]), ("allow_ip_spoofing: true", [1, 2, 3, 4])] {
        let running = with_udp(keys);
        let client = running.udp();
        let reply = client.announce(client.connect(), 1, [1, 2, 3, 4]);
        assert_eq!(reply[20..24], peer);
    }
}

#[test]
fn udp_max_numwant() {
    assert_eq!(peers_over_udp(&with_udp("max_numwant: 3").udp(), 6, 5), 3);
}

#[test]
fn udp_default_numwant() {
    assert_eq!(peers_over_udp(&with_udp("default_numwant: 2").udp(), 6, -1), 2);
}

#[test]
fn udp_max_scrape_infohashes() {
    let running = with_udp("max_scrape_infohashes: 2");
    let client = running.udp();
    assert_eq!(client.scrape(client.connect(), 3).len(), 8 + 2 * 12);
}

#[test]
fn storage_gc_interval() {
    let running = with_storage("gc_interval: 10ms, prometheus_reporting_interval: 1h");
    running.get(&announce(1, ""));
    // The sweep counts the peers, too.
    wait_for(&running, "chihaya_storage_leechers_count 1");
}

#[test]
fn storage_peer_lifetime() {
    let running = with_storage("gc_interval: 10ms, peer_lifetime: 1s");
    running.get(&announce(1, ""));
    wait_for(&running, "chihaya_storage_leechers_count 1");
    wait_for(&running, "chihaya_storage_leechers_count 0");
}

#[test]
fn storage_shard_count_has_none_and_a_warning_says_so() {
    let text =
        "chihaya: { udp: { addr: ':1' }, storage: { name: memory, config: { shard_count: 8 } } }";
    let loaded = config::parse("t.yaml", text, UnknownKeys::Refuse).unwrap();
    assert_eq!(loaded.warnings[0].key, "chihaya.storage.config.shard_count");
}

#[test]
fn storage_prometheus_reporting_interval() {
    let running = with_storage("prometheus_reporting_interval: 10ms");
    running.get(&announce(1, ""));
    wait_for(&running, "chihaya_storage_infohashes_count 1");
    wait_for(&running, "chihaya_storage_leechers_count 1");
}
