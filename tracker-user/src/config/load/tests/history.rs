//! Each key that a Chihaya of any version had is known by its name.

use super::*;

/// The warnings of a configuration that is taken.
fn warnings(text: &str) -> Vec<String> {
    let loaded = strict(text).unwrap_or_else(|error| panic!("{text}{error}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// A file in which a section below `chihaya` has one key more.
fn file(section: &str, key: &str) -> String {
    let [http, udp, storage, tracker] = ["http", "udp", "storage", ""]
        .map(|name| if name == section { format!(", {key}: 1") } else { String::new() });
    let tracker = tracker.trim_start_matches(", ");
    format!(
        "chihaya:\n  http: {{ addr: ':1'{http} }}\n  udp: {{ addr: ':1'{udp} }}\n  storage: {{ name: memory, \
         config: {{ gc_interval: 3m{storage} }} }}\n  {tracker}\n"
    )
}

#[test]
fn each_key_that_has_no_meaning_any_more_is_told_what_replaces_it() {
    for (section, keys) in [
        (
            "",
            "servers announce_middleware scrape_middleware gc_interval gc_expiration tracker announce min_announce",
        ),
        ("http", "request_timeout dual_stacked_peers respect_af"),
        ("storage", "shard_count shards"),
    ] {
        for key in keys.split(' ') {
            let warnings = warnings(&file(section, key));
            let [warning] = &*warnings else { panic!("{key}: {warnings:?}") };
            assert!(warning.contains(key) && !warning.contains("unknown"), "{warning}");
            assert!(
                warning.contains(": is now ") || warning.contains(": has no effect: "),
                "{warning}"
            );
        }
    }
}

#[test]
fn the_switch_for_urls_of_php_adds_their_routes() {
    let config = |lines: &str| {
        let loaded = strict(&format!("chihaya:\n  http:\n    addr: ':1'\n{lines}")).unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        (loaded.config.http.announce_routes, loaded.config.http.scrape_routes, warnings)
    };
    let on = "    enable_legacy_php_urls: true\n";
    let (announce, scrape, warnings) = config(on);
    assert_eq!(announce, ["/announce", "/announce.php"]);
    assert_eq!(scrape, ["/scrape", "/scrape.php"]);
    let expected = "t.yaml:4: chihaya.http.enable_legacy_php_urls: is now `/announce.php` in `announce_routes`, \
                    `/scrape.php` in `scrape_routes`";
    assert_eq!(warnings, [expected]);
    let routes = "    announce_routes: /a\n    scrape_routes: [/s, /scrape.php]\n";
    let (announce, scrape, _) = config(&format!("{on}{routes}"));
    assert_eq!(announce, ["/a", "/announce.php"]);
    assert_eq!(scrape, ["/s", "/scrape.php"]);
    let (announce, _, warnings) = config("    enable_legacy_php_urls: off\n");
    assert_eq!((&*announce, warnings.len()), (&["/announce".to_owned()][..], 1));
    let errors = errors("chihaya: { http: { addr: ':1', enable_legacy_php_urls: 7 } }");
    assert!(errors[0].ends_with("enable_legacy_php_urls: is not `true` or `false`"), "{errors:?}");
}

#[test]
fn keys_of_the_first_chihaya_2_are_taken_under_their_names() {
    let text = "chihaya:
  announce_interval: 15m
  prometheus_addr: localhost:6880
  http: { addr: ':1', allowIPSpoofing: true, realIPHeader: x-real-ip, readTimeout: 5s, writeTimeout: 6s }
  storage:
    gc_interval: 14m
    peer_lifetime: 16m
    shards: 1
    max_numwant: 70
";
    let Loaded { config, warnings, .. } = strict(text).unwrap();
    let StorageConfig::Memory(storage) = &config.storage else { panic!("{:?}", config.storage) };
    assert_eq!(storage.gc_interval, GoDuration::from_mins(14));
    assert_eq!((config.http.max_numwant, config.udp.max_numwant), (70, 70));
    assert_eq!(config.http.real_ip_header.as_deref(), Some("x-real-ip"));
    assert_eq!(config.http.write_timeout, GoDuration::from_secs(6));
    assert!(config.http.allow_ip_spoofing);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for expected in [
        "t.yaml:5: chihaya.storage: is now `name: memory`, with its keys below `config`",
        "t.yaml:8: chihaya.storage.shards: has no effect: the table needs no shards",
        "t.yaml:9: chihaya.storage.max_numwant: is now a key of `http`, and of `udp`",
    ] {
        assert!(warnings.iter().any(|warning| warning == expected), "{expected}: {warnings:#?}");
    }
}

#[test]
fn the_subnet_masks_of_a_storage_have_two_spellings() {
    for key in ["preferred_ipv4_subnet_mask_bits", "preferred_ipv4_subnet_mask_bits_set"] {
        let text = format!(
            "chihaya: {{ http: {{ addr: ':1' }}, storage: {{ name: memorybysubnet, config: {{ {key}: 8 }} }} }}"
        );
        let config = strict(&text).unwrap().config;
        let [HookConfig::PreferredSubnet(options)] = &*config.prehooks else {
            panic!("{:?}", config.prehooks)
        };
        assert_eq!(options.preferred_ipv4_subnet_mask_bits_set, 8, "{key}");
    }
}

#[test]
fn a_file_of_chihaya_1_is_told_what_each_of_its_keys_is_called_now() {
    let keys = "addr allowIPSpoofing allow_ip_spoofing announce apiListenAddr apiListenLimit apiReadTimeout \
                apiRequestTimeout apiWriteTimeout api_listen_addr backend bufferpool_size cache clientWhitelist \
                clientWhitelistEnabled client_whitelist client_whitelist_enabled createOnAnnounce defaultNumWant \
                default_num_want driver dualStackedPeers dual_stacked_peers encoding freeleech freeleechEnabled \
                freeleech_enabled httpListenAddr httpListenLimit httpReadTimeout httpRequestTimeout \
                httpWriteTimeout http_listen_addr idle_timeout includeMemStats jwkSetURI jwkSetUpdateInterval \
                jwtAudience memStatsInterval minAnnounce min_announce params preferredIPv4Subnet \
                preferredIPv6Subnet preferredSubnet preferred_subnet private privateEnabled private_enabled \
                private_tracker pub_addr purgeInactiveTorrents read_timeout realIPHeader real_ip_header \
                reapInterval reapRatio request_timeout respectAF slots statsBufferSize torrentMapShards tracker \
                tx_retries udpListenAddr udpReadBufferSize udp_listen_addr verboseMemStats whitelist write_timeout \
                trakr";
    for key in keys.split_whitespace() {
        let told = errors(&format!("{{ \"{key}\": 1 }}"));
        let hint = format!(": {key}: of an older Chihaya: ");
        assert!(told[0].contains("needs the key `chihaya`"), "{key}: {told:?}");
        assert!(told[1].contains(&hint), "{key}: {told:?}");
    }
}
