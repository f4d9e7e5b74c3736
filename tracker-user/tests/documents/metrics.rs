//! Metrics and their labels.

use std::collections::BTreeSet;

use super::{documents, functions, is_word, literals, quoted, read, root, sources};

#[test]
fn every_metric_that_is_named_exists_and_every_metric_is_named() {
    let literals = literals();
    let metrics: BTreeSet<&str> = literals
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with("xdp_tracker_") && !name.contains(' '))
        .collect();
    let tests = functions();
    for (path, text) in documents() {
        for name in text.split(|c| !is_word(c)) {
            let is_metric = name.starts_with("xdp_tracker_") || name.starts_with("chihaya_");
            // `chihaya_*` stands for all of them.
            if is_metric && !name.ends_with('_') && !tests.contains(name) {
                assert!(literals.contains(name), "{path}: there is no metric {name}");
            }
        }
        for name in quoted(&text).filter(|name| name.chars().all(is_word)) {
            let is_short = name.ends_with("_total") && !name.starts_with("xdp_tracker_");
            let is_known = metrics.contains(&*format!("xdp_tracker_{name}"));
            assert!(!is_short || is_known, "{path}: there is no metric that ends in {name}");
        }
    }
    let operations = read("docs/operations.md");
    for metric in &metrics {
        // Tests look for the beginnings of names.
        let is_part = metrics.iter().any(|other| other.starts_with(&format!("{metric}_")));
        let is_told = operations.contains(&format!("`{metric}`"));
        assert!(is_told || is_part, "{metric} is in no table");
    }
}

#[test]
fn every_label_of_a_metric_that_is_named_exists() {
    let literals = literals();
    for (path, text) in documents() {
        for rest in text.split("limit=\"").skip(1) {
            let limit = rest.split('"').next().unwrap();
            assert!(literals.contains(limit), "{path}: there is no limit {limit}");
        }
    }
    let operations = read("docs/operations.md");
    for text in sources(&root().join("tracker-user/src")) {
        for rest in text.split("limit_reached(\"").skip(1) {
            let limit = rest.split('"').next().unwrap();
            let label = format!("limit=\"{limit}\"");
            assert!(operations.contains(&label), "operations.md does not name {label}");
        }
    }
    let (_, reasons) = operations.split_once("\nReasons for passing: ").unwrap();
    let reasons = reasons.split("\n\n").next().unwrap();
    let counters = read("tracker-user/src/dataplane/counters.rs");
    let passed: BTreeSet<&str> = counters
        .split("Label::Passed(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let named: BTreeSet<&str> = quoted(reasons).filter(|name| !name.contains('_')).collect();
    assert_eq!(
        named.iter().filter(|name| **name != "report").copied().collect::<BTreeSet<_>>(),
        passed
    );
}
