//! An issuer of tokens, and what the hook says to them.

mod issuer;
mod keys;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tracker_common::id::InfoHash;

use super::*;
use crate::{
    config::GoDuration,
    middleware::{
        credentials::tests::Ledger,
        tests::{Service, announce_of},
    },
    pipeline::{Grant, Params},
};
use issuer::Signer;

const TORRENT: InfoHash = InfoHash(*b"a%20torrent \xff\0+/&=ab");
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://tracker.example";

/// The torrent as it is escaped in a query.
const ESCAPED: &str = "a%2520torrent+%FF%00%2B/%26%3Dab";

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a good token, with others in the place of some.
fn claims(others: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "infohash": ESCAPED });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A hook, the service that it has its keys from, and the grants that it has left.
struct Stage {
    service: Service,
    hook: Jwt,
    updater: Updater,
    ledger: Arc<Ledger>,
    metrics: Metrics,
}

impl Stage {
    fn new(signers: &[&Signer]) -> Self {
        let service = Service::start(issuer::key_set(signers));
        let metrics = Metrics::new().unwrap();
        let ledger = Arc::new(Ledger::default());
        let (hook, updater) = Jwt::make(&options(&service.url), &metrics, ledger.clone()).unwrap();
        Self { service, hook, updater, ledger, metrics }
    }

    fn announce(&self, token: Option<&str>) -> Result<(), Refusal> {
        let mut params = Params::default();
        if let Some(token) = token {
            params.push("jwt", token);
        }
        let request = AnnounceRequest { params, ..announce_of(TORRENT) };
        self.hook.announce(&request, &mut AnnounceResponse::default())
    }

    fn refreshes(&self) -> (u64, u64) {
        let refreshes = self.metrics.hook_refreshes("jwt");
        (refreshes.succeeded.get(), refreshes.failed.get())
    }
}

fn options(url: &str) -> JwtConfig {
    JwtConfig {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwk_set_url: url.into(),
        jwk_set_update_interval: GoDuration::from_secs(300),
    }
}

/// What the hook says to a token by a key that it knows.
fn judge(claims: &Value) -> Result<(), Refusal> {
    let signer = Signer::ed25519("1");
    Stage::new(&[&signer]).announce(Some(&signer.token(claims)))
}

fn invalid() -> Result<(), Refusal> {
    Err(Refusal::Client("unapproved request: invalid jwt".into()))
}

#[test]
fn a_good_token_is_approved_of() {
    assert_eq!(judge(&claims(json!({}))), Ok(()));
}

#[test]
fn an_announce_without_a_token_is_told_so() {
    let missing = Refusal::Client("unapproved request: missing jwt".into());
    assert_eq!(Stage::new(&[&Signer::ed25519("1")]).announce(None), Err(missing));
}

#[test]
fn the_claims_must_name_issuer_audience_and_torrent() {
    for wrong in [
        json!({ "iss": "https://other.example" }),
        json!({ "iss": null }),
        json!({ "aud": "https://other.example" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "infohash": "aaaaaaaaaaaaaaaaaaaa" }),
        json!({ "infohash": InfoHash([1; 20]).to_string() }),
        json!({ "infohash": 7 }),
        json!({ "infohash": null }),
    ] {
        assert_eq!(judge(&claims(wrong.clone())), invalid(), "{wrong}");
    }
}

#[test]
fn the_audience_may_be_one_of_several() {
    let several = json!({ "aud": ["https://other.example", AUDIENCE] });
    assert_eq!(judge(&claims(several)), Ok(()));
}

#[test]
fn the_torrent_may_be_in_digits_escaped_or_written_as_it_is() {
    let signer = Signer::ed25519("1");
    let stage = Stage::new(&[&signer]);
    let info_hash = InfoHash(*b"plain text, 20 bytes");
    for (infohash, expected) in [
        ("706c61696e20746578742c203230206279746573", Ok(())),
        ("706C61696E20746578742C203230206279746573", invalid()),
        ("plain text, 20 bytes", Ok(())),
        ("plain+text,+20+bytes", Ok(())),
        ("plain%20text%2c%2020%20bytes", Ok(())),
        ("plain text, 20 byte", invalid()),
    ] {
        let mut params = Params::default();
        params.push("jwt", signer.token(&claims(json!({ "infohash": infohash }))));
        let request = AnnounceRequest { params, ..announce_of(info_hash) };
        let judged = stage.hook.announce(&request, &mut AnnounceResponse::default());
        assert_eq!(judged, expected, "{infohash}");
    }
}

#[test]
fn a_token_is_good_before_its_end_and_from_its_beginning() {
    let now_s = now_s();
    assert_eq!(judge(&claims(json!({ "exp": now_s + 100, "nbf": now_s - 100 }))), Ok(()));
    assert_eq!(judge(&claims(json!({ "exp": now_s - 1 }))), invalid());
    assert_eq!(judge(&claims(json!({ "exp": now_s as f64 + 99.5 }))), Ok(()));
    // The issuer's clock may be ahead by a minute.
    assert_eq!(judge(&claims(json!({ "nbf": now_s + 30 }))), Ok(()));
    assert_eq!(judge(&claims(json!({ "nbf": now_s + 100 }))), invalid());
}

#[test]
fn a_time_that_is_none_is_not_taken_for_left_out() {
    for wrong in [json!("soon"), json!(null), json!(-1), json!(1e300), json!([1])] {
        assert_eq!(judge(&claims(json!({ "exp": wrong }))), invalid(), "{wrong}");
        assert_eq!(judge(&claims(json!({ "nbf": wrong }))), invalid(), "{wrong}");
    }
}

#[test]
fn what_is_no_token_is_invalid() {
    let stage = Stage::new(&[&Signer::ed25519("1")]);
    for token in ["", ".", "..", "a.b.c", "e30.e30.", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(stage.announce(Some(token)), invalid(), "{token}");
    }
}

#[test]
fn refusals_are_counted_by_what_is_wrong() {
    let signer = Signer::ed25519("1");
    let stage = Stage::new(&[&signer]);
    let _ = stage.announce(Some(&signer.token(&claims(json!({ "exp": 1 })))));
    let _ = stage.announce(Some(&Signer::ed25519("2").token(&claims(json!({})))));
    for reason in ["expired", "unknown key"] {
        assert_eq!(stage.metrics.jwt_refusals().with_label_values(&[reason]).get(), 1);
    }
}

#[test]
fn an_approved_announce_leaves_a_grant_that_ends_with_the_token() {
    let signer = Signer::ed25519("1");
    let stage = Stage::new(&[&signer]);
    let end_s = now_s() + 100;
    stage.announce(Some(&signer.token(&claims(json!({ "exp": end_s }))))).unwrap();
    let grant = Grant {
        info_hash: TORRENT,
        address: [192, 0, 2, 1].into(),
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(end_s),
    };
    assert_eq!(stage.ledger.grants(), [grant]);
    let _ = stage.announce(Some("x"));
    assert_eq!(stage.ledger.grants(), [grant]);
}

#[test]
fn a_grant_by_a_token_without_end_is_for_an_hour() {
    let signer = Signer::ed25519("1");
    let stage = Stage::new(&[&signer]);
    stage.announce(Some(&signer.token(&claims(json!({}))))).unwrap();
    let left = stage.ledger.grants()[0].expires_at.duration_since(SystemTime::now()).unwrap();
    assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
}

#[test]
fn keys_are_added_without_a_gap() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let mut stage = Stage::new(&[&old]);
    stage.announce(Some(&old.token(&claims(json!({}))))).unwrap();
    stage.service.answer(issuer::key_set(&[&old, &new]));
    stage.updater.update();
    assert_eq!(stage.ledger.grants().len(), 1);
    for signer in [&old, &new] {
        assert_eq!(stage.announce(Some(&signer.token(&claims(json!({}))))), Ok(()));
    }
    assert_eq!(stage.refreshes(), (1, 0));
}

#[test]
fn with_a_key_its_tokens_and_all_grants_go() {
    let (gone, kept) = (Signer::ed25519("gone"), Signer::ed25519("kept"));
    let mut stage = Stage::new(&[&gone, &kept]);
    stage.announce(Some(&gone.token(&claims(json!({}))))).unwrap();
    stage.service.answer(issuer::key_set(&[&kept]));
    stage.updater.update();
    assert_eq!(stage.ledger.grants(), []);
    assert_eq!(stage.announce(Some(&gone.token(&claims(json!({}))))), invalid());
    assert_eq!(stage.announce(Some(&kept.token(&claims(json!({}))))), Ok(()));
}

#[test]
fn a_key_that_is_exchanged_under_its_id_is_another() {
    let (old, new) = (Signer::ed25519("1"), Signer::ed25519("1"));
    let mut stage = Stage::new(&[&old]);
    stage.announce(Some(&old.token(&claims(json!({}))))).unwrap();
    stage.service.answer(issuer::key_set(&[&new]));
    stage.updater.update();
    assert_eq!(stage.ledger.grants(), []);
    assert_eq!(stage.announce(Some(&old.token(&claims(json!({}))))), invalid());
}

#[test]
fn while_the_issuer_is_down_or_talks_nonsense_the_keys_stay() {
    let signer = Signer::ed25519("1");
    let mut stage = Stage::new(&[&signer]);
    stage.announce(Some(&signer.token(&claims(json!({}))))).unwrap();
    stage.service.go_down();
    stage.updater.update();
    stage.service.come_back();
    for nonsense in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "[1"] {
        stage.service.answer(nonsense);
        stage.updater.update();
    }
    assert_eq!(stage.refreshes(), (0, 6));
    assert_eq!(stage.ledger.grants().len(), 1);
    assert_eq!(stage.announce(Some(&signer.token(&claims(json!({}))))), Ok(()));
}

#[test]
fn without_first_keys_there_is_no_hook() {
    let error = |url: &str| {
        let options = options(url);
        let hook = Jwt::new(&options, &Metrics::new().unwrap(), Arc::new(Ledger::default()));
        format!("{:#}", anyhow::Error::from(hook.err().unwrap()))
    };
    let service = Service::start("{}");
    let found = error(&service.url);
    let expected = format!(
        "cannot fetch the keys at {}: is jwk_set_url right, and can this host reach it?: \
         it is no JWK set: it has no list `keys`",
        service.url
    );
    assert_eq!(found, expected);
    service.go_down();
    assert!(error(&service.url).starts_with("cannot fetch the keys at http://127.0.0.1:"));
}

#[test]
fn the_kernel_is_told_of_grants() {
    let stage = Stage::new(&[&Signer::ed25519("1")]);
    assert!(matches!(stage.hook.offload(), Offload::Grants));
}
