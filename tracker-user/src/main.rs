//! The xdp-tracker binary.

use std::process::ExitCode;

use tracker_user::{
    cli::{self, Cli, Command},
    daemon, logging,
};

fn main() -> ExitCode {
    let cli = Cli::from_args();
    match logging::init(cli.log).and_then(|()| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    match cli.command {
        Some(Command::Check) => cli.check(),
        Some(Command::ConfigExample) => Ok(cli::print_config_example()?),
        None => daemon::run(&cli.load_config()?),
    }
}
