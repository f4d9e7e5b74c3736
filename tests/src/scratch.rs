//! Where a test keeps its files.

use std::{fs, path::Path};

use anyhow::Result;
use tempfile::TempDir;

/// A temporary folder that prints every `*.log` in it when it goes: libtest shows that only for a
/// test that has failed.
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// The system's folder for temporary files cannot be written.
    pub fn new() -> Result<Self> {
        Ok(Self(TempDir::new()?))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        print_logs(self.path());
    }
}

fn print_logs(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            print_logs(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let text = fs::read(&path).unwrap_or_default();
            eprintln!("--- {}\n{}", path.display(), String::from_utf8_lossy(&text));
        }
    }
}
