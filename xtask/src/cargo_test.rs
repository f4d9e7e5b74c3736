//! Runs `cargo test`, lets its lines through and adds up its figures.

use std::{
    fmt,
    io::{BufRead as _, BufReader},
    ops::AddAssign,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    passed: u32,
    /// Tests, or whole runs that failed before they ran a test.
    pub failed: u32,
    /// Tests that were not run for want of something.
    pub skipped: u32,
}

impl Totals {
    /// Runs a `cargo test`. Tests that it ignores do not count: another group runs them.
    ///
    /// # Errors
    /// cargo cannot be started.
    pub fn of(cargo_test: &mut Command) -> Result<Self> {
        let mut totals = Self::default();
        let succeeded = each_line(cargo_test, |line| {
            println!("{line}");
            totals += Self::of_line(line).unwrap_or_default();
        })?;
        if !succeeded && totals.failed == 0 {
            totals.failed = 1;
        }
        Ok(totals)
    }

    /// Counts what a `cargo test -- --list` lists.
    ///
    /// # Errors
    /// cargo cannot be started.
    pub fn of_skipped(cargo_test_list: &mut Command) -> Result<Self> {
        let mut totals = Self::default();
        let succeeded = each_line(cargo_test_list, |line| {
            if let Some(name) = line.strip_suffix(": test") {
                println!("test {name} ... skipped");
                totals.skipped += 1;
            }
        })?;
        if !succeeded {
            totals.failed = 1;
        }
        Ok(totals)
    }

    /// Counts a check that is no `cargo test`.
    pub fn count(&mut self, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("xtask: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// The figures of a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; …`.
    fn of_line(line: &str) -> Option<Self> {
        let figures = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let figure = |name| {
            let text = figures.split("; ").find_map(|figure| figure.strip_suffix(name))?;
            text.trim().parse().ok()
        };
        Some(Self { passed: figure("passed")?, failed: figure("failed")?, skipped: 0 })
    }
}

fn each_line(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("its output is piped")?;
    for line in BufReader::new(output).lines() {
        see(&line?);
    }
    Ok(child.wait()?.success())
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_result_line_are_read() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; \
                    finished in 0.01s";
        assert_eq!(Totals::of_line(line), Some(Totals { passed: 5, failed: 2, skipped: 0 }));
    }

    #[test]
    fn other_lines_have_no_figures() {
        assert_eq!(Totals::of_line("test result_is_kept ... ok"), None);
    }
}
