//! Which keys verify which tokens.

use super::*;
use crate::middleware::jwt::keys::{KeySet, KeySetError};

/// What a hook that has these keys says to the token.
fn judge_by(set: Value, token: &str) -> Result<(), Refusal> {
    let stage = Stage::new(&[&Signer::ed25519("unused")]);
    stage.service.answer(set);
    let mut updater = stage.updater;
    updater.update();
    let mut params = Params::default();
    params.push("jwt", token);
    let request = AnnounceRequest { params, ..announce_of(TORRENT) };
    stage.hook.announce(&request, &mut AnnounceResponse::default())
}

#[test]
fn every_algorithm_of_a_key_verifies_its_tokens_and_no_others() {
    const ALGORITHMS: [&str; 9] =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    for (signer, own) in [
        (Signer::rsa("1"), &ALGORITHMS[..6]),
        (Signer::p256("1"), &["ES256"]),
        (Signer::p384("1"), &["ES384"]),
        (Signer::ed25519("1"), &["EdDSA"]),
    ] {
        let set = issuer::key_set(&[&signer]);
        for algorithm in ALGORITHMS {
            let expected = if own.contains(&algorithm) { Ok(()) } else { invalid() };
            let token = signer.token_by(algorithm, &claims(json!({})));
            assert_eq!(judge_by(set.clone(), &token), expected, "{algorithm} by {set}");
        }
        for algorithm in ["none", "None", "", "HS256"] {
            let token = signer.token_by(algorithm, &claims(json!({})));
            assert_eq!(judge_by(set.clone(), &token), invalid(), "{algorithm}");
        }
    }
}

#[test]
fn a_key_for_one_algorithm_verifies_no_other() {
    let signer = Signer::rsa("1");
    let mut set = issuer::key_set(&[&signer]);
    set["keys"][0]["alg"] = "RS512".into();
    let token = |algorithm| signer.token_by(algorithm, &claims(json!({})));
    assert_eq!(judge_by(set.clone(), &token("RS512")), Ok(()));
    assert_eq!(judge_by(set, &token("RS256")), invalid());
}

#[test]
fn every_key_of_an_id_is_tried() {
    let (rsa, other) = (Signer::rsa("1"), Signer::ed25519("1"));
    let with = |algorithm: &str| {
        let mut key = rsa.jwk();
        key["alg"] = algorithm.into();
        key
    };
    let mut encryption = with("RSA-OAEP");
    encryption["use"] = "enc".into();
    let set = json!({ "keys": [with("RS512"), with("RS256"), other.jwk(), encryption] });
    for token in [
        rsa.token_by("RS256", &claims(json!({}))),
        rsa.token_by("RS512", &claims(json!({}))),
        other.token(&claims(json!({}))),
    ] {
        assert_eq!(judge_by(set.clone(), &token), Ok(()), "{token}");
    }
    assert_eq!(judge_by(set.clone(), &rsa.token_by("RS384", &claims(json!({})))), invalid());
    let stranger = Signer::ed25519("1");
    assert_eq!(judge_by(set, &stranger.token(&claims(json!({})))), invalid());
}

#[test]
fn a_set_contains_another_when_it_has_each_of_its_keys() {
    let (one, other) = (Signer::p256("1"), Signer::p256("1"));
    let set = |signers: &[&Signer]| KeySet::read(&issuer::key_set(signers)).unwrap();
    assert!(set(&[&one, &other]).contains(&set(&[&other])));
    assert!(!set(&[&other]).contains(&set(&[&one, &other])));
    // Too many of one id.
    let many: Vec<_> = (0..40).map(|_| Signer::ed25519("1")).collect();
    assert_eq!(set(&many.iter().collect::<Vec<_>>()).of("1").len(), 32);
}

#[test]
fn a_token_that_was_tampered_with_is_invalid() {
    let signer = Signer::p256("1");
    let set = issuer::key_set(&[&signer]);
    let token = signer.token(&claims(json!({})));
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let forged = issuer::encode(claims(json!({ "exp": now_s() + 9 })).to_string());
    assert_eq!(judge_by(set.clone(), &format!("{header}.{forged}.{signature}")), invalid());
    assert_eq!(judge_by(set.clone(), &format!("{header}.{body}.{}", &signature[4..])), invalid());
    assert_eq!(judge_by(set.clone(), &format!("{header}.{body}.")), invalid());
    assert_eq!(judge_by(set, &token), Ok(()));
}

#[test]
fn a_token_names_its_key() {
    let (one, other) = (Signer::p256("1"), Signer::p256("2"));
    let set = issuer::key_set(&[&one, &other]);
    let token = |header| one.token_with(&header, &claims(json!({})));
    assert_eq!(judge_by(set.clone(), &token(json!({ "alg": "ES256", "kid": "1" }))), Ok(()));
    for header in [
        json!({ "alg": "ES256", "kid": "2" }),
        json!({ "alg": "ES256", "kid": "3" }),
        json!({ "alg": "ES256", "kid": 1 }),
        json!({ "alg": "ES256" }),
        json!({ "kid": "1" }),
        json!({ "alg": "ES256", "kid": "1", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "1", "crit": null }),
    ] {
        assert_eq!(judge_by(set.clone(), &token(header.clone())), invalid(), "{header}");
    }
}

#[test]
fn keys_that_are_of_no_use_are_left_out() {
    let signer = Signer::p384("1");
    let good = signer.jwk();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let useless = [
        with("use", "enc".into()),
        with("crv", "P-256".into()),
        with("crv", "secp256k1".into()),
        with("x", "AAAA".into()),
        with("y", "not base64".into()),
        with("kty", "RSA".into()),
        json!({ "kty": "oct", "kid": "1", "k": "AAAA" }),
        json!({ "kty": "RSA", "kid": "1", "n": issuer::encode([255; 128]), "e": "AQAB" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "AAAA" }),
        json!("key"),
    ];
    for key in &useless {
        let set = KeySet::read(&json!({ "keys": [key] }));
        assert_eq!(set.unwrap_err(), KeySetError::NoKey(1), "{key}");
    }
    let keys = useless.into_iter().chain([with("use", "sig".into())]).collect::<Vec<_>>();
    let token = signer.token(&claims(json!({})));
    assert_eq!(judge_by(json!({ "keys": keys }), &token), Ok(()));
}

#[test]
fn zeros_before_a_modulus_do_not_matter() {
    let signer = Signer::rsa("1");
    let mut set = issuer::key_set(&[&signer]);
    let modulus = set["keys"][0]["n"].as_str().unwrap();
    // Three zeros are four characters.
    set["keys"][0]["n"] = format!("AAAA{modulus}").into();
    assert_eq!(judge_by(set, &signer.token(&claims(json!({})))), Ok(()));
}
