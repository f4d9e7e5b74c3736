//! What a reload leaves as it is.

use std::fs;

use super::{
    hooks::{Issuer, both, hook, over_http, reasons, tracker, with},
    *,
};
use crate::middleware::tests::Service;

/// The same hooks beside another interval.
fn with_another_interval(prehooks: &str) -> String {
    format!("announce_interval: 10m\n{}", with(prehooks))
}

#[test]
fn an_issuer_that_is_down_does_not_stop_a_change_of_another_key() {
    let issuer = Issuer::start();
    let options = format!("issuer: i, audience: a, jwk_set_url: '{}'", issuer.service.url);
    let jwt = hook("jwt", &options);
    let mut running = tracker(&jwt);
    issuer.service.go_down();
    assert!(running.reload(&with_another_interval(&jwt)).is_empty());
    let token = issuer.token(&"a".repeat(20));
    let reply = running.get(&announce(1, &format!("&jwt={token}")));
    assert!(reply.contains("8:intervali600e"), "{reply}");
    assert_eq!(reasons(&running, "jwt=x"), both("unapproved request: invalid jwt"));
    assert_eq!(issuer.service.questions().len(), 1, "the keys are fetched once");
}

#[test]
fn answers_about_passkeys_survive_a_reload() {
    let service = Service::start(r#"{"passkeys":["good"]}"#);
    let passkey = hook("passkey", &format!("url: '{}', timeout: 10s", service.url));
    let mut running = tracker(&passkey);
    assert_eq!(over_http(&running.get(&announce(1, "&passkey=good"))), "");
    service.go_down();
    running.reload(&with_another_interval(&passkey));
    let reply = running.get(&announce(1, "&passkey=good"));
    assert!(reply.contains("8:intervali600e"), "{reply}");
    assert_eq!(service.questions().len(), 1);
}

#[test]
fn a_list_that_a_reload_has_left_as_it_is_is_still_followed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let list = hook("torrent approval", &format!("whitelist_files: [{}]", file.path().display()));
    let mut running = tracker(&list);
    running.reload(&with_another_interval(&list));
    assert_eq!(reasons(&running, ""), both("unapproved torrent"));
    fs::write(file.path(), "61".repeat(20)).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while reasons(&running, "") != both("") {
        assert!(std::time::Instant::now() < deadline, "the list is not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn grants_end_with_the_hooks_that_leave_them_and_with_no_other_change() {
    let [members, others] = [(), ()].map(|()| tempfile::NamedTempFile::new().unwrap());
    let passkey = |file: &tempfile::NamedTempFile| {
        hook("passkey", &format!("files: [{}]", file.path().display()))
    };
    let clients = hook("client approval", "blacklist: [TR4050]");
    let maker = HookMaker::new(&OwnHooks::default(), &Arc::new(Metrics::new().unwrap()));
    let prepare = |lines: &str| prepare_with(lines, &maker).unwrap();
    let before = prepare(&with(&passkey(&members)));
    let are_kept = |lines: &str| prepare(lines).grantors().are(&before.grantors());
    assert!(are_kept(&with_another_interval(&passkey(&members))));
    assert!(are_kept(&with(&(clients.clone() + &passkey(&members)))));
    assert!(are_kept(&with(&(passkey(&members) + &clients))));
    assert!(!are_kept(&with(&passkey(&others))), "another hook of the same kind");
    assert!(!are_kept(&with(&(passkey(&members) + &passkey(&others)))), "one more");
    assert!(!are_kept(&with(&clients)), "gone");
}
