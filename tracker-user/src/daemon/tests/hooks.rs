//! Each hook as it is configured, through both frontends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    sync::Mutex,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::json;
use tracker_common::announce::Event;

use super::*;
use crate::{
    middleware::tests::Service,
    pipeline::{
        AnnounceRequest, AnnounceResponse, Interest, PostHook, PreHook, Refusal, ScrapeRequest,
    },
};

const LISTEN: &str = "http:
  addr: 127.0.0.1:0
  announce_routes: [/announce, /route/:passkey/:jwt]
udp:
  addr: 127.0.0.1:0
";

/// A tracker with these hooks.
pub(super) fn tracker(prehooks: &str) -> Running {
    Running::start(&with(prehooks)).unwrap()
}

pub(super) fn with(prehooks: &str) -> String {
    format!("{LISTEN}prehooks:\n{prehooks}")
}

/// What an announce of the torrent `a` with these parameters is answered with by HTTP and by UDP:
/// the reason of a refusal, or "".
pub(super) fn reasons(running: &Running, params: &str) -> [String; 2] {
    [over_http(&running.get(&announce(1, &format!("&{params}")))), over_udp(running, params)]
}

pub(super) fn over_http(reply: &str) -> String {
    let Some((_, rest)) = reply.split_once("14:failure reason") else {
        assert!(reply.contains("8:interval"), "{reply}");
        return String::new();
    };
    let (length, text) = rest.split_once(':').unwrap();
    text[..length.parse().unwrap()].to_owned()
}

fn over_udp(running: &Running, params: &str) -> String {
    with_url_data(running, &format!("/announce?{params}"))
}

fn with_url_data(running: &Running, url_data: &str) -> String {
    let udp = running.udp();
    let options = url_data.as_bytes().chunks(255).flat_map(|part| {
        let length = part.len() as u8;
        [&[2, length][..], part].concat()
    });
    let announce = Announce { options: options.collect(), ..Announce::of_port(1) };
    udp_reason(&udp.announce_as(udp.connect(), &announce))
}

fn udp_reason(reply: &[u8]) -> String {
    if reply[..4] == action::ANNOUNCE {
        return String::new();
    }
    assert_eq!(reply[..4], action::ERROR);
    String::from_utf8(reply[8..reply.len() - 1].to_vec()).unwrap()
}

pub(super) fn both(reason: &str) -> [String; 2] {
    [reason.to_owned(), reason.to_owned()]
}

/// The info-hash of the torrent `a`.
const HASH: &str = "6161616161616161616161616161616161616161";
const OTHER_HASH: &str = "6262626262626262626262626262626262626262";

/// A hook with these options in one line.
pub(super) fn hook(name: &str, options: &str) -> String {
    format!("  - {{ name: {name}, options: {{ {options} }} }}\n")
}

#[test]
fn torrent_approval_refuses_by_lists_in_the_file() {
    for (options, reason) in [
        (format!("whitelist: ['{HASH}']"), ""),
        (format!("whitelist: ['{OTHER_HASH}']"), "unapproved torrent"),
        (format!("blacklist: ['{HASH}']"), "unapproved torrent"),
        (format!("blacklist: ['{OTHER_HASH}']"), ""),
    ] {
        let running = tracker(&hook("torrent approval", &options));
        assert_eq!(reasons(&running, ""), both(reason), "{options}");
    }
}

#[test]
fn torrent_approval_follows_files_as_they_change() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    fs::write(&list, format!("{HASH} # a\n{OTHER_HASH} # b\n")).unwrap();
    let options = format!("whitelist_files: [{}]", list.display());
    let running = tracker(&hook("torrent approval", &options));
    assert_eq!(reasons(&running, ""), both(""));
    let next = directory.path().join("next");
    fs::write(&next, OTHER_HASH).unwrap();
    fs::rename(&next, &list).unwrap();
    wait_until(|| reasons(&running, "") == both("unapproved torrent"));
    // What cannot be read changes nothing.
    fs::write(&list, "all of them").unwrap();
    wait_until(|| failures(&running, "torrent approval") == 1);
    assert_eq!(reasons(&running, ""), both("unapproved torrent"));
}

/// Waits for what takes a few looks at a file.
fn wait_until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn failures(running: &Running, hook: &str) -> u64 {
    let line = format!(r#"xdp_tracker_hook_refreshes_total{{hook="{hook}",outcome="failed"}} "#);
    let metrics = running.metrics();
    metrics.lines().find_map(|metric| metric.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[test]
fn client_approval_refuses_by_the_peer_id() {
    for (options, reason) in [
        ("whitelist: [TR4050]", ""),
        ("whitelist: [TR4060]", "unapproved client"),
        ("blacklist: [TR4050]", "unapproved client"),
        ("blacklist: [TR4060]", ""),
    ] {
        let running = tracker(&hook("client approval", options));
        assert_eq!(reasons(&running, ""), both(reason), "{options}");
    }
}

#[test]
fn ip_approval_refuses_by_the_address_and_scrapes_too() {
    for (options, reason) in [
        ("allow: [127.0.0.0/8]", ""),
        ("allow: [192.0.2.0/24]", "unapproved ip"),
        ("allow: [127.0.0.0/8], deny: [127.0.0.1]", "unapproved ip"),
        ("deny: [192.0.2.0/24]", ""),
    ] {
        let running = tracker(&hook("ip approval", options));
        assert_eq!(reasons(&running, ""), both(reason), "{options}");
        let scrape = running.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
        assert_eq!(scrape.contains("13:unapproved ip"), !reason.is_empty(), "{scrape}");
        let udp = running.udp();
        let is_refused = udp.scrape(udp.connect(), 1)[..4] == action::ERROR;
        assert_eq!(is_refused, !reason.is_empty());
    }
}

#[test]
fn interval_variation_is_the_same_over_http_and_udp() {
    let options = "modify_response_probability: 1, max_increase_delta: 600";
    let running = tracker(&hook("interval variation", options));
    let udp = running.udp();
    let reply = udp.announce(udp.connect(), 1, [0; 4]);
    let interval_s = u32::from_be_bytes(reply[8..12].try_into().unwrap());
    assert!((1801..=2400).contains(&interval_s), "{interval_s}");
    let reply = running.get(&announce(1, ""));
    assert!(reply.contains(&format!("8:intervali{interval_s}e")), "{reply}");
}

#[test]
fn preferred_subnet_refuses_nobody() {
    let options = "preferred_ipv4_subnet_mask_bits_set: 24";
    assert_eq!(reasons(&tracker(&hook("preferred subnet", options)), ""), both(""));
}

/// Signs tokens for the torrent `a`, and publishes its key.
pub(super) struct Issuer {
    pair: Ed25519KeyPair,
    pub(super) service: Service,
}

impl Issuer {
    pub(super) fn start() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x });
        let service = Service::start(json!({ "keys": [key] }));
        Self { pair, service }
    }

    pub(super) fn token(&self, info_hash: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"1"}"#);
        let claims = json!({ "iss": "i", "aud": "a", "infohash": info_hash }).to_string();
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// An HTTP service on loopback that answers what is posted to it; its URL.
fn service(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let lines = reader.by_ref().lines().map_while(Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let length = head.iter().find_map(|line| {
                line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let answer = answer(str::from_utf8(&body).unwrap());
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{answer}").as_bytes());
        }
    });
    url
}

#[test]
fn jwt_takes_the_token_from_query_route_and_url_data() {
    let issuer = Issuer::start();
    let options = format!("issuer: i, audience: a, jwk_set_url: '{}'", issuer.service.url);
    let running = tracker(&hook("jwt", &options));
    assert_eq!(reasons(&running, ""), both("unapproved request: missing jwt"));
    let (good, bad) = (issuer.token(&"a".repeat(20)), issuer.token(&"b".repeat(20)));
    assert_eq!(reasons(&running, &format!("jwt={good}")), both(""));
    assert_eq!(reasons(&running, &format!("jwt={bad}")), both("unapproved request: invalid jwt"));
    let by_route = announce(1, "").replace("/announce", &format!("/route/-/{good}"));
    assert_eq!(over_http(&running.get(&by_route)), "");
    assert_eq!(with_url_data(&running, &format!("/route/-/{good}")), "");
}

#[test]
fn passkey_takes_the_key_from_query_route_and_url_data() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "k3y\n").unwrap();
    let running = tracker(&hook("passkey", &format!("files: [{}]", file.path().display())));
    assert_eq!(reasons(&running, ""), both("unapproved request: missing passkey"));
    assert_eq!(reasons(&running, "passkey=k3y"), both(""));
    assert_eq!(reasons(&running, "passkey=x"), both("unapproved request: invalid passkey"));
    let by_route = announce(1, "").replace("/announce", "/route/k3y/-");
    assert_eq!(over_http(&running.get(&by_route)), "");
    assert_eq!(with_url_data(&running, "/route/k3y/-"), "");
    assert_eq!(with_url_data(&running, "/route/x/-"), "unapproved request: invalid passkey");
}

#[test]
fn passkey_asks_a_service_while_http_waits_and_udp_is_silent() {
    let url = service(|question| question.replace(r#""bad""#, ""));
    let options = format!("url: '{url}', timeout: 10s");
    let running = tracker(&hook("passkey", &options));
    assert_eq!(over_http(&running.get(&announce(1, "&passkey=good"))), "");
    let invalid = "unapproved request: invalid passkey";
    assert_eq!(over_http(&running.get(&announce(1, "&passkey=bad"))), invalid);
    assert_eq!(reasons(&running, "passkey=good"), both(""));
    assert_eq!(reasons(&running, "passkey=bad"), both(invalid));

    let udp = running.udp();
    let id = udp.connect();
    udp.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let url_data = b"/?passkey=new";
    let options = [&[2, url_data.len() as u8][..], url_data].concat();
    let announce = Announce { options, ..Announce::of_port(1) };
    // A client sends again; sooner or later there is an answer.
    let packet = announce.packet(id);
    let mut reply = [0; 100];
    let answered = (0..600).find_map(|_| {
        udp.socket.send(&packet).unwrap();
        udp.socket.recv(&mut reply).ok()
    });
    assert_eq!(udp_reason(&reply[..answered.unwrap()]), "");
}

#[test]
fn the_first_hook_that_refuses_is_the_one_that_is_heard() {
    let clients = hook("client approval", "blacklist: [TR4050]");
    let torrents = hook("torrent approval", &format!("blacklist: ['{HASH}']"));
    let first_clients = tracker(&format!("{clients}{torrents}"));
    assert_eq!(reasons(&first_clients, ""), both("unapproved client"));
    let first_torrents = tracker(&format!("{torrents}{clients}"));
    assert_eq!(reasons(&first_torrents, ""), both("unapproved torrent"));
}

#[test]
fn a_hook_that_cannot_be_made_is_named() {
    let missing = Path::new("/no/such/list");
    let options = format!("deny_files: [{}]", missing.display());
    let text = with(&hook("ip approval", &options));
    let error = format!("{:#}", Running::start(&text).err().unwrap());
    assert!(
        error.contains(
            ": chihaya.prehooks[0].options.deny_files[0]: the hook `ip approval`: cannot read the list \
             /no/such/list: "
        ),
        "{error}"
    );
}

#[test]
fn hooks_of_ones_own_run_after_those_of_the_file() {
    /// Refuses whatever comes, and remembers what was answered.
    #[derive(Default)]
    struct Own(Mutex<Vec<Event>>);

    impl PreHook for Own {
        fn name(&self) -> &'static str {
            "own"
        }

        fn announce(
            &self,
            request: &AnnounceRequest,
            _: &mut AnnounceResponse,
        ) -> Result<(), Refusal> {
            match request.params.get("refuse") {
                Some(_) => Err(Refusal::Client("not by me".into())),
                None => Ok(()),
            }
        }

        fn scrape(&self, _: &ScrapeRequest) -> Result<(), Refusal> {
            Err(Refusal::Client("nor that".into()))
        }
    }

    impl PostHook for Own {
        fn name(&self) -> &'static str {
            "own"
        }

        fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
            self.0.lock().unwrap().push(request.event);
        }

        fn interest(&self) -> Interest {
            Interest::Transitions
        }
    }

    let own = Arc::new(Own::default());
    let hooks = OwnHooks { pre_hooks: vec![own.clone()], post_hooks: vec![own.clone()] };
    let clients = hook("client approval", "blacklist: [TR4060]");
    let running = Running::start_with(&with(&clients), &hooks).unwrap();
    assert_eq!(reasons(&running, "refuse"), both("not by me"));
    assert_eq!(*own.0.lock().unwrap(), []);
    assert_eq!(reasons(&running, ""), both(""));
    wait_until(|| own.0.lock().unwrap().len() == 2);
    let scrape = running.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa");
    assert!(scrape.contains("8:nor that"), "{scrape}");
    let by_another_client = announce(1, "&refuse").replace("TR4050", "TR4060");
    assert_eq!(over_http(&running.get(&by_another_client)), "unapproved client");
}
