mod history;
mod hooks;
mod messages;
mod places;
mod redis;
mod rest;
mod secrets;

use std::cell::RefCell;

use boon::{Compiler, SchemaIndex, Schemas};

use super::*;
use crate::config::{
    GoDuration, HookConfig, StorageConfig, UdpConfig, file_schema, findings::FINDINGS_MAX,
};

/// Everything that a file of Chihaya's may say, in its spelling.
const FULL: &str = r#"
chihaya:
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
    enable_keepalive: true
    idle_timeout: "1m"
    enable_request_timing: true
    announce_routes:
      - "/announce"
      - "/announce/:passkey"
    scrape_routes:
      - "/scrape"
    allow_ip_spoofing: true
    real_ip_header: "x-real-ip"
    max_numwant: 200
    default_numwant: 60
    max_scrape_infohashes: 40
  udp:
    addr: "0.0.0.0:6969"
    max_clock_skew: "10s"
    private_key: "some secret"
    enable_request_timing: true
    allow_ip_spoofing: true
    max_numwant: 200
    default_numwant: 60
    max_scrape_infohashes: 40
  storage:
    name: memory
    config:
      gc_interval: 2m
      peer_lifetime: 32m
      shard_count: 512
      prometheus_reporting_interval: 2s
  posthooks: []
  prehooks:
  - name: torrent approval
    options:
      whitelist:
      - "0123456789abcdef0123456789abcdef01234567"
  - name: interval variation
    options:
      modify_response_probability: 0.2
      max_increase_delta: 60
      modify_min_interval: true
"#;

/// Reads a file. The schema of files takes each that is read.
fn strict(text: &str) -> Result<Loaded, ConfigError> {
    let loaded = parse("t.yaml", text, UnknownKeys::Refuse)?;
    let document = serde_json::to_value(read_yaml(text).unwrap()).unwrap();
    SCHEMA.with_borrow(|(schemas, schema)| {
        if let Err(error) = schemas.validate(&document, *schema) {
            panic!("the schema refuses {text}: {error:#}");
        }
    });
    Ok(loaded)
}

thread_local! {
    static SCHEMA: RefCell<(Schemas, SchemaIndex)> = {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", file_schema()).unwrap();
        let schema = compiler.compile("schema.json", &mut schemas).unwrap();
        RefCell::new((schemas, schema))
    };
}

/// A configuration that listens, with `lines` below `chihaya:`, from line 3 on.
fn with(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("chihaya:\n  metrics_addr: :6880\n{indented}")
}

fn listening(lines: &str) -> String {
    with(&format!("{lines}\nudp: {{ addr: ':6969' }}"))
}

fn errors(text: &str) -> Vec<String> {
    let Err(ConfigError::Invalid { findings, .. }) = strict(text) else {
        panic!("was accepted: {text}");
    };
    findings.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    strict(text).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_full_file_of_chihayas_is_read_in_full() {
    let Loaded { config, warnings, .. } = strict(FULL).unwrap();
    assert_eq!(*config.announce_interval, *GoDuration::from_mins(30));
    assert_eq!(config.metrics_addr.unwrap().to_bind().to_string(), "[::]:6880");
    assert_eq!(config.http.https_addr, None);
    assert_eq!(config.http.idle_timeout, GoDuration::from_mins(1));
    assert!(config.http.enable_keepalive && config.http.enable_request_timing);
    assert_eq!(config.http.announce_routes, ["/announce", "/announce/:passkey"]);
    assert_eq!(config.http.real_ip_header.as_deref(), Some("x-real-ip"));
    assert_eq!(config.udp.addr.len(), 1);
    assert_eq!(config.udp.max_clock_skew, GoDuration::from_secs(10));
    assert_eq!(config.udp.private_key.as_ref().unwrap().reveal(), "some secret");
    assert_eq!(
        (config.udp.max_numwant, config.udp.default_numwant, config.udp.max_scrape_infohashes),
        (200, 60, 40)
    );
    let StorageConfig::Memory(memory) = &config.storage else { panic!("{:?}", config.storage) };
    assert_eq!(memory.peer_lifetime.to_string(), "32m");
    assert_eq!(config.prehooks.len(), 2);
    assert_eq!(config.xdp.interfaces, [""; 0]);

    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "t.yaml:22: chihaya.http.real_ip_header: anyone may send this header; name your \
             proxies in trusted_proxies",
            "t.yaml:29: chihaya.udp.private_key: is shorter than 16 bytes and can be guessed: forged \
             connection ids would be accepted; give 32 or more random characters, or none",
            "t.yaml:40: chihaya.storage.config.shard_count: has no effect: the table needs no shards",
        ]
    );
}

#[test]
fn a_file_in_the_spelling_of_older_documents_is_read() {
    let text = "
chihaya:
  prometheus_addr: localhost:6880
  udp: { addr: ['192.0.2.1:6969', '[2001:db8::1]:6969'] }
  storage: { name: memory }
  prehooks:
    - config: { blacklist: [ 0123456789abcdef0123456789abcdef01234567 ] }
      name: torrent approval
";
    let Loaded { config, warnings, .. } = strict(text).unwrap();
    assert_eq!(config.metrics_addr.unwrap().to_string(), "127.0.0.1:6880");
    assert_eq!(config.udp.addr.len(), 2);
    let [HookConfig::TorrentApproval(approval)] = &config.prehooks[..] else { panic!() };
    assert_eq!(approval.blacklist.len(), 1);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["t.yaml:3: chihaya.metrics_addr: `prometheus_addr` is now called `metrics_addr`"]
    );
}

#[test]
fn keys_left_out_have_their_defaults() {
    let config = strict("chihaya: { udp: { addr: ':6969' } }").unwrap().config;
    let udp = UdpConfig { addr: vec![":6969".parse().unwrap()], ..UdpConfig::default() };
    assert_eq!(config, Config { udp, ..Config::default() });
}

#[test]
fn keys_with_nothing_after_them_count_as_left_out() {
    let text = listening("http:\nannounce_interval:\nprehooks:\nstorage:");
    assert_eq!(warnings(&text), [""; 0]);
}

#[test]
fn what_is_not_above_zero_gives_way_to_the_default() {
    let text = listening("announce_interval: 0\nhttp: { max_numwant: -3, read_timeout: -1s }");
    assert_eq!(
        warnings(&text),
        [
            "t.yaml:3: chihaya.announce_interval: is not above zero; the default, 30m, is used",
            "t.yaml:4: chihaya.http.read_timeout: is not above zero; the default, 2s, is used",
            "t.yaml:4: chihaya.http.max_numwant: is not above zero; the default, 100, is used",
        ]
    );
    assert_eq!(strict(&text).unwrap().config.http.max_numwant, 100);
    assert_eq!(warnings(&with("udp: { addr: ':1', max_clock_skew: 0, workers: 0 }")), [""; 0]);
}

#[test]
fn a_bare_number_as_a_duration_is_remarked_upon() {
    let text = listening("announce_interval: 1800000000000");
    assert_eq!(*strict(&text).unwrap().config.announce_interval, *GoDuration::from_mins(30));
    assert!(warnings(&text)[0].ends_with("has no unit and counts nanoseconds: write 30m"));
}

#[test]
fn every_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let text =
        listening("anounce_interval: 30m\nhttp:\n  frobnicate: 1\nxdp:\n  table: {block: 1}");
    let expected = [
        "t.yaml:3: chihaya.anounce_interval: unknown key; did you mean `announce_interval`?",
        "t.yaml:5: chihaya.http.frobnicate: unknown key",
        "t.yaml:7: chihaya.xdp.table.block: unknown key; did you mean `blocks`?",
    ];
    assert_eq!(errors(&text), expected);
    let lenient = parse("t.yaml", &text, UnknownKeys::Ignore).unwrap();
    let warnings: Vec<_> = lenient.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, expected.map(|line| line.replace("unknown key", "unknown key, ignored")));
    assert!(strict(&text).unwrap_err().to_string().ends_with("or start with --lenient."));
}

#[test]
fn wrong_types_are_named_with_key_and_line() {
    for (lines, error) in [
        ("udp: { workers: many }", "udp.workers: `many` is not a whole number"),
        ("udp: { addr: 'nowhere' }", "udp.addr[0]: `nowhere`: an address to listen on is written"),
        ("announce_interval: soon", "announce_interval: `soon`: a duration is written like 30m"),
        ("xdp: { mode: fast }", "xdp.mode: `fast` is not known; known are `auto`,"),
        ("http: 3", "http: needs keys below it"),
        ("storage: redis", "storage: needs a `name` below it, one of `memory`, `redis`"),
        ("prehooks: [jwt]", "prehooks[0]: needs a `name` below it, one of"),
    ] {
        let mut found = errors(&with(lines));
        found.retain(|error| !error.contains("nothing to listen on"));
        let [found] = &found[..] else { panic!("{lines}: {found:?}") };
        assert!(found.starts_with(&format!("t.yaml:3: chihaya.{error}")), "{found}");
    }
}

#[test]
fn limits_of_the_tracker_are_those_of_both_frontends() {
    let text = "chihaya:\n  max_numwant: 60\n  default_numwant: 30\n  max_scrape_infohashes: 7\n  \
                udp: { addr: ':1', default_numwant: 20 }";
    let Loaded { config, warnings, .. } = strict(text).unwrap();
    let (http, udp) = (&config.http, &config.udp);
    assert_eq!((http.max_numwant, http.default_numwant, http.max_scrape_infohashes), (60, 30, 7));
    assert_eq!((udp.max_numwant, udp.default_numwant, udp.max_scrape_infohashes), (60, 20, 7));
    assert_eq!(
        warnings[0].to_string(),
        "t.yaml:2: chihaya.max_numwant: is now a key of `http`, and of `udp`"
    );
}

#[test]
fn a_wrong_limit_is_named_where_the_file_has_it() {
    let text =
        "chihaya:\n  http: { max_numwant: many }\n  max_numwant: more\n  udp: { addr: ':1' }";
    assert_eq!(
        errors(text),
        [
            "t.yaml:2: chihaya.http.max_numwant: `many` is not a whole number",
            "t.yaml:3: chihaya.max_numwant: `more` is not a whole number",
        ]
    );
    let warnings = warnings(&listening("default_numwant: 0"));
    let [_, once] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(
        once,
        "t.yaml:3: chihaya.default_numwant: is not above zero; the default, 50, is used"
    );
}

#[test]
fn truth_values_may_be_words() {
    for (word, expected) in [("yes", true), ("On", true), ("off", false), ("NO", false)] {
        let config =
            strict(&listening(&format!("http: {{ enable_keepalive: {word} }}"))).unwrap().config;
        assert_eq!(config.http.enable_keepalive, expected, "{word}");
    }
    let errors = errors(&listening("http: { enable_keepalive: maybe }"));
    assert!(errors[0].contains("`maybe` is neither true nor false"), "{errors:?}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (lines, error) in [
        ("http: { tls_cert_path: /a }", "tls_cert_path: needs tls_key_path"),
        ("http: { https_addr: ':1' }", "https_addr: needs tls_cert_path and"),
        (
            "http: { addr: ':2', tls_cert_path: /a, tls_key_path: /b }",
            "tls_cert_path: needs https_addr",
        ),
        ("http: { scrape_routes: [/s, x] }", "scrape_routes[1]: route \"x\" does not begin with"),
        ("http: { announce_routes: [/, '/:'] }", "announce_routes[1]: route \"/:\" has a"),
        ("http: { announce_routes: [/s], scrape_routes: [/s] }", "routes[0]: route \"/s\" is"),
        ("http: { webtorrent: { routes: [/, x] } }", "webtorrent.routes[1]: route \"x\" does not"),
        ("http: { webtorrent: { announce_interval: 25h } }", "25h is not from 1s to 86400s"),
        ("http: { webtorrent: { max_offers: 101 } }", "max_offers: 101 is more than 100"),
        ("http: { real_ip_header: 'a b' }", "real_ip_header: `a b` is no header name"),
        ("xdp: { interfaces: a/b }", "interfaces[0]: `a/b` cannot be the name"),
    ] {
        let found = errors(&listening(lines)).join("\n");
        assert!(found.contains(error), "{found}");
    }
}

#[test]
fn more_blocks_than_references_tell_apart_are_refused() {
    let blocks = |size| listening(&format!("xdp: {{ table: {{ blocks: {size} }} }}"));
    assert_eq!(warnings(&blocks("64GiB")), [""; 0]);
    let [error] = &errors(&blocks("65GiB"))[..] else { panic!("one error") };
    assert_eq!(error, "t.yaml:3: chihaya.xdp.table.blocks: 65.0 GiB is more than 64.0 GiB");
}

#[test]
fn a_tracker_that_would_listen_nowhere_is_refused() {
    assert!(errors(&with(""))[0].starts_with("t.yaml:1: chihaya: nothing to listen on"));
}

#[test]
fn odd_but_usable_settings_are_remarked_upon() {
    for (lines, warning) in [
        ("min_announce_interval: 2h", "longer than announce_interval"),
        ("announce_interval: 1h", "peers drop out between announces"),
        ("storage: { name: memory, config: { peer_lifetime: 48h } }", "is longer than 38h"),
        ("http: { trusted_proxies: 192.0.2.1 }", "no effect without real_ip_header"),
        ("http: { max_numwant: 7 }", "50 is more than max_numwant, 7"),
        ("http: { max_numwant: 243 }", "242 peers over IPv4, 79 over IPv6"),
        ("http: { max_scrape_infohashes: 901 }", "more than a request has room for, 900"),
        ("http: { real_ip_header: x }", "name your proxies in trusted_proxies"),
    ] {
        let found = warnings(&listening(lines)).join("\n");
        assert!(found.contains(warning), "{found}");
    }
}

#[test]
fn broken_yaml_is_named_by_line() {
    for text in ["chihaya:\n  http: [", "chihaya:\n  a: 1\n  a: 2\n", "chihaya:\n\thttp: 1\n"] {
        let found = errors(text).join("\n");
        assert!(found.starts_with("t.yaml:"), "{found}");
    }
    for text in ["", "[]", "chihaya: 3", "tracker: {}"] {
        assert!(errors(text).join("\n").contains("needs the key `chihaya`"), "{text}");
    }
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "
chihaya:
  http: &limits { addr: ':6969', max_numwant: 30, default_numwant: 20 }
  udp: { <<: *limits, default_numwant: 10 }
";
    let config = strict(text).unwrap().config;
    assert_eq!((config.udp.max_numwant, config.udp.default_numwant), (30, 10));
}

#[test]
fn the_number_of_complaints_is_bounded() {
    let many: String = (0..80).map(|i| format!("unheard_of_{i}: 1\n")).collect();
    let found = errors(&listening(&many));
    assert_eq!(found.len(), FINDINGS_MAX + 1);
    assert_eq!(found[FINDINGS_MAX], "t.yaml: 30 more of the kind");
}

#[test]
fn what_check_prints_can_be_read_again() {
    let config = strict(FULL).unwrap().config;
    let again = strict(&crate::config::to_yaml(&config).unwrap()).unwrap().config;
    assert_eq!(again.prehooks, config.prehooks);
    assert_eq!(again.storage, config.storage);
    assert_eq!(again.http, config.http);
}

#[test]
fn what_is_said_later_of_a_hook_that_has_moved_is_said_of_its_place_in_the_file() {
    let text = "chihaya:\n  udp: { addr: ':1' }\n  posthooks:\n  - name: ip approval\n    options: { deny_files: [/x] }\n";
    let Loaded { config, source, .. } = strict(text).unwrap();
    assert_eq!(config.prehooks.len(), 1);
    let path = crate::config::key("prehooks").index(0).key("options").key("deny_files");
    let said = source.finding(&path, "cannot be read").to_string();
    assert!(
        said.ends_with(":5: chihaya.posthooks[0].options.deny_files: cannot be read"),
        "{said}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(chihaya:\n)?([ a-z:\\[\\]{}'\"&*<!|>#-]|\n|http|udp|addr|name|options){0,80}") {
        let _ = parse("t.yaml", &text, UnknownKeys::Ignore);
    }
}
