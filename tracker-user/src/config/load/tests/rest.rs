//! A wrong value keeps nothing else from being told.

use super::*;

/// The errors and the warnings of a file that is not taken.
fn told(text: &str) -> [Vec<String>; 2] {
    let Err(ConfigError::Invalid { findings, warnings, .. }) = strict(text) else {
        panic!("accepted: {text}");
    };
    [findings, warnings].map(|list| list.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_wrong_with_other_keys_is_told_beside_a_wrong_value() {
    let [errors, warnings] = told(
        "chihaya:\n  announce_interval: soon\n  min_announce_interval: 500ms\n  http: { addr: ':1', read_timeout: [] }\n  \
         storage: { name: memory, config: { snapshot: { interval: 1ms } } }\n  prehooks:\n  - name: jwt\n    options: { issuer: 1 }\n  \
         - { name: passkey, options: { files: [a], url: 'http://h' } }\n  shard_count: 1\n  servers: []\n",
    );
    for (error, start) in errors.iter().zip([
        "t.yaml:2: chihaya.announce_interval: `soon`: ",
        "t.yaml:3: chihaya.min_announce_interval: 500ms is not from 1s",
        "t.yaml:4: chihaya.http.read_timeout: ",
        "t.yaml:5: chihaya.storage.config.snapshot.interval: 1ms is less than 1s",
        "t.yaml:8: chihaya.prehooks[0].options.issuer: ",
        "t.yaml:8: chihaya.prehooks[0].options: needs ",
        "t.yaml:9: chihaya.prehooks[1].options: has both files and a url",
        "t.yaml:10: chihaya.shard_count: unknown key",
    ]) {
        assert!(error.starts_with(start), "{start} is not where it should be in\n{errors:#?}");
    }
    assert_eq!(errors.len(), 8, "{errors:#?}");
    assert_eq!(
        warnings,
        ["t.yaml:11: chihaya.servers: is now `http` and `udp`, each with its own keys"]
    );
}

#[test]
fn a_default_in_the_place_of_a_wrong_value_is_not_judged() {
    for (text, key) in [
        ("udp: { addr: moon }", "udp.addr[0]"),
        ("udp: { addr: [':1', moon] }", "udp.addr[1]"),
        ("udp: moon", "udp"),
        (
            "udp: { addr: ':1' }\n  announce_interval: moon\n  storage: { name: memory, config: { peer_lifetime: 10m } }",
            "announce_interval",
        ),
        (
            "http: { addr: ':1', https_addr: ':2', tls_cert_path: [], tls_key_path: a }",
            "http.tls_cert_path",
        ),
        (
            "http: { addr: ':1', real_ip_header: [], trusted_proxies: ['::1'] }",
            "http.real_ip_header",
        ),
        (
            "udp: { addr: ':1' }\n  storage: { name: redis, config: { redis_broker: 5 } }",
            "storage.config.redis_broker",
        ),
        ("udp: { addr: ':1' }\n  storage: { name: redis, config: 5 }", "storage.config"),
        ("udp: { addr: ':1' }\n  storage: { name: moon }", "storage.name"),
        (
            "udp: { addr: ':1' }\n  prehooks: [{ name: passkey, options: { files: [[]] } }]",
            "prehooks[0].options.files[0]",
        ),
        (
            "udp: { addr: ':1' }\n  prehooks: [{ name: moon }, { name: client approval }]",
            "prehooks[0].name",
        ),
    ] {
        let [errors, warnings] = told(&format!("chihaya:\n  {text}\n"));
        let [error] = &*errors else { panic!("{text}: {errors:#?}") };
        assert!(error.contains(&format!(": chihaya.{key}: ")), "{error}");
        assert_eq!(warnings, [""; 0], "{text}");
    }
}

#[test]
fn a_hook_after_one_that_is_left_out_keeps_its_place_in_messages() {
    let text = "chihaya:\n  udp: { addr: ':1' }\n  prehooks:\n  - name: moon\n  - name: client approval\n  posthooks:\n  \
                - name: moon\n  - { name: passkey, options: { files: [a] } }\n";
    let reading = read("t.yaml", text, UnknownKeys::Refuse);
    let config = reading.config.unwrap();
    assert_eq!(config.prehooks.len(), 2);
    let line = |keys: &str, index| {
        let path = crate::config::key(keys).index(index);
        reading.source.finding(&path, "").to_string()
    };
    assert_eq!(line("prehooks", 0), "t.yaml:5: chihaya.prehooks[1]: ");
    assert_eq!(line("prehooks", 1), "t.yaml:8: chihaya.posthooks[1]: ");
}

#[test]
fn a_file_without_the_root_is_told_what_has_become_of_the_sections_of_older_chihayas() {
    for (key, hint) in [
        ("servers", "is now `http` and `udp`, each with its own keys"),
        ("tracker", "has no effect: its keys stand below `chihaya` now"),
    ] {
        let [errors, _] = told(&format!("{key}:\n  announce: 30m\n"));
        let hint = format!("t.yaml:1: {key}: of an older Chihaya: {hint}");
        assert!(errors.iter().any(|error| error.starts_with(&hint)), "{errors:#?}");
        // Beside the root it is a warning.
        let text = format!("chihaya: {{ udp: {{ addr: ':1' }} }}\n{key}: {{}}\n");
        let loaded = parse("t.yaml", &text, UnknownKeys::Refuse).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    }
}
