//! The manual page.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

/// What the flags do not say: heading, then a term and its meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "EXIT STATUS",
        &[
            ("0", "The tracker was told to stop, or the command succeeded."),
            (
                "1",
                "The tracker could not start, or the command failed; the reason is on standard error. \
                 Mistakes on the command line count.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[
            ("SIGINT, SIGTERM", "Answer what has arrived, and stop."),
            (
                "SIGUSR1, SIGHUP",
                "Read the configuration again. One that cannot be used changes nothing.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/xdp-tracker.yaml, /etc/chihaya.yaml",
                "The configuration, unless --config names another: the first of them that there is. Without any, \
                 the defaults are used, which `xdp-tracker config-example` prints.",
            ),
            (
                "/run/xdp-tracker.sock",
                "The socket by which `xdp-tracker reload` finds the tracker, unless the key \
                 control_socket names another.",
            ),
        ],
    ),
];

/// The page, in roff.
pub(super) fn page(mut command: Command) -> io::Result<Vec<u8>> {
    command.build();
    // Section 8 has the daemons, and is where the package puts the page.
    let man = Man::new(command.clone()).section("8");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    commands(&command).to_writer(&mut out)?;
    for (heading, entries) in SECTIONS {
        let mut section = Roff::new();
        section.control("SH", [heading]);
        for (term, meaning) in entries {
            section.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
        }
        section.to_writer(&mut out)?;
    }
    man.render_version_section(&mut out)?;
    Ok(out)
}

/// The commands with their own options; those of all commands are in the section before.
fn commands(command: &Command) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        section.control("TP", []).text([bold(command.get_name())]).text([roman(about + ".")]);
        let own = command.get_arguments().filter(|argument| {
            !argument.is_global_set() && !matches!(argument.get_id().as_str(), "help" | "version")
        });
        section.control("RS", []);
        for argument in own {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            section
                .control("TP", [])
                .text([bold(argument.to_string())])
                .text([roman(help + defaults(argument).as_str())]);
        }
        section.control("RE", []);
    }
    section
}

fn defaults(argument: &clap::Arg) -> String {
    let values: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if values.is_empty() { String::new() } else { format!(" [default: {}]", values.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_page_has_every_command_flag_and_exit_status() {
        let page = String::from_utf8(page(crate::cli::Cli::command()).unwrap()).unwrap();
        let page = page.replace('\\', "");
        for text in
            ["--config", "--lenient", "e2e", "--httpaddr", "schema", "EXIT STATUS", "SIGUSR1"]
        {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
    }
}
