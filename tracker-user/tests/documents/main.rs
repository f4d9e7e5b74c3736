//! What the documents name exists, under that name and with that value: tests, metrics, keys, commands, limits, files.

mod commands;
mod figures;
mod keys;
mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tracker_common::abi;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents, by their paths below the root.
fn documents() -> BTreeMap<String, String> {
    let mut documents = BTreeMap::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}{}", entry.unwrap().file_name().to_str().unwrap());
            if !path.ends_with(".md") {
                continue;
            }
            let text = read(&path);
            documents.insert(path, text);
        }
    }
    for file in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        assert!(documents.contains_key(file), "there is no {file}");
    }
    documents
}

/// What stands between backquotes, in code blocks of its own lines not.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// The names of all functions, tests among them.
fn functions() -> BTreeSet<String> {
    let texts = ["tracker-common", "tracker-user", "tests"].map(|part| sources(&root().join(part)));
    let mut names = BTreeSet::new();
    for text in texts.iter().flatten() {
        let of_text = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        names.extend(of_text.map(str::to_owned));
    }
    names
}

/// All string literals of the daemon that are one word or several plain ones: names of metrics, labels, reasons.
fn literals() -> BTreeSet<String> {
    let mut literals = BTreeSet::new();
    let texts = sources(&root().join("tracker-user/src"));
    // The names of the histograms of either protocol are put together.
    let of_protocols = |text: &String| ["http", "udp"].map(|name| text.replace("{protocol}", name));
    for text in texts.iter().flat_map(of_protocols) {
        let between = text.split('"').filter(|text| {
            text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_ ".contains(&c))
        });
        literals.extend(between.map(str::to_owned));
    }
    literals
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn every_test_that_holds_a_promise_exists() {
    let names = functions();
    let document = read("docs/security.md");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        for test in tests.split(", ") {
            assert!(names.contains(test.trim_matches('`')), "there is no test {test}");
        }
    }
}

#[test]
fn the_folder_of_pins_is_the_one_of_this_version() {
    let mut named = 0;
    for (path, text) in documents() {
        for rest in text.split("xdp-tracker/v").skip(1) {
            let version: String = rest.chars().take_while(char::is_ascii_digit).collect();
            assert_eq!(version, abi::VERSION.to_string(), "{path}: xdp-tracker/v{version}");
            named += 1;
        }
    }
    assert!(named > 0, "no document names the folder");
}

#[test]
fn every_source_file_that_is_named_exists() {
    let mut named = 0;
    for (path, text) in documents() {
        for file in quoted(&text).filter(|name| name.contains('/') && name.ends_with(".rs")) {
            assert!(root().join(file).is_file(), "{path}: there is no {file}");
            named += 1;
        }
    }
    assert!(named > 30, "{named} files are named");
}

#[test]
fn each_walk_has_at_most_twelve_steps() {
    let walkthrough = read("docs/walkthrough.md");
    let walks: Vec<&str> = walkthrough.split("\n## ").skip(1).collect();
    assert_eq!(walks.len(), 3);
    for walk in walks {
        let is_step = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
        let steps = walk.lines().filter(is_step).count();
        assert!((1..=12).contains(&steps), "{steps} steps: {walk}");
        let (_, body) = walk.split_once("\n\n1. ").unwrap();
        for number in 2..=steps {
            assert!(body.contains(&format!("\n{number}. ")), "no step {number}: {walk}");
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| is_word(*c) || " -".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    for (path, text) in &documents {
        let folder = Path::new(path).parent().unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                text.clone()
            } else {
                let file = folder.join(file);
                let file = file.to_str().unwrap();
                assert!(root().join(file).exists(), "{path}: {link}");
                if heading.is_empty() {
                    continue;
                }
                read(file)
            };
            let headings = target
                .lines()
                .filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#')));
            let has =
                headings.map(|heading| anchor(heading.trim())).any(|anchor| anchor == heading);
            assert!(heading.is_empty() || has, "{path}: {link}");
        }
    }
}
