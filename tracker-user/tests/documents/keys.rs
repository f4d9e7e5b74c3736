//! The keys of the configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tracker_user::config;

use super::{documents, functions, literals, quoted};

/// The documents for operators; the others name identifiers of the code as well.
fn of_operators() -> BTreeMap<String, String> {
    let mut documents = documents();
    documents.retain(|path, _| {
        ["README.md", "docs/operations.md", "docs/hooks.md", "docs/migrating-from-chihaya.md"]
            .contains(&&**path)
    });
    assert_eq!(documents.len(), 4);
    documents
}

/// The keys of the schema: each with the keys that may be above it.
fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let schema = serde_json::to_value(config::file_schema()).unwrap();
    let mut keys = BTreeMap::new();
    walk(&schema, &schema, "", &mut BTreeSet::new(), &mut keys);
    keys
}

fn walk(
    schema: &Value,
    node: &Value,
    above: &str,
    seen: &mut BTreeSet<(String, String)>,
    keys: &mut BTreeMap<String, BTreeSet<String>>,
) {
    match node {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(to)) => {
                        if seen.insert((above.to_owned(), to.clone())) {
                            let target = schema.pointer(to.trim_start_matches('#')).unwrap();
                            walk(schema, target, above, seen, keys);
                        }
                    }
                    ("properties", Value::Object(properties)) => {
                        for (key, value) in properties {
                            keys.entry(key.clone()).or_default().insert(above.to_owned());
                            walk(schema, value, key, seen, keys);
                        }
                    }
                    ("$defs" | "examples" | "default" | "enum", _) => {}
                    _ => walk(schema, value, above, seen, keys),
                }
            }
        }
        Value::Array(nodes) => {
            for node in nodes {
                walk(schema, node, above, seen, keys);
            }
        }
        _ => {}
    }
}

/// Words with an underscore that are neither keys nor metrics.
const OTHER_WORDS: [&str; 12] = [
    "address_family",
    "ctrl_guest_offloads",
    "guest_csum",
    "guest_ecn",
    "guest_tso4",
    "guest_tso6",
    "guest_ufo",
    "no_new_privs",
    "preferred_subnet",
    "shard_count",
    "prometheus_addr",
    "xdp_clock",
];

#[test]
fn every_key_of_the_configuration_that_is_named_exists() {
    let keys = keys();
    let literals = literals();
    let tests = functions();
    let has = |key: &str, above: &str| match key.strip_suffix('*') {
        Some(start) => keys.iter().any(|(key, all)| key.starts_with(start) && all.contains(above)),
        None => keys.get(key).is_some_and(|all| all.contains(above)),
    };
    let mut unknown = Vec::new();
    for (path, text) in of_operators() {
        for name in quoted(&text) {
            let name = name.split_once(": ").map_or(name, |(key, _)| key);
            let is_key =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.*".contains(c);
            if !name.chars().all(is_key) || name.starts_with('_') || name.ends_with(".yaml") {
                continue;
            }
            let parts: Vec<&str> = name.split('.').collect();
            if parts.len() > 1 && keys.contains_key(parts[0]) {
                if !parts.windows(2).all(|pair| has(pair[1], pair[0])) {
                    unknown.push(format!("{path}: {name}"));
                }
            } else if parts.len() == 1 && name.contains('_') && !name.contains('*') {
                let is_metric = |start: &str| literals.contains(&format!("{start}{name}"));
                let is_known = keys.contains_key(name)
                    || OTHER_WORDS.contains(&name)
                    || ["", "xdp_tracker_"].into_iter().any(is_metric)
                    || tests.contains(name);
                if !is_known {
                    unknown.push(format!("{path}: {name}"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "no keys, metrics or tests: {unknown:#?}");
}
