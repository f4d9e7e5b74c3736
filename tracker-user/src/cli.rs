//! The command line.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, ConfigFile, UnknownKeys},
    daemon,
    logging::LogOptions,
};

/// A BitTorrent tracker that answers UDP announces in the kernel
#[derive(Debug, Parser)]
#[command(name = "xdp-tracker", version)]
pub struct Cli {
    /// The configuration file; $VAR and ${VAR} stand for environment variables
    #[arg(long, global = true, default_value = "/etc/chihaya.yaml")]
    pub config: String,
    /// Warn of unknown keys in the configuration instead of refusing it
    #[arg(long, global = true)]
    pub lenient: bool,
    /// How to log.
    #[command(flatten)]
    pub log: LogOptions,
    /// What to do; without it, track.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of tracking.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Tell whether the configuration is fine and print what it amounts to
    Check,
    /// Have the running tracker read its configuration again
    Reload,
    /// Print the default configuration with its explanations
    ConfigExample,
}

impl Cli {
    /// Reads the arguments of the process. `--help` and `--version` end it with status 0,
    /// mistakes with status 1, as in Chihaya.
    #[must_use]
    pub fn from_args() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            // Nothing can be said where even this fails.
            let _ = error.print();
            std::process::exit(i32::from(error.use_stderr()))
        })
    }

    /// The configuration that it names.
    #[must_use]
    pub fn config_file(&self) -> ConfigFile {
        let unknown_keys = if self.lenient { UnknownKeys::Ignore } else { UnknownKeys::Refuse };
        ConfigFile { path: self.config.clone(), unknown_keys }
    }
}

/// Runs `check`: prints the effective configuration on stdout, with secrets hidden.
///
/// # Errors
/// When a tracker would not start with it, or when stdout is closed.
pub fn check(file: &ConfigFile) -> anyhow::Result<()> {
    let loaded = file.load()?;
    loaded.log_warnings();
    let text = config::to_yaml(&loaded.config)?;
    daemon::check(loaded.config)?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Runs `reload`: has the running tracker read its configuration again, and prints what it says.
///
/// # Errors
/// When there is none, or the configuration cannot be used.
pub fn reload(file: &ConfigFile) -> anyhow::Result<()> {
    let socket = file.load()?.config.control_socket;
    let report = daemon::request_reload(&socket)?;
    for warning in report.lines() {
        tracing::warn!("{warning}");
    }
    tracing::info!("reloaded");
    Ok(())
}

/// Runs `config-example`.
///
/// # Errors
/// When stdout is closed.
pub fn print_config_example() -> io::Result<()> {
    io::stdout().write_all(config::example().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_chihayas_and_may_follow_the_command() {
        let cli = Cli::try_parse_from([
            "xdp-tracker",
            "check",
            "--config",
            "a.yaml",
            "--debug",
            "--json",
            "--nocolors",
        ])
        .unwrap();
        assert_eq!(cli.config, "a.yaml");
        assert_eq!(cli.log, LogOptions { debug: true, json: true, nocolors: true });
        assert!(matches!(cli.command, Some(Command::Check)));
        let cli = Cli::try_parse_from(["xdp-tracker"]).unwrap();
        assert_eq!(cli.config, "/etc/chihaya.yaml");
        assert!(!cli.lenient && cli.command.is_none());
    }
}
