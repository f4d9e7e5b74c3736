//! The tests that the documents name exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions in the Rust files below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names_of =
                text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            names.extend(names_of.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_holds_a_promise_exists() {
    let mut names = BTreeSet::new();
    for part in ["tracker-common", "tracker-user", "tests"] {
        functions(&root().join(part), &mut names);
    }
    let document = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        for test in tests.split(", ") {
            assert!(names.contains(test.trim_matches('`')), "there is no test {test}");
        }
    }
}
