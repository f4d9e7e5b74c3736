//! The keys of the storage `redis`.

use super::*;

#[test]
fn a_redis_broker_is_read_and_named_when_it_is_wrong() {
    let redis =
        |broker: &str| listening(&format!("storage: {{ name: redis, config: {{ {broker} }} }}"));
    for url in ["redis://secret@h:1/2", "rediss://secret@h:1/2"] {
        assert_eq!(warnings(&redis(&format!("redis_broker: '{url}'"))), [""; 0]);
    }
    for url in ["redisss://secret@h", "secret@h:6379"] {
        assert_eq!(
            errors(&redis(&format!("redis_broker: '{url}'"))),
            ["t.yaml:3: chihaya.storage.config.redis_broker: a server is written \
              redis://PASSWORD@HOST:PORT/DATABASE, and with rediss:// for TLS"]
        );
    }
    assert_eq!(
        warnings(&redis("peer_lifetime: 31m")),
        ["t.yaml:3: chihaya.storage.config.redis_broker: is not given; Chihaya's default, \
          redis://myRedis@127.0.0.1:6379/0, is used"]
    );
}

#[test]
fn the_files_of_redis_over_tls_belong_together() {
    let redis = |scheme: &str, keys: &str| {
        listening(&format!(
            "storage: {{ name: redis, config: {{ redis_broker: '{scheme}://h', {keys} }} }}"
        ))
    };
    let certificate = "redis_cert_path: /c, redis_key_path: /k";
    let all = format!("redis_ca_path: /a, {certificate}");
    for keys in ["", "redis_ca_path: /a", certificate, &all] {
        assert_eq!(warnings(&redis("rediss", keys)), [""; 0], "{keys}");
    }
    for (given, missing) in
        [("redis_cert_path", "redis_key_path"), ("redis_key_path", "redis_cert_path")]
    {
        assert_eq!(
            errors(&redis("rediss", &format!("{given}: /x"))),
            [format!("t.yaml:3: chihaya.storage.config.{given}: needs {missing} beside it")]
        );
    }
    let expected = ["redis_ca_path", "redis_cert_path", "redis_key_path"].map(|key| {
        format!(
            "t.yaml:3: chihaya.storage.config.{key}: has no effect: redis_broker is not rediss://, \
             and TLS is not spoken"
        )
    });
    assert_eq!(warnings(&redis("redis", &all)), expected);
}
