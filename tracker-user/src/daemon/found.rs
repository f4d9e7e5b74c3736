//! What is found before a start or a reload, and which setting it is about.

use nix::unistd::geteuid;
use serde_json::Value;

use crate::config::{Config, KeyPath, key};

/// What the steps are gone through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A start, which comes next.
    Start,
    /// A reload of the tracker in this process.
    Reload,
    /// `xdp-tracker check`, where the tracker is going to run.
    Check,
    /// `xdp-tracker check --offline`, anywhere.
    Offline,
}

/// What is found, each with the setting that it is about.
pub(super) struct Found {
    /// A start would refuse it.
    pub(super) errors: Vec<(KeyPath, String)>,
    /// A start would say so and go on.
    pub(super) warnings: Vec<(KeyPath, String)>,
    /// What cannot be told from here, and what looks wrong and is not.
    pub(super) notes: Vec<String>,
    config: Value,
}

/// Keys below which texts are names of files or addresses of services: a message that has the text is about it.
const NAMING: [&str; 3] = ["files", "path", "url"];

impl Found {
    /// Nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        let config = serde_json::to_value(config).unwrap_or_default();
        Self { errors: Vec::new(), warnings: Vec::new(), notes: Vec::new(), config }
    }

    /// Something that a start would refuse, about the setting at these keys.
    pub(super) fn error(&mut self, path: KeyPath, message: impl Into<String>) {
        self.errors.push((path, message.into()));
    }

    /// Something that a start would say before it goes on, about the setting at these keys.
    pub(in crate::daemon) fn warning(&mut self, path: KeyPath, message: impl Into<String>) {
        self.warnings.push((path, message.into()));
    }

    /// An error about something at `path` or below it. `pointer` is the same place in the configuration, as JSON
    /// pointers are written. Where the message begins with a key, or names a file that a key there names, it is
    /// about that key.
    pub(super) fn error_below(&mut self, path: KeyPath, pointer: &str, error: &anyhow::Error) {
        let mut text = format!("{error:#}");
        let mut place = (path, pointer.to_owned());
        while let Some((keys, rest)) = text.split_once(": ") {
            let below = format!("{}/{}", place.1, keys.replace('.', "/"));
            let is_key = !keys.is_empty() && self.config.pointer(&below).is_some();
            if !is_key {
                break;
            }
            let path = keys.split('.').fold(place.0, |path, key| path.key(key));
            place = (path, below);
            text = rest.to_owned();
        }
        let named = self.config.pointer(&place.1).and_then(|value| named_in(&text, value, false));
        self.errors.push((named.iter().flatten().rev().fold(place.0, Step::take), text));
    }

    /// The errors as an operator reads them.
    #[cfg(test)]
    pub(super) fn lines(&self, source: &crate::config::Source) -> Vec<String> {
        let line =
            |(path, message): &(KeyPath, String)| source.finding(path, message.clone()).to_string();
        self.errors.iter().map(line).collect()
    }

    /// Something that cannot be told from here, or looks wrong and is not.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The system does not let this user. A start as the same user would be refused, but `check` may be run by
    /// another: root without its capabilities is like a tracker of root's, and others cannot tell.
    pub(super) fn forbidden(&mut self, is_check: bool, path: KeyPath, message: String) {
        if is_check && is_another_user() {
            self.untold(&path, &message);
        } else {
            self.error(path, message);
        }
    }

    /// As [`Found::forbidden`], of something that a start goes on without.
    pub(super) fn forbidden_to_some(&mut self, path: KeyPath, message: String) {
        if is_another_user() {
            self.untold(&path, &message);
        } else {
            self.warning(path, message);
        }
    }

    fn untold(&mut self, path: &KeyPath, message: &str) {
        self.notes.push(format!(
            "not told: {path}: {message}; that is so for user {}: run `check` as the tracker's user",
            geteuid()
        ));
    }
}

/// Whether the tracker may run as a user with more rights.
fn is_another_user() -> bool {
    !geteuid().is_root()
}

/// The setting at these keys, `udp.addr` say.
pub(super) fn at(keys: &str) -> KeyPath {
    key(keys)
}

/// A step from a setting to one below it.
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn take(path: KeyPath, step: &Self) -> KeyPath {
        match step {
            Self::Key(key) => path.key(key),
            Self::Index(index) => path.index(*index),
        }
    }
}

/// The way, from its end, to a text of this value that the message has.
fn named_in(message: &str, value: &Value, is_naming: bool) -> Option<Vec<Step>> {
    let extend = |step: Step, way: Option<Vec<Step>>| {
        way.map(|mut way| {
            way.push(step);
            way
        })
    };
    match value {
        Value::String(text) if is_naming && !text.is_empty() => {
            message.contains(text.as_str()).then(Vec::new)
        }
        Value::Array(values) => values.iter().enumerate().find_map(|(index, value)| {
            extend(Step::Index(index), named_in(message, value, is_naming))
        }),
        Value::Object(values) => values.iter().find_map(|(key, value)| {
            let is_naming = NAMING.iter().any(|end| key.ends_with(end));
            extend(Step::Key(key.clone()), named_in(message, value, is_naming))
        }),
        _ => None,
    }
}
