//! The file that a configuration was read from, kept to name the line of what is found wrong with it later.

use std::fmt;

use serde_yaml::Value;

use super::{
    ROOT,
    finding::Finding,
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
}

impl Source {
    pub(super) fn new(file: &str, text: &str, settings: Value, moved: Vec<(Path, Path)>) -> Self {
        Self { file: file.to_owned(), text: text.to_owned(), settings, moved }
    }

    /// What is below the root.
    pub(super) fn settings(&self) -> &Value {
        &self.settings
    }

    /// That of [`super::shipped`], which has no lines.
    pub(super) fn shipped() -> Self {
        Self::new(SHIPPED, "", Value::Null, Vec::new())
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

    fn as_written(&self, path: &Path) -> Path {
        let moved = |(now, written): &(Path, Path)| Some(written.join(&path.below(now)?));
        self.moved.iter().find_map(moved).unwrap_or_else(|| path.clone())
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
