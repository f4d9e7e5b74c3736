//! The keys that count when the tracker starts, and then no more.

use serde_json::Value;

use crate::config::Config;

/// Where the tracker listens, how it runs, and the size of the table.
const KEYS: [&str; 11] = [
    "metrics_addr",
    "control_socket",
    "http.addr",
    "http.https_addr",
    "udp.addr",
    "udp.workers",
    "storage.name",
    "xdp.interfaces",
    "xdp.mode",
    "xdp.table",
    "xdp.log_level",
];

/// Those of the keys that the two configurations differ in.
pub(super) fn needed(started_with: &Config, config: &Config) -> Vec<&'static str> {
    let [before, after] =
        [started_with, config].map(|config| serde_json::to_value(config).unwrap_or_default());
    KEYS.into_iter().filter(|key| at(&before, key) != at(&after, key)).collect()
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
        for key in KEYS {
            assert!(at(&shipped, key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_has_changed_is_named() {
        let started_with = config("{ udp: { addr: [':1'] }, http: { max_numwant: 7 } }");
        let changed = config("{ udp: { addr: [':2'] }, xdp: { table: { blocks: 1MiB } } }");
        assert_eq!(needed(&started_with, &changed), ["udp.addr", "xdp.table"]);
        assert!(needed(&started_with, &started_with).is_empty());
    }
}
