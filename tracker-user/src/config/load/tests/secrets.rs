//! What is secret is shown nowhere, and is warned of where others know it.

use super::*;

#[test]
fn a_private_key_that_others_know_is_warned_of() {
    for example in [
        "paste a random string here that will be used to hmac connection IDs",
        "32 or more random characters",
    ] {
        let [warning] =
            &warnings(&with(&format!("udp: {{ addr: ':1', private_key: {example} }}")))[..]
        else {
            panic!("{example} is not warned of, or not alone")
        };
        assert!(warning.contains("is the text of an example file"), "{warning}");
    }
    let good = "udp: { addr: ':1', private_key: 5b1f3c0d9e8a7766 }";
    assert_eq!(warnings(&with(good)), [""; 0]);
}

#[test]
fn passwords_in_urls_of_hooks_are_not_shown() {
    let text = "http: { addr: ':1' }
prehooks:
- name: jwt
  options: { issuer: i, audience: a, jwk_set_url: 'https://u:SECRET@h/keys?token=SECRET' }
- name: passkey
  options: { url: 'https://u:SECRET@h/' }
posthooks:
- name: report
  options: { url: 'https://h/?key=SECRET' }";
    let config = strict(&with(text)).unwrap().config;
    let shown = crate::config::to_yaml(&config).unwrap();
    assert!(!format!("{config:?}{shown}").contains("SECRET"), "{shown}");
    assert!(shown.contains("https://(hidden)@h/keys?(hidden)"), "{shown}");
    // Nor is one that is no URL.
    let text = text.replace("https://u:SECRET@h/'", "u:SECRET@h'");
    let [error] = &errors(&with(&text))[..] else { panic!("it is accepted") };
    assert!(!error.contains("SECRET"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    let config = strict(FULL).unwrap().config;
    assert!(!format!("{config:?}").contains("some secret"));
    let shown = crate::config::to_yaml(&config).unwrap();
    assert!(!shown.contains("some secret") && shown.contains("(hidden)"));
}
