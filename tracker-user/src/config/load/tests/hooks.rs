use super::*;

#[test]
fn unknown_keys_in_hook_options_are_found_whatever_the_order() {
    let text = listening("prehooks:\n- options: {\n    blacklists: [] }\n  name: torrent approval");
    assert_eq!(
        errors(&text),
        [
            "t.yaml:5: chihaya.prehooks[0].options.blacklists: unknown key; did you mean `blacklist`?"
        ]
    );
}

#[test]
fn an_unknown_hook_is_an_error_that_lists_the_known() {
    let text = listening("prehooks:\n- name: torrent aproval\n- options: {}");
    assert_eq!(
        errors(&text),
        [
            "t.yaml:4: chihaya.prehooks[0].name: `torrent aproval` is not known; \
             known are `jwt`, `passkey`, `torrent approval`, `client approval`, `ip approval`, `port approval`, `interval variation`, \
             `preferred subnet`, `report`",
            "t.yaml:5: chihaya.prehooks[1]: needs a `name`, \
             one of `jwt`, `passkey`, `torrent approval`, `client approval`, `ip approval`, `port approval`, `interval variation`, \
             `preferred subnet`, `report`",
        ]
    );
}

#[test]
fn the_hooks_that_the_shipped_file_shows_are_fine() {
    let [prehooks, posthooks] =
        [crate::config::hooks::examples(), crate::config::hooks::post_examples()];
    let mut shown = Config { prehooks, posthooks, ..Config::default() };
    shown.udp.addr.extend(":6969".parse::<crate::config::ListenAddr>());
    let Loaded { config, warnings, .. } = strict(&crate::config::to_yaml(&shown).unwrap()).unwrap();
    assert_eq!((config, warnings), (shown, vec![]));
}

#[test]
fn hook_options_are_checked() {
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let both = format!(
        "prehooks:\n- name: torrent approval\n  options:\n    whitelist: {hash}\n    blacklist: {hash}"
    );
    assert_eq!(
        errors(&listening(&both)),
        ["t.yaml:5: chihaya.prehooks[0].options: has both a whitelist and a blacklist; give one"]
    );
    let both =
        "prehooks:\n- name: client approval\n  options: { whitelist: OP1011, blacklist: TR4050 }";
    assert_eq!(
        errors(&listening(both)),
        ["t.yaml:5: chihaya.prehooks[0].options: has both a whitelist and a blacklist; give one"]
    );
    for hook in ["client approval", "torrent approval"] {
        let warnings = |lists: &str| {
            let text = format!("prehooks:\n- name: {hook}\n  options: {{ {lists} }}");
            let warnings = strict(&listening(&text)).unwrap().warnings;
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let empty = "t.yaml:5: chihaya.prehooks[0].options.whitelist: is empty, so nothing is approved of; \
                     in Chihaya everything is. Leave the key out for that";
        assert_eq!(warnings("whitelist: []"), [empty]);
        assert_eq!(warnings("whitelist: [], blacklist: []"), [empty]);
        assert!(warnings("whitelist:").is_empty() && warnings("blacklist: []").is_empty());
    }
    let digits = "prehooks:\n- name: client approval\n  options: { blacklist: [123456] }";
    assert_eq!(
        errors(&listening(digits)),
        ["t.yaml:5: chihaya.prehooks[0].options.blacklist[0]: \
          123456 is a number: text is needed; put digits into quotes"]
    );
    let long = "prehooks:\n- name: client approval\n  options:\n    blacklist: -TR4050-";
    assert_eq!(
        errors(&listening(long)),
        ["t.yaml:6: chihaya.prehooks[0].options.blacklist[0]: \
          `-TR4050-`: a client id has 6 bytes, like TR4050"]
    );
    let short = "prehooks:\n- name: torrent approval\n  options:\n    whitelist:\n    - 'abc'";
    assert_eq!(
        errors(&listening(short)),
        ["t.yaml:7: chihaya.prehooks[0].options.whitelist[0]: \
          `abc`: an info-hash is 40 hexadecimal digits"]
    );
    let wide = "prehooks:\n- name: ip approval\n  options:\n    deny: [192.0.2.0/24, 192.0.2.0/33]";
    assert_eq!(
        errors(&listening(wide)),
        ["t.yaml:6: chihaya.prehooks[0].options.deny[1]: `192.0.2.0/33`: a network is written \
          192.0.2.0/24, 2001:db8::/32, or as one address"]
    );
    let long = "prehooks:\n- name: preferred subnet\n  options: { preferred_ipv4_subnet: 33 }";
    assert_eq!(
        errors(&listening(long)),
        ["t.yaml:5: chihaya.prehooks[0].options.preferred_ipv4_subnet_mask_bits_set: \
          33 is more than 32"]
    );
    let jwt = |options: &str| {
        errors(&listening(&format!("prehooks:\n- name: jwt\n  options: {options}")))
    };
    assert_eq!(
        jwt("{ issuer: i, audience: a, jwk_set_url: /keys, jwk_set_update_interval: 1ms }"),
        [
            "t.yaml:5: chihaya.prehooks[0].options.jwk_set_url: \
             is no URL that begins with http:// or https://",
            "t.yaml:5: chihaya.prehooks[0].options.jwk_set_update_interval: 1ms is not 1s or more",
        ]
    );
    assert_eq!(
        jwt("{ issuer: '', audience: a, jwk_set_url: 'http://h/' }"),
        ["t.yaml:5: chihaya.prehooks[0].options: needs `issuer`"]
    );
    let passkey = |options: &str| {
        errors(&listening(&format!("prehooks:\n- name: passkey\n  options: {options}"))).join("\n")
    };
    let options = "t.yaml:5: chihaya.prehooks[0].options";
    assert_eq!(
        passkey("{ files: a, url: 'http://h/' }"),
        format!("{options}: has both files and a url; give one")
    );
    assert_eq!(passkey("{ timeout: 2s }"), format!("{options}: needs files or a url"));
    assert_eq!(
        passkey("{ url: 'h/x' }"),
        format!("{options}.url: is no URL that begins with http:// or https://")
    );
    let variation = |options: &str| {
        errors(&listening(&format!("prehooks:\n- name: interval variation\n  options: {options}")))
    };
    let out_of_range = variation("{ modify_response_probability: 1.5, max_increase_delta: 0 }");
    assert_eq!(
        out_of_range,
        [
            "t.yaml:5: chihaya.prehooks[0].options.modify_response_probability: \
             1.5 is more than 1",
            "t.yaml:5: chihaya.prehooks[0].options.max_increase_delta: \
             0 is less than 1",
        ]
    );
    assert_eq!(
        variation(""),
        [
            "t.yaml:5: chihaya.prehooks[0].options: needs `modify_response_probability` and `max_increase_delta`"
        ]
    );
}

#[test]
fn subnet_preference_is_read_where_older_files_have_it() {
    let preference = |lines: &str| {
        let Loaded { config, warnings, .. } = strict(&listening(lines)).unwrap();
        let [HookConfig::PreferredSubnet(options)] = config.prehooks[..] else {
            panic!("{:?}", config.prehooks)
        };
        assert!(matches!(config.storage, StorageConfig::Memory(_)));
        let bits = (
            options.preferred_ipv4_subnet_mask_bits_set,
            options.preferred_ipv6_subnet_mask_bits_set,
        );
        (bits, warnings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let hook = "prehooks: { name: preferred subnet, options: { preferred_ipv4_subnet: 24 } }";
    assert_eq!(preference(hook), ((24, 0), vec![]));
    let storage = "storage:
  name: memorybysubnet
  config:
    gc_interval: 2m
    preferred_ipv4_subnet_mask_bits_set: 8
    preferred_ipv6_subnet_mask_bits_set: 16";
    let warning = "t.yaml:4: chihaya.storage.name: `memorybysubnet` is now `memory` with the hook \
                   `preferred subnet`";
    assert_eq!(preference(storage), ((8, 16), vec![warning.to_owned()]));
    let tracker = "preferred_subnet: true\npreferred_ipv4_subnet: 8\npreferred_ipv6_subnet: 16";
    let warning = "t.yaml:1: chihaya: `preferred_subnet` is now the hook `preferred subnet`";
    assert_eq!(preference(tracker), ((8, 16), vec![warning.to_owned()]));
}

#[test]
fn subnet_preference_can_be_given_once() {
    let hook = "{ name: preferred subnet, options: { preferred_ipv4_subnet: 24 } }";
    assert_eq!(
        errors(&listening(&format!("prehooks: [{hook}, {hook}]"))),
        ["t.yaml:3: chihaya.prehooks[1]: `preferred subnet` is given twice"]
    );
}

#[test]
fn subnet_preference_that_was_off_stays_off() {
    for lines in [
        "preferred_subnet: false\npreferred_ipv4_subnet: 8",
        "preferred_subnet: true",
        "storage: { name: memorybysubnet }",
        "storage: { name: memorybysubnet, config: { preferred_ipv4_subnet_mask_bits_set: 0 } }",
    ] {
        assert_eq!(strict(&listening(lines)).unwrap().config.prehooks, [], "{lines}");
    }
}

#[test]
fn a_hook_that_refuses_does_so_before_the_reply_wherever_it_stands() {
    let refusing = "{ name: client approval, options: { blacklist: TR4050 } }";
    let before = "{ name: ip approval, options: { deny: 192.0.2.1 } }";
    let text = listening(&format!("prehooks: [ {before} ]\nposthooks: [ {refusing} ]"));
    let Loaded { config, warnings, .. } = strict(&text).unwrap();
    let names: Vec<_> = config.prehooks.iter().map(HookConfig::name).collect();
    assert_eq!((names, config.posthooks), (vec!["ip approval", "client approval"], vec![]));
    assert_eq!(
        warnings[0].to_string(),
        "t.yaml:4: chihaya.posthooks[0].name: `client approval` refuses before the reply; it is read as a pre-hook"
    );
    let alone = strict(&listening(&format!("posthooks: {refusing}"))).unwrap().config;
    assert_eq!((alone.prehooks.len(), alone.posthooks.len()), (1, 0));
    let both = format!("prehooks: [ {refusing} ]\nposthooks: [ {refusing} ]");
    assert_eq!(strict(&listening(&both)).unwrap().config.prehooks.len(), 1);
    assert_eq!(
        errors(&listening("posthooks:\n- name: client approval\n  options: { blacklist: no }")),
        [
            "t.yaml:5: chihaya.posthooks[0].options.blacklist[0]: `no`: a client id has 6 bytes, like TR4050"
        ]
    );
}

#[test]
fn a_hook_that_changes_the_reply_has_no_effect_after_it() {
    let text = listening(
        "posthooks: [ { name: interval variation, options: { modify_response_probability: 1, \
         max_increase_delta: 1 } } ]",
    );
    assert_eq!(
        warnings(&text),
        [
            "t.yaml:3: chihaya.posthooks[0].name: `interval variation` has no effect after the reply, \
          as in Chihaya"
        ]
    );
}

#[test]
fn who_is_told_everything_twice_is_warned_of() {
    let hook = "{ name: report, options: { url: 'http://site.test/' } }";
    let found = warnings(&listening(&format!("posthooks: [ {hook}, {hook} ]")));
    let expected =
        "t.yaml:3: chihaya.posthooks[1]: is given twice: its service is told everything twice";
    assert_eq!(found, [expected]);
}

#[test]
fn what_tells_of_announces_runs_after_the_reply_only() {
    let text = listening("prehooks: [ { name: report, options: { url: 'http://site.test/' } } ]");
    assert_eq!(
        errors(&text),
        [
            "t.yaml:3: chihaya.prehooks[0].name: `report` only runs after a reply; put it into posthooks"
        ]
    );
}

#[test]
fn options_of_reports_are_checked() {
    let parameters = (0..17).map(|number| format!("p{number}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "posthooks:\n- name: report\n  options: {{ url: 'http://h/', interval: 1ms, parameters: [{parameters}] }}"
    );
    let options = "t.yaml:5: chihaya.posthooks[0].options";
    assert_eq!(
        errors(&listening(&text)),
        [
            format!("{options}.interval: 1ms is not 10ms or more"),
            format!("{options}.parameters: names more than 16 parameters"),
        ]
    );
}

#[test]
fn a_switch_of_subnet_preference_that_is_no_truth_value_is_an_error() {
    assert_eq!(
        errors(&listening("preferred_subnet: maybe\npreferred_ipv4_subnet: 8")),
        [
            "t.yaml:3: chihaya.preferred_subnet: is not `true` or `false`; it is now the hook `preferred subnet`"
        ]
    );
}

#[test]
fn options_of_subnet_preference_without_its_switch_are_remarked_upon() {
    let text = listening("preferred_ipv4_subnet: 8");
    assert_eq!(
        warnings(&text),
        [
            "t.yaml:3: chihaya.preferred_ipv4_subnet: has no effect without `preferred_subnet: true`; both are now the hook \
             `preferred subnet`"
        ]
    );
    assert_eq!(strict(&text).unwrap().config.prehooks, []);
}
