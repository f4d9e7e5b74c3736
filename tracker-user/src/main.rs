//! The xdp-tracker binary.

use std::process::ExitCode;

use tracker_user::{cli::Cli, logging};

fn main() -> ExitCode {
    let cli = Cli::from_args();
    match logging::init(cli.log).and_then(|()| cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
