//! What is wrong with a file, or worth knowing about it.

use std::fmt;

use super::path::Path;

/// What to do about keys that have no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeys {
    /// The file is not accepted.
    Refuse,
    /// Warn and go on, for files that Chihaya had accepted.
    Ignore,
}

/// Something about the file that its writer should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The key, as `chihaya.http.addr`; empty when the whole file is meant.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Complaints as they come up, before their lines are looked for.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<(Path, String)>,
    pub(super) warnings: Vec<(Path, String)>,
    pub(super) has_unknown_keys: bool,
    /// Where settings are now, and where the file has them.
    pub(super) moved: Vec<(Path, Path)>,
}

impl Findings {
    pub(super) fn error(&mut self, path: &Path, message: impl Into<String>) {
        let error = (self.as_written(path), message.into());
        self.errors.push(error);
    }

    /// An error that Chihaya does not know.
    pub(super) fn unknown_key(&mut self, path: &Path, message: String) {
        self.has_unknown_keys = true;
        self.error(path, message);
    }

    pub(super) fn warning(&mut self, path: &Path, message: impl Into<String>) {
        let warning = (self.as_written(path), message.into());
        // One setting of the file may have become several.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// From here on, what is said of the setting at `now` is said of `written`.
    pub(super) fn moved(&mut self, now: Path, written: Path) {
        self.moved.push((now, written));
    }

    fn as_written(&self, path: &Path) -> Path {
        let moved = self.moved.iter().find(|(now, _)| now == path);
        moved.map_or(path, |(_, written)| written).clone()
    }
}
