//! Tables: printed for people, written as JSON for programs.

use std::{fs, process::Command};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::stats::Series;
use crate::process;

/// A table, row by row.
pub struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

/// A figure or a word, as it is printed and as it is written.
pub struct Cell {
    text: String,
    value: Value,
}

impl Cell {
    /// A figure with so many decimals.
    pub fn number(value: f64, decimals: usize) -> Self {
        if !value.is_finite() {
            return Self { text: "-".to_owned(), value: Value::Null };
        }
        Self { text: grouped(value, decimals), value: json!(value) }
    }

    /// A ratio, printed in percent or, from two on, as a factor.
    pub fn ratio(value: f64) -> Self {
        let text =
            if value < 2.0 { format!("{:.1} %", 100.0 * value) } else { format!("{value:.1} x") };
        if value.is_finite() { Self { text, value: json!(value) } } else { Self::number(value, 0) }
    }

    /// The least and the most of several rounds.
    pub fn spread(series: &Series) -> Self {
        Self::between(series, |figure| grouped(figure, 0))
    }

    /// Likewise of ratios.
    pub fn ratio_spread(series: &Series) -> Self {
        Self::between(series, |ratio| format!("{:.1} %", 100.0 * ratio))
    }

    fn between(series: &Series, text: impl Fn(f64) -> String) -> Self {
        let (min, max) = (series.min(), series.max());
        Self { text: format!("{} - {}", text(min), text(max)), value: json!([min, max]) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), value: json!(text) }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// Adds a line below the rows.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints the table.
    pub fn print(&self) {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].text.chars().count());
            cells.chain([self.columns[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells =
                cells.iter().zip(&widths).zip(&self.rows[0]).map(|((text, width), like)| {
                    if like.value.is_string() {
                        format!("{text:<width$}")
                    } else {
                        format!("{text:>width$}")
                    }
                });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        };
        if self.rows.is_empty() {
            return;
        }
        println!("\n{}", self.title);
        line(self.columns.clone());
        for row in &self.rows {
            line(row.iter().map(|cell| cell.text.as_str()).collect());
        }
        for note in &self.notes {
            println!("{note}");
        }
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row);
            cells
                .map(|(name, cell)| ((*name).to_owned(), cell.value.clone()))
                .collect::<Map<_, _>>()
        });
        json!({ "title": self.title, "rows": rows.collect::<Vec<_>>(), "notes": self.notes })
    }
}

/// Prints the tables of a benchmark and writes them to `target/bench/NAME.json`.
///
/// # Errors
/// The file cannot be written.
pub fn publish(name: &str, tables: &[Table]) -> Result<()> {
    let tables: Vec<_> = tables
        .iter()
        .map(|table| {
            table.print();
            table.to_json()
        })
        .collect();
    let folder = process::root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let report = json!({
        "command": format!("cargo xtask {}", arguments.join(" ")),
        "commit": process::output(Command::new("git").args(["describe", "--always", "--dirty"])),
        "kernel": process::output(Command::new("uname").arg("--kernel-release")),
        "processor": processor(),
        "processors": super::processor::count(),
        "tables": tables,
    });
    fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("\nxtask: wrote {}", path.display());
    Ok(())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// Digits in groups of three.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(-123.456, 1), "-123.5");
        assert_eq!(grouped(999.0, 0), "999");
    }
}
