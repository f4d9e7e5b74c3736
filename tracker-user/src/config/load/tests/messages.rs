//! YAML in, message out.

use super::*;

/// Files with one mistake each, and the message: line, key, what is wrong and what to do.
#[test]
fn every_mistake_is_named_with_its_line_its_key_and_what_to_do() {
    for (lines, message) in [
        // Durations.
        (
            "announce_interval: 1800",
            "3: chihaya.announce_interval: 1800 has no unit and counts nanoseconds: write 1800s if seconds are meant",
        ),
        (
            "announce_interval: '1800'",
            "3: chihaya.announce_interval: `1800`: has no unit: write 1800s if seconds are meant",
        ),
        ("announce_interval: 30 min", "3: chihaya.announce_interval: `30 min`: write 30m"),
        (
            "storage:\n  name: memory\n  config: { peer_lifetime: 1d }",
            "5: chihaya.storage.config.peer_lifetime: `1d`: write 24h",
        ),
        (
            "announce_interval: soon",
            "3: chihaya.announce_interval: `soon`: a duration is written like 30m, 1h30m or 1.5s",
        ),
        (
            "announce_interval: 1.5",
            "3: chihaya.announce_interval: 1.5 is not a duration, which is written like 30m, 1h30m or 1.5s",
        ),
        ("announce_interval: [30m]", "3: chihaya.announce_interval: cannot be a list"),
        // Sizes.
        (
            "xdp:\n  table: { blocks: 64 MX }",
            "4: chihaya.xdp.table.blocks: `64 MX`: a size is written like 64MiB, 100MB or 1.5GiB",
        ),
        (
            "xdp: { table: { blocks: 1.5 } }",
            "3: chihaya.xdp.table.blocks: 1.5 is not a size: a size is written like 64MiB, 100MB or 1.5GiB",
        ),
        // Numbers.
        (
            "http: { max_numwant: 4294967296 }",
            "3: chihaya.http.max_numwant: 4294967296 is more than 4294967295",
        ),
        (
            "http: { max_numwant: 99999999999999999999 }",
            "3: chihaya.http.max_numwant: 99999999999999999999 is more than any key takes",
        ),
        ("http: { max_numwant: 1.5 }", "3: chihaya.http.max_numwant: 1.5 is not a whole number"),
        (
            "http: { max_numwant: '50' }",
            "3: chihaya.http.max_numwant: `50` is not a whole number; take the quotes away",
        ),
        (
            "max_numwant: 4294967296\nhttp: { max_numwant: 1 }",
            "3: chihaya.max_numwant: 4294967296 is more than 4294967295",
        ),
        ("udp: { workers: 65536, addr: ':1' }", "3: chihaya.udp.workers: 65536 is more than 65535"),
        (
            "http: { enable_keepalive: 1 }",
            "3: chihaya.http.enable_keepalive: 1 is neither true nor false",
        ),
        (
            "udp:\n  addr: ':1'\n  private_key: 12345",
            "5: chihaya.udp.private_key: is a number: text is needed; put digits into quotes",
        ),
        // Addresses.
        (
            "metrics_addr: ':65536'",
            "2: chihaya.metrics_addr: `:65536`: the port 65536 is more than 65535",
        ),
        (
            "udp: { addr: ['[2001:db8::1]:70000'] }",
            "3: chihaya.udp.addr[0]: `[2001:db8::1]:70000`: the port 70000 is more than 65535",
        ),
        (
            "http: { addr: 127.0.0.1 }",
            "3: chihaya.http.addr: `127.0.0.1`: has no port: write 127.0.0.1:6969",
        ),
        (
            "http: { addr: '::1' }",
            "3: chihaya.http.addr: `::1`: needs brackets and a port: write '[::1]:6969'",
        ),
        ("http: { addr: 6969 }", "3: chihaya.http.addr: `6969`: is a port alone: write ':6969'"),
        (
            "http: { addr: 'tracker.example:6969' }",
            "3: chihaya.http.addr: `tracker.example:6969`: tracker.example is a name: give an address of this host; \
             an address to listen on is written 192.0.2.1:6969, [2001:db8::1]:6969 or :6969",
        ),
        // Words.
        (
            "xdp: { on_exit: stop }",
            "3: chihaya.xdp.on_exit: `stop` is not known; known are `keep`, `detach`",
        ),
        // Keys in the wrong place, or twice.
        ("interfaces: eth0", "3: chihaya.interfaces: unknown key; it belongs below `chihaya.xdp`"),
        (
            "addr: ':1'",
            "3: chihaya.addr: unknown key; it belongs below `chihaya.http` or `chihaya.udp`",
        ),
        (
            "http:\n  addr: ':1'\n  max_numwant: 1\n  addr: ':2'",
            "6: chihaya.http.addr: is given twice, before in line 4; keep one of them",
        ),
        // Hooks.
        (
            "prehooks:\n- name: jwt",
            "4: chihaya.prehooks[0].options: needs `issuer`, `audience` and `jwk_set_url`",
        ),
        (
            "prehooks:\n- name: jwt\n  options:\n    audience: a\n    issuer:",
            "5: chihaya.prehooks[0].options: needs `issuer` and `jwk_set_url`",
        ),
        ("posthooks:\n- name: report", "4: chihaya.posthooks[0].options: needs `url`"),
        (
            "prehooks: [jwt]",
            "3: chihaya.prehooks[0]: needs a `name` below it, one of `jwt`, `passkey`, `torrent approval`, \
             `client approval`, `ip approval`, `port approval`, `interval variation`, `preferred subnet`, `report`",
        ),
    ] {
        let lines = if lines.contains("metrics_addr") {
            format!("chihaya:\n  {lines}\n  udp: {{ addr: ':1' }}\n")
        } else if lines.contains("udp:") {
            with(lines)
        } else {
            listening(lines)
        };
        assert_eq!(errors(&lines), [format!("t.yaml:{message}")], "{lines}");
    }
}

#[test]
fn all_values_of_the_wrong_kind_are_named_in_one_pass() {
    let text = listening(
        "announce_interval: soon\nhttp:\n  max_numwant: many\n  addr: nowhere\nxdp: { mode: fast }",
    );
    let lines: Vec<_> = errors(&text).iter().map(|error| error[..8].to_owned()).collect();
    assert_eq!(lines, ["t.yaml:3", "t.yaml:5", "t.yaml:6", "t.yaml:7"]);
}

#[test]
fn a_section_at_the_root_belongs_below_chihaya() {
    let text = "chihaya:\n  udp: { addr: ':1' }\nxdp:\n  interfaces: [eth0]\n";
    let expected = ["t.yaml:3: xdp: unknown key; it belongs below `chihaya`"];
    assert_eq!(errors(text), expected);
    let text = "http:\n  addr: ':1'\n";
    assert_eq!(
        errors(text),
        [
            "t.yaml: needs the key `chihaya` with settings below it",
            "t.yaml:1: http: unknown key; it belongs below `chihaya`",
        ]
    );
}

#[test]
fn numbers_without_a_unit_that_chihaya_takes_are_taken_and_remarked_upon() {
    for (lines, warning) in [
        (
            "http: { read_timeout: 5 }",
            "chihaya.http.read_timeout: 5 has no unit and counts nanoseconds: write 5s if seconds are meant",
        ),
        (
            "announce_interval: 1800000000000",
            "chihaya.announce_interval: 1800000000000 has no unit and counts nanoseconds: write 30m",
        ),
        (
            "xdp: { table: { blocks: 64 } }",
            "chihaya.xdp.table.blocks: 64 has no unit and counts bytes: write 64MiB if MiB are meant, else 64B",
        ),
        (
            "xdp: { limits: { egress: '1000' } }",
            "chihaya.xdp.limits.egress: 1000 has no unit and counts bytes: write 1000MiB if MiB are meant, else \
             1000B",
        ),
    ] {
        assert_eq!(warnings(&listening(lines)), [format!("t.yaml:3: {warning}")]);
    }
    for lines in ["xdp: { table: { blocks: 67108864 } }", "xdp: { limits: { egress: 0 } }"] {
        assert_eq!(warnings(&listening(lines)), [""; 0], "{lines}");
    }
}

#[test]
fn zero_is_no_limit_where_the_documents_say_so() {
    let text =
        "http: { max_connections_per_source: 0, webtorrent: { max_connections_per_source: 0 } }
prehooks:
- name: passkey
  options: { url: 'http://h/', unknown_keys: 0, unknown_keys_per_source: 0 }";
    let Loaded { config, warnings, .. } = strict(&listening(text)).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.http.max_connections_per_source, 0);
    assert_eq!(config.http.webtorrent.max_connections_per_source, Some(0));
    let [HookConfig::Passkey(passkey)] = &config.prehooks[..] else { panic!("one hook") };
    assert_eq!((passkey.unknown_keys, passkey.unknown_keys_per_source), (0, 0));
    let negative = "http: { webtorrent: { max_connections_per_source: -1 } }";
    assert_eq!(
        super::warnings(&listening(negative)),
        [
            "t.yaml:3: chihaya.http.webtorrent.max_connections_per_source: is not above zero; it counts as left out"
        ]
    );
}

#[test]
fn an_empty_pin_path_pins_nothing() {
    let pin_path = |line: &str| strict(&listening(line)).unwrap().config.xdp.pin_path;
    assert_eq!(pin_path("xdp: { pin_path: '' }"), PathBuf::default());
    assert_eq!(pin_path("xdp: { pin_path: }"), Config::default().xdp.pin_path);
}

#[test]
fn files_that_are_missing_are_all_named_with_the_lines_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    fs::write(&there, "").unwrap();
    let (there, folder) = (there.display(), folder.path().display());
    let lines = format!(
        "http: {{ https_addr: ':1',
  tls_cert_path: {there},
  tls_key_path: {folder}/key }}
prehooks:
- name: torrent approval
  options:
    whitelist_files:
    - {folder}
    - {folder}/list
- name: passkey
  config: {{ files: {folder}/keys }}"
    );
    let missing = |text: &str| {
        let loaded = strict(text).unwrap();
        let findings = loaded.source.unreadable_files(&loaded.config);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let error = |line: u32, key: &str, file: &str| {
        format!(
            "t.yaml:{line}: chihaya.{key}: cannot read {folder}/{file}: No such file or directory (os error 2); \
             make the file, or correct its path"
        )
    };
    assert_eq!(
        missing(&with(&lines)),
        [
            error(5, "http.tls_key_path", "key"),
            error(11, "prehooks[0].options.whitelist_files[1]", "list"),
            error(13, "prehooks[1].options.files[0]", "keys"),
        ]
    );
    let redis = |scheme: &str| {
        let keys = format!("redis_broker: '{scheme}://h', redis_ca_path: {folder}/ca");
        missing(&listening(&format!("storage: {{ name: redis, config: {{ {keys} }} }}")))
    };
    assert_eq!(redis("rediss"), [error(3, "storage.config.redis_ca_path", "ca")]);
    assert_eq!(redis("redis"), [""; 0]);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let path = "${XDP_TRACKER_UNSET}/tracker.yaml".to_owned();
    let error =
        ConfigFile { path: Some(path), unknown_keys: UnknownKeys::Refuse }.load().unwrap_err();
    assert_eq!(
        format!("{:#}", anyhow::Error::new(error)),
        "--config ${XDP_TRACKER_UNSET}/tracker.yaml: the environment variable XDP_TRACKER_UNSET is not set; set it, \
         or write the path out"
    );
}

#[test]
fn a_variable_in_the_file_is_remarked_upon() {
    let text = with("udp:\n  addr: ':1'\n  private_key: ${PRIVATE_KEY}");
    assert_eq!(
        warnings(&text)[0],
        "t.yaml:5: chihaya.udp.private_key: has ${PRIVATE_KEY} in it, which is taken as it stands: variables are \
         expanded in --config only"
    );
}

#[test]
fn a_duration_that_is_too_long_is_told_the_longest() {
    for value in ["2562048h", "9223372036854775808", "99999999 days"] {
        let [error] = &*errors(&listening(&format!("announce_interval: {value}"))) else {
            panic!("{value}")
        };
        assert_eq!(
            error.rsplit_once(": ").unwrap().1,
            "a duration is from 0 to 2562047h47m16.854775807s, about 292 years",
            "{error}"
        );
    }
}

#[test]
fn a_number_that_looks_octal_is_to_be_written_plainly() {
    let error =
        |value: &str| errors(&with(&format!("http: {{ addr: ':1', max_numwant: {value} }}")));
    assert_eq!(
        error("010"),
        [
            "t.yaml:3: chihaya.http.max_numwant: `010` begins with a zero: Chihaya reads it as octal, 8; write 8, or 10 if \
             that is meant"
        ]
    );
    assert_eq!(
        error("089"),
        ["t.yaml:3: chihaya.http.max_numwant: `089` begins with a zero: write 89"]
    );
}
