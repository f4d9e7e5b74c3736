//! The file that a configuration was read from, kept to name the line of what is found wrong with it later.

use std::fmt;

use serde_yaml::Value;

use super::{
    ROOT,
    findings::{Finding, Findings, as_written, concerns},
    path::{Path, locate},
    tidy::ALIASES,
};

/// The name in messages of a configuration that no file has.
const SHIPPED: &str = "the default configuration";

/// Where a configuration comes from. It may hold secrets.
#[derive(Clone)]
pub struct Source {
    file: String,
    text: String,
    /// What is below the root, in the shape that the schema asks for.
    settings: Value,
    /// Where settings are now, and where the file has them.
    moved: Vec<(Path, Path)>,
    /// Where the file has settings that are left out, since their values are wrong.
    left_out: Vec<Path>,
}

impl Source {
    pub(super) fn new(file: &str, text: &str, settings: Value, findings: Findings) -> Self {
        let Findings { moved, left_out, .. } = findings;
        Self { file: file.to_owned(), text: text.to_owned(), settings, moved, left_out }
    }

    /// What is below the root.
    pub(super) fn settings(&self) -> &Value {
        &self.settings
    }

    /// That of [`super::shipped`], which has no lines.
    pub(super) fn shipped() -> Self {
        Self::new(SHIPPED, "", Value::Null, Findings::default())
    }

    /// The file as messages name it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Something about the setting at `path`, with its line.
    #[must_use]
    pub fn finding(&self, path: &Path, message: impl Into<String>) -> Finding {
        let path = self.as_written(path);
        Finding {
            file: self.file.clone(),
            line: locate(&self.text, &path, &ALIASES),
            key: path.to_string(),
            message: message.into(),
        }
    }

    /// Whether a message about the setting at `path` is about a setting that was left out, since its value is wrong:
    /// then it is the default that something else is wrong with.
    #[must_use]
    pub fn concerns_left_out(&self, path: &Path, message: &str) -> bool {
        concerns(&self.left_out, &self.as_written(path), message)
    }

    /// Whether the setting at `path`, or something below it, was left out.
    #[must_use]
    pub fn leaves_out(&self, path: &Path) -> bool {
        self.left_out.iter().any(|it| it.below(path).is_some() || path.below(it).is_some())
    }

    fn as_written(&self, path: &Path) -> Path {
        as_written(&self.moved, path)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The path of a setting, `udp.addr` say, below the key that everything is below.
#[must_use]
pub fn key(keys: &str) -> Path {
    keys.split('.').fold(Path::default().key(ROOT), |path, key| path.key(key))
}
