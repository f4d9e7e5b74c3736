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
    let file = cli.config_file();
    match cli.command {
        Some(Command::Check) => cli::check(&file),
        Some(Command::ConfigExample) => Ok(cli::print_config_example()?),
        Some(Command::Reload) => cli::reload(&file),
        None => daemon::run(&file),
    }
}
