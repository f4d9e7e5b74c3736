//! The keys that count when the tracker starts, and then no more.

use serde_json::Value;

use super::hooks;
use crate::config::{Config, StorageConfig};

/// Where the tracker listens and with how many threads, and the sizes of what the kernel shares.
const KEYS: [&str; 11] = [
    "metrics_addr",
    "http.addr",
    "http.https_addr",
    "http.webtorrent.max_connections",
    "udp.addr",
    "udp.workers",
    "storage.name",
    "xdp.table",
    "xdp.limits.sources",
    "xdp.pin_path",
    "xdp.log_level",
];

/// Without a data plane, a table that the kernel could share, nothing can be attached.
const KERNEL_KEYS: [&str; 2] = ["xdp.interfaces", "xdp.mode"];

/// Those of the keys that the two configurations differ in.
pub(super) fn needed(
    started_with: &Config,
    config: &Config,
    has_data_plane: bool,
) -> Vec<&'static str> {
    let [before, after] =
        [started_with, config].map(|config| serde_json::to_value(config).unwrap_or_default());
    let kernel_keys = KERNEL_KEYS.into_iter().filter(|_| !has_data_plane);
    let keys = KEYS.into_iter().chain(kernel_keys);
    let changed = keys.filter(|key| at(&before, key) != at(&after, key));
    let subnets = [started_with, config].map(hooks::preferred_subnet);
    let subnet = (subnets[0] != subnets[1]).then_some("prehooks: preferred subnet");
    changed.chain(subnet).chain(redis_keys(started_with, config)).collect()
}

/// How Redis is reached. A secret can be compared here only.
fn redis_keys(started_with: &Config, config: &Config) -> Vec<&'static str> {
    let (StorageConfig::Redis(before), StorageConfig::Redis(after)) =
        (&started_with.storage, &config.storage)
    else {
        return Vec::new();
    };
    let keys = [
        ("storage.config.redis_broker", before.redis_broker != after.redis_broker),
        ("storage.config.redis_ca_path", before.redis_ca_path != after.redis_ca_path),
        ("storage.config.redis_cert_path", before.redis_cert_path != after.redis_cert_path),
        ("storage.config.redis_key_path", before.redis_key_path != after.redis_key_path),
        (
            "storage.config.redis_read_timeout",
            before.redis_read_timeout != after.redis_read_timeout,
        ),
        (
            "storage.config.redis_write_timeout",
            before.redis_write_timeout != after.redis_write_timeout,
        ),
        (
            "storage.config.redis_connect_timeout",
            before.redis_connect_timeout != after.redis_connect_timeout,
        ),
    ];
    keys.into_iter().filter_map(|(key, is_changed)| is_changed.then_some(key)).collect()
}

fn at<'v>(config: &'v Value, key: &str) -> Option<&'v Value> {
    config.pointer(&format!("/{}", key.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(yaml: &str) -> Config {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn every_key_is_one_of_the_configuration() {
        let shipped = serde_json::to_value(config::shipped()).unwrap();
        for key in KEYS.into_iter().chain(KERNEL_KEYS) {
            assert!(at(&shipped, key).is_some(), "{key}");
        }
    }

    #[test]
    fn interfaces_can_change_where_the_kernel_answers_already() {
        let (before, after) = (config("{}"), config("{ xdp: { interfaces: [eth0] } }"));
        assert_eq!(needed(&before, &after, true), [""; 0]);
        assert_eq!(needed(&before, &after, false), ["xdp.interfaces"]);
    }

    #[test]
    fn what_has_changed_is_named() {
        let started_with = config("{ udp: { addr: [':1'] }, http: { max_numwant: 7 } }");
        let changed = config("{ udp: { addr: [':2'] }, xdp: { table: { blocks: 1MiB } } }");
        assert_eq!(needed(&started_with, &changed, true), ["udp.addr", "xdp.table"]);
        assert!(needed(&started_with, &started_with, false).is_empty());
        let subnet = config(
            "{ prehooks: [ { name: preferred subnet, options: { preferred_ipv4_subnet_mask_bits_set: 8 } } ] }",
        );
        assert_eq!(needed(&config("{}"), &subnet, true), ["prehooks: preferred subnet"]);
    }

    #[test]
    fn another_redis_waits_for_a_restart_and_another_lifetime_does_not() {
        let redis = |options: &str| {
            config(&format!("{{ storage: {{ name: redis, config: {{ {options} }} }} }}"))
        };
        let before = redis("redis_broker: 'redis://a@h'");
        let after = redis(
            "redis_broker: 'redis://b@h', redis_ca_path: /a, redis_read_timeout: 1s, gc_interval: 1m",
        );
        assert_eq!(
            needed(&before, &after, true),
            [
                "storage.config.redis_broker",
                "storage.config.redis_ca_path",
                "storage.config.redis_read_timeout"
            ]
        );
        assert_eq!(needed(&config("{}"), &after, true), ["storage.name"]);
    }
}
