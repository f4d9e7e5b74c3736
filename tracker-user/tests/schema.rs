//! The schema that editors use takes what `check` takes, and refuses what it refuses as far as a schema can.

use std::{
    fs,
    path::{Path, PathBuf},
};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use tracker_user::config::{UnknownKeys, file_schema, modeline, parse};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Validator {
    schemas: Schemas,
    schema: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", file_schema()).unwrap();
        let schema = compiler.compile("schema.json", &mut schemas).unwrap();
        Self { schemas, schema }
    }

    /// What the schema says of a file.
    fn validate(&self, yaml: &str) -> Result<(), String> {
        let mut document: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap();
        document.apply_merge().unwrap();
        let document: Value = serde_json::to_value(document).unwrap();
        self.schemas.validate(&document, self.schema).map_err(|error| format!("{error:#}"))
    }

    #[track_caller]
    fn assert_takes(&self, name: &str, yaml: &str) {
        if let Err(error) = parse(name, yaml, UnknownKeys::Refuse) {
            panic!("check refuses {name}: {error}\n{yaml}");
        }
        if let Err(error) = self.validate(yaml) {
            panic!("the schema refuses {name}: {error}\n{yaml}");
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The examples of a document, each made whole: with the root, and with an address to listen on.
fn examples(document: &str) -> impl Iterator<Item = String> + '_ {
    document.split("```yaml\n").skip(1).map(|rest| {
        let example = rest.split("```").next().unwrap();
        let below_root = example.starts_with("  ");
        let mut yaml = if below_root { format!("chihaya:\n{example}") } else { example.to_owned() };
        if !yaml.contains("addr: ") {
            yaml = yaml.replacen("chihaya:\n", "chihaya:\n  udp: { addr: ':6969' }\n", 1);
        }
        yaml
    })
}

#[test]
fn the_shipped_files_fit_the_schema_and_name_it() {
    let validator = Validator::new();
    for name in ["config.yaml", "packaging/xdp-tracker.yaml"] {
        let text = read(&root().join(name));
        validator.assert_takes(name, &text);
        assert!(text.starts_with(&modeline()), "{name} does not begin with the modeline");
    }
}

#[test]
fn every_example_of_the_documents_fits_the_schema() {
    let validator = Validator::new();
    let documents = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in documents.chain([root().join("README.md")]) {
        if path.extension().is_some_and(|extension| extension == "md") {
            for example in examples(&read(&path)) {
                validator.assert_takes(&path.display().to_string(), &example);
                count += 1;
            }
        }
    }
    assert!(count >= 5, "only {count} examples are found");
}

/// Among the inputs of the fuzzer are files of all kinds, most of which are broken.
#[test]
fn every_file_that_check_takes_fits_the_schema() {
    let validator = Validator::new();
    let mut taken = 0;
    for entry in fs::read_dir(root().join("tests/fuzz/corpus/config")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if parse("corpus", &text, UnknownKeys::Refuse).is_ok() {
            validator.assert_takes(&path.display().to_string(), &text);
            taken += 1;
        }
    }
    assert!(taken > 0, "check takes no file of the corpus");
}

/// Lines below `chihaya:`, beside an address to listen on.
fn with(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    let listens = if lines.contains("udp:") { "" } else { "  udp: { addr: ':6969' }\n" };
    format!("chihaya:\n{listens}{indented}")
}

#[test]
fn whatever_check_takes_in_the_place_of_a_value_fits_the_schema() {
    let validator = Validator::new();
    for lines in [
        // Left out.
        "http:\nstorage:\nprehooks:\nxdp:\nannounce_interval:\nmetrics_addr: ''",
        "http: {}\nxdp: { table: {}, limits: }\nposthooks: []",
        // Durations.
        "announce_interval: 1h30m\nmin_announce_interval: 1800000000000",
        "http: { read_timeout: 1500ms, write_timeout: '.5s', idle_timeout: +1m1.5s }",
        "http: { read_timeout: 7\u{b5}s, write_timeout: 5, idle_timeout: -1s }",
        "announce_interval: 0\nudp: { addr: ':1', max_clock_skew: 0 }",
        // Numbers that give way to the default, or are no limit.
        "http: { max_numwant: -3, max_connections_per_source: 0, default_numwant: 0 }",
        "xdp: { limits: { misses: 0, wide_factor: 0, egress: 0, ipv4_prefix: -1 } }",
        "http: { webtorrent: { max_connections_per_source: 0, max_offers: 100 } }",
        "announce_interval: 1s\nmin_announce_interval: 1000ms",
        "announce_interval: 1.5s\nmin_announce_interval: 00001s\nxdp: { orphan_limit: 10s }",
        "announce_interval: 0s\nmin_announce_interval: -500ms",
        "announce_interval: 999ms1ms",
        // Sizes.
        "xdp: { table: { blocks: 64MiB }, limits: { egress: 12.5 MB } }",
        "xdp: { table: { blocks: 67108864 }, limits: { egress: '125000000' } }",
        "xdp: { table: { blocks: 1g, torrents_ipv4: 4294967295 } }",
        // Truth values.
        "http: { enable_keepalive: yes, allow_ip_spoofing: 'Off', enable_request_timing: false }",
        // Addresses, one or a list; other spellings of keys.
        "prometheus_addr: localhost:6880\nudp: { addr: ['192.0.2.1:1', '[2001:db8::1]:2', ':3'] }",
        "http: { trusted_proxies: 192.0.2.1, real_ip_header: X-Real-IP }",
        "http: { trusted_proxies: ['2001:db8::/32', 192.0.2.0/24], real_ip_header: Forwarded }",
        // Hooks, with and without options.
        "prehooks:\n- name: preferred subnet\n- { name: client approval, config: { whitelist: OP1011 } }",
        "prehooks: { name: preferred subnet, options: { preferred_ipv4_subnet: 24 } }",
        "prehooks:\n- name: torrent approval\n  options: { whitelist: [] }\n- name: ip approval\n  options:",
        "prehooks:\n- name: torrent approval\n- name: client approval\n- name: ip approval",
        "prehooks: { name: torrent approval, options: { whitelist_files: /srv/torrents, blacklist: } }",
        "prehooks: { name: torrent approval, options: { whitelist: [], blacklist_files: [b] } }",
        "prehooks: { name: client approval, options: { whitelist: OP1011, blacklist: [] } }",
        "prehooks: { name: passkey, options: { files: , url: 'http://h/' } }",
        "prehooks: { name: ip approval, options: { allow: '2001:db8::1', deny: [10.0.0.0/8] } }",
        "prehooks:\n- name: passkey\n  options: { url: 'https://site.example/', unknown_keys: 0 }",
        "prehooks:\n- name: jwt\n  options: { issuer: i, audience: a, jwk_set_url: 'http://h/' }",
        "prehooks:\n- name: jwt\n  config: { issuer: i, audience: a, jwk_set_url: 'HTTP://h' }",
        "prehooks:\n- options: { modify_response_probability: 1, max_increase_delta: 60 }\n  name: interval variation",
        "posthooks: { name: client approval, options: { blacklist: TR4050 } }",
        "posthooks: { name: report, options: { url: 'http://site.example/', announces: transitions } }",
        // Storages.
        "storage: { name: memory, config: { shard_count: 1024, shards: 1, snapshot: { path: /x } } }",
        "storage: { name: memory, config: }",
        "storage: { name: redis, config: { redis_broker: 'redis://p@h:1/2' } }",
        // Older files.
        "storage: { name: memorybysubnet, config: { preferred_ipv4_subnet_mask_bits_set: 8 } }",
        "preferred_subnet: true\npreferred_ipv4_subnet: 8\npreferred_ipv6_subnet: 16",
        "preferred_ipv4_subnet: 8",
        "max_numwant: 60\ndefault_numwant: 30\nmax_scrape_infohashes: 7",
        // The rest.
        "xdp: { interfaces: eth0, mode: native, log_level: 'off', reverse_path: on, pin_path: '' }",
        "http: &limits { max_numwant: 30 }\nudp: { addr: ':1', <<: *limits }",
    ] {
        validator.assert_takes(lines, &with(lines));
    }
}

#[test]
fn what_check_refuses_does_not_fit_the_schema() {
    let validator = Validator::new();
    let broken = [
        "announce_interval: 1800",
        "announce_interval: '1800'",
        "announce_interval: 30 min",
        "announce_interval: 500ms",
        "announce_interval: 999.9ms",
        "min_announce_interval: 0.5s",
        "min_announce_interval: +999999999ns",
        "xdp: { orphan_limit: 9s }",
        "xdp: { orphan_limit: 9999.5ms }",
        "http: { read_timeout: soon }",
        "xdp: { orphan_limit: 1000 }",
        "metrics_addr: ':65536'",
        "metrics_addr: '127.0.0.1'",
        "metrics_addr: 6880",
        "metrics_addr: tracker.example:6880",
        "udp: { addr: [':1', '[2001:db8::1:6969'] }",
        "udp: { addr: ':1', workers: 65536 }",
        "udp: { addr: ':1', private_key: 12345 }",
        "http: { max_numwant: 4294967296 }",
        "http: { max_numwant: 1.5 }",
        "http: { max_numwant: '50' }",
        "http: { webtorrent: { max_offers: 101 } }",
        "http: { enable_keepalive: maybe }",
        "http: { enable_keepalive: 1 }",
        "http: { announce_routes: [announce] }",
        "http: { real_ip_header: 'a b' }",
        "http: { trusted_proxies: [192.0.2.0/33] }",
        "http: { frobnicate: 1 }",
        "http: 3",
        "anounce_interval: 30m",
        "xdp: { table: { blocks: 64 MX } }",
        "xdp: { table: { blocks: 1.5 } }",
        "xdp: { limits: { ipv6_prefix: 65 } }",
        "xdp: { mode: fast }",
        "xdp: { pin_path: relative }",
        "xdp: { interfaces: [a/b] }",
        "storage: redis",
        "storage: { name: postgres }",
        "storage: { config: {} }",
        "prehooks: [jwt]",
        "prehooks:\n- name: torrent aproval",
        "prehooks:\n- name: jwt",
        "prehooks:\n- name: jwt\n  options: { issuer: i, audience: a }",
        "prehooks:\n- name: jwt\n  options: { issuer: '', audience: a, jwk_set_url: 'http://h/' }",
        "prehooks:\n- name: jwt\n  options: { issuer: i, audience: a, jwk_set_url: /keys }",
        "prehooks:\n- name: interval variation",
        "prehooks: { name: interval variation, options: { modify_response_probability: 1.5, max_increase_delta: 1 } }",
        "prehooks: { name: interval variation, options: { modify_response_probability: 0, max_increase_delta: 1 } }",
        "prehooks: { name: interval variation, options: { modify_response_probability: 1, max_increase_delta: 0 } }",
        "prehooks: { name: torrent approval, options: { whitelist: [abc] } }",
        "prehooks: { name: client approval, options: { blacklist: -TR4050- } }",
        "prehooks: { name: client approval, options: { blacklist: 123456 } }",
        "prehooks: { name: client approval, options: { }, config: { } }",
        "prehooks: { name: client approval, options: { whitelist: OP1011, blacklist: TR4050 } }",
        "prehooks: { name: torrent approval, options: { whitelist_files: a, blacklist_files: [b] } }",
        "prehooks: { name: torrent approval, config: { whitelist_files: [a], whitelist: [], blacklist_files: b } }",
        "prehooks: { name: passkey, options: { files: [keys], url: 'http://h/' } }",
        "prehooks: { name: ip approval, options: { deny: [example] } }",
        "prehooks: { name: preferred subnet, options: { preferred_ipv4_subnet: 33 } }",
        "prehooks: { name: report, options: { url: 'http://h/' } }",
        "posthooks: { name: report }",
        "preferred_subnet: maybe",
        "max_numwant: 010",
        "max_numwant: more",
    ];
    for lines in broken {
        let yaml = with(lines);
        assert!(parse("t.yaml", &yaml, UnknownKeys::Refuse).is_err(), "check takes {yaml}");
        assert!(validator.validate(&yaml).is_err(), "the schema takes {yaml}");
    }
    for yaml in ["tracker: {}", "chihaya: 3", "chihaya: { udp: { addr: ':1' } }\nxdp: {}"] {
        assert!(parse("t.yaml", yaml, UnknownKeys::Refuse).is_err(), "check takes {yaml}");
        assert!(validator.validate(yaml).is_err(), "the schema takes {yaml}");
    }
}
