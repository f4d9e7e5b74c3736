//! The command line.

mod man;

use std::io::{self, Write};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

#[cfg(feature = "xdp")]
use crate::dataplane;
use crate::{
    config::{self, ConfigFile, UnknownKeys},
    daemon::{self, Tracker},
    e2e,
    logging::LogOptions,
};

/// A BitTorrent tracker that answers UDP announces in the kernel
#[derive(Debug, Parser)]
#[command(name = "xdp-tracker", version)]
pub struct Cli {
    /// The configuration file; $VAR and ${VAR} stand for environment variables. Without this, the first that there
    /// is of /etc/xdp-tracker.yaml and /etc/chihaya.yaml, else the defaults that config-example prints
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
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
    /// Tell whether a tracker would start with the configuration, and print what it amounts to
    Check {
        /// Leave out what belongs to the host: ports, addresses, interfaces, folders, Redis, and files that are
        /// not here
        #[arg(long)]
        offline: bool,
    },
    /// Have the running tracker read its configuration again
    Reload,
    /// Ask the running tracker whether it serves; the exit status says it too, for health checks
    Status,
    #[cfg(feature = "xdp")]
    /// Tell what this host and its interfaces can do, and what to change
    Probe,
    #[cfg(feature = "xdp")]
    /// Remove all that a tracker which runs no more has left in the kernel
    Detach,
    /// Announce to a running tracker, this or any other, and tell whether it answers as it should
    E2e(e2e::Options),
    /// Print the default configuration with its explanations
    ConfigExample,
    /// Print the JSON schema of the configuration, for editors
    Schema,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
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

    /// Does what it says.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    pub fn run(&self) -> anyhow::Result<()> {
        let file = self.config_file();
        match &self.command {
            None => Tracker::builder().config(file).run(),
            Some(Command::Check { offline }) => check(&file, *offline),
            Some(Command::Reload) => reload(&file),
            Some(Command::Status) => status(&file),
            #[cfg(feature = "xdp")]
            Some(Command::Probe) => probe(&file),
            #[cfg(feature = "xdp")]
            Some(Command::Detach) => detach(&file),
            Some(Command::E2e(options)) => e2e::run(options),
            Some(Command::ConfigExample) => print(config::example()),
            Some(Command::Schema) => {
                print(serde_json::to_string_pretty(&config::file_schema())? + "\n")
            }
            Some(Command::Completions { shell }) => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Self::command(), "xdp-tracker", &mut script);
                print(script)
            }
            Some(Command::Man) => print(man::page(Self::command())?),
        }
    }

    fn config_file(&self) -> ConfigFile {
        let unknown_keys = if self.lenient { UnknownKeys::Ignore } else { UnknownKeys::Refuse };
        ConfigFile { path: self.config.clone(), unknown_keys }
    }
}

/// Prints the effective configuration, with secrets hidden, if a tracker could start with it.
fn check(file: &ConfigFile, is_offline: bool) -> anyhow::Result<()> {
    let place = if is_offline { daemon::Place::Offline } else { daemon::Place::Host };
    let checked = daemon::check(file, place)?;
    print(config::to_yaml(&checked.config)?)?;
    for note in &checked.notes {
        tracing::info!("{note}");
    }
    for warning in &checked.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!("{}: fine", checked.file);
    Ok(())
}

/// Waits for the running tracker, and prints what it says.
fn reload(file: &ConfigFile) -> anyhow::Result<()> {
    let socket = file.load()?.config.control_socket;
    for warning in daemon::request_reload(&socket)?.lines() {
        tracing::warn!("{warning}");
    }
    tracing::info!("reloaded");
    Ok(())
}

/// Asks the running tracker for an answer.
fn status(file: &ConfigFile) -> anyhow::Result<()> {
    daemon::request_status(&file.load()?.config.control_socket)?;
    print("the tracker serves\n")
}

#[cfg(feature = "xdp")]
/// Looks at the host with the file's interfaces, or with those that have a default route.
fn probe(file: &ConfigFile) -> anyhow::Result<()> {
    let findings = dataplane::survey(&file.load()?.config)?;
    print(findings.iter().map(|finding| format!("{finding}\n")).collect::<String>())
}

#[cfg(feature = "xdp")]
/// Detaches what no daemon keeps any more.
fn detach(file: &ConfigFile) -> anyhow::Result<()> {
    match dataplane::detach(&file.load()?.config)? {
        0 => tracing::info!("there was nothing to detach"),
        pins => tracing::info!("detached, and {pins} pins removed"),
    }
    Ok(())
}

/// Whoever reads no further, as `head` does, has seen enough.
fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["xdp-tracker"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_chihayas_and_may_follow_the_command() {
        let cli = parse(&["check", "--config", "a.yaml", "--debug", "--json", "--nocolors"]);
        assert_eq!(cli.config.as_deref(), Some("a.yaml"));
        assert_eq!(cli.log, LogOptions { debug: true, json: true, nocolors: true });
        assert!(matches!(cli.command, Some(Command::Check { offline: false })));
        let cli = parse(&[]);
        assert_eq!(cli.config, None);
        assert!(!cli.lenient && cli.command.is_none());
    }

    #[test]
    fn e2e_has_chihayas_flags_and_an_empty_address_skips_a_protocol() {
        let Some(Command::E2e(options)) = parse(&["e2e"]).command else { panic!() };
        assert_eq!(options.httpaddr, "http://127.0.0.1:6969/announce");
        assert_eq!(options.udpaddr, "udp://127.0.0.1:6969");
        assert_eq!(options.delay.to_string(), "1s");
        let arguments = ["e2e", "--httpaddr", "", "--udpaddr", "udp://[::1]:1", "--delay=0"];
        let Some(Command::E2e(options)) = parse(&arguments).command else { panic!() };
        assert_eq!((&*options.httpaddr, &*options.udpaddr), ("", "udp://[::1]:1"));
    }

    #[test]
    fn the_help_says_where_the_configuration_is_looked_for() {
        let help = Cli::command().render_long_help().to_string();
        let places = config::PLACES.map(|place| help.find(place).expect(place));
        assert!(places.is_sorted(), "{help}");
    }

    #[test]
    fn mistakes_end_with_status_1_and_help_with_0() {
        let status = |argument| {
            i32::from(Cli::try_parse_from(["xdp-tracker", argument]).unwrap_err().use_stderr())
        };
        assert_eq!((status("--no-such"), status("--help"), status("--version")), (1, 0, 0));
    }
}
