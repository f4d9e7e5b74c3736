//! Logs: text or JSON, on stderr.

mod json;

use std::io::{self, IsTerminal};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use json::JsonLines;

/// How to log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct LogOptions {
    /// Log more: what the tracker does, not only what an operator has to know
    #[arg(long, global = true)]
    pub debug: bool,
    /// Log JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Log without colours; implied when stderr is no terminal
    #[arg(long, global = true)]
    pub nocolors: bool,
}

/// Starts logging for the whole process, including what libraries send through the `log` crate
/// (aya-log, and with it the kernel program, does).
///
/// # Errors
/// When the process has a logger already.
pub fn init(options: LogOptions) -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(filter(options.debug));
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if options.json {
        let format = JsonLines { with_target: options.debug };
        registry.with(layer.event_format(format)).try_init()?;
    } else {
        let colours = !options.nocolors && io::stderr().is_terminal();
        registry.with(layer.with_ansi(colours).with_target(options.debug)).try_init()?;
    }
    Ok(())
}

/// `--debug` opens up our own crates, and no library's.
fn filter(debug: bool) -> Targets {
    let own = if debug { Level::DEBUG } else { Level::INFO };
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("tracker_user", own)
        .with_target("xdp_tracker", own)
        // Whoever makes a TLS connection says why it failed.
        .with_target("rustls_platform_verifier", LevelFilter::OFF)
        // The program itself logs no more than `xdp.log_level` says.
        .with_target("tracker_ebpf", Level::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_our_own_details_only() {
        for (debug, ours) in [(false, false), (true, true)] {
            let filter = filter(debug);
            assert_eq!(filter.would_enable("tracker_user::config", &Level::DEBUG), ours);
            assert!(!filter.would_enable("hyper::proto", &Level::DEBUG));
            assert!(filter.would_enable("tracker_user", &Level::INFO));
        }
    }
}
