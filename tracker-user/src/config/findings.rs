//! What is found in a file, and what of it its writer is told.

use std::fmt;

use super::{
    path::{Path, locate},
    tidy::ALIASES,
};

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

/// Findings, each on an indented line.
pub(super) struct Lines<'a>(pub(super) &'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            write!(f, "{}  {finding}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The warnings that go along with errors, below a line that says so; nothing where there are none.
pub(super) struct AlsoWarned<'a>(pub(super) &'a [Finding]);

impl fmt::Display for AlsoWarned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "\nwarnings:\n{}", Lines(self.0)) }
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
    /// Where the file has settings that are left out, since their values are wrong.
    pub(super) left_out: Vec<Path>,
}

/// Complaints of one kind beyond this many are only counted: each costs a pass over the file.
pub(super) const FINDINGS_MAX: usize = 50;

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

    /// The setting at `path` is read as if the file did not have it: what is wrong with it has been said.
    pub(super) fn leave_out(&mut self, path: &Path) {
        self.left_out.push(self.as_written(path));
    }

    /// What else is found with a part of the file left out, by `look`. What concerns that part is not told.
    pub(super) fn judge_rest(&mut self, look: impl FnOnce(&mut Self)) {
        let counts = [self.errors.len(), self.warnings.len()];
        look(self);
        for (list, count) in [&mut self.errors, &mut self.warnings].into_iter().zip(counts) {
            let found = list.split_off(count);
            let is_told =
                |(path, message): &(Path, String)| !concerns(&self.left_out, path, message);
            list.extend(found.into_iter().filter(is_told));
        }
    }

    /// The errors and the warnings, each with its line in `text`.
    pub(super) fn located(self, file: &str, text: &str) -> (Vec<Finding>, Vec<Finding>) {
        let Self { errors, warnings, .. } = self;
        (in_order_of_lines(file, text, errors), in_order_of_lines(file, text, warnings))
    }

    fn as_written(&self, path: &Path) -> Path {
        as_written(&self.moved, path)
    }
}

/// Where the file has the setting that is now at `path`. What was moved last is moved back first.
pub(super) fn as_written(moved: &[(Path, Path)], path: &Path) -> Path {
    moved.iter().rev().fold(path.clone(), |path, (now, written)| match path.below(now) {
        Some(rest) => written.join(&rest),
        None => path,
    })
}

/// Whether a message about the setting at `path` says nothing of the file, but of the default that stands in for a
/// setting that was left out: it is about that setting, or names its key.
pub(super) fn concerns(left_out: &[Path], path: &Path, message: &str) -> bool {
    let is_part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = |key: &str| message.split(|c| !is_part_of_word(c)).any(|word| word == key);
    left_out.iter().any(|it| path.below(it).is_some() || it.last_key().is_some_and(names))
}

/// At most so many of these, with their lines, in the order of the file.
pub(super) fn in_order_of_lines(
    file: &str,
    text: &str,
    findings: Vec<(Path, String)>,
) -> Vec<Finding> {
    let excess = findings.len().saturating_sub(FINDINGS_MAX);
    let locate_one = |(path, message): (Path, String)| Finding {
        file: file.to_owned(),
        line: locate(text, &path, &ALIASES),
        key: path.to_string(),
        message,
    };
    let mut located: Vec<_> = findings.into_iter().take(FINDINGS_MAX).map(locate_one).collect();
    located.sort_by_key(|finding| finding.line);
    if excess > 0 {
        let message = format!("{excess} more of the kind");
        located.push(Finding { file: file.to_owned(), line: None, key: String::new(), message });
    }
    located
}
