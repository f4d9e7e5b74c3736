//! Command lines of the daemon; those of `cargo xtask` are xtask's to check.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};
use tracker_user::cli::Cli;

use super::{documents, quoted, read};

/// Whether the daemon understands a command line. Words in capitals stand for what the operator writes.
fn is_understood(line: &str) -> bool {
    let words = line.split_whitespace().map(|word| match word {
        "SHELL" => "bash",
        "HEX" => "616e206578616d706c6520696e666f6861736821",
        word => word,
    });
    Cli::try_parse_from(words).is_ok()
}

#[test]
fn every_command_that_is_shown_is_understood_and_every_command_is_shown() {
    for (path, text) in documents() {
        for line in quoted(&text) {
            let is_command = line == "xdp-tracker" || line.starts_with("xdp-tracker ");
            assert!(!is_command || is_understood(line), "{path}: {line}");
        }
    }
    let operations = read("docs/operations.md");
    let (_, section) = operations.split_once("\n## Command line\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut shown = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        for command in quoted(cell).filter(|command| *command != "xdp-tracker") {
            assert!(is_understood(&format!("xdp-tracker {command}")), "{command}");
            shown.insert(command.split(' ').next().unwrap());
        }
    }
    let cli = Cli::command();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(shown.contains(command.get_name()), "{} is not shown", command.get_name());
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(section.contains(&format!("--{flag}")), "--{flag} is not shown");
        }
    }
    for flag in cli.get_arguments().filter_map(clap::Arg::get_long) {
        let is_own = ["help", "version"].contains(&flag);
        assert!(is_own || section.contains(&format!("--{flag}")), "--{flag} is not shown");
    }
}
