//! What a start would refuse, found before anything is started: a start, `xdp-tracker check` and each reload go
//! through one list of steps, so that they cannot disagree, and report all that they find at once.
//!
//! A step changes nothing. What it finds is an error, which a start refuses; a warning, with which a start goes on;
//! or a note: what cannot be told from here, and what looks wrong and is not.

mod addresses;
mod features;
mod folders;
mod kernel;
mod redis;
mod running;

use std::{cell::OnceCell, path::PathBuf};

use super::{
    found::{Found, Occasion},
    hooks::HookMaker,
    prepared::Prepared,
};
use crate::config::{Config, ConfigError, ConfigSource, Finding, Reading, Source, key};

use running::Running;

/// What the steps look at.
struct Subject<'c> {
    config: &'c Config,
    /// The file, of which what is wrong is left out of `config`.
    source: &'c Source,
    /// Where the file is, as [`ConfigFile::place`] tells.
    place: PathBuf,
    occasion: Occasion,
    /// The tracker at the control socket, once that has been asked.
    running: OnceCell<Running>,
}

impl Subject<'_> {
    /// The tracker at the control socket.
    fn running(&self) -> &Running {
        self.running.get_or_init(|| {
            if self.source.leaves_out(&key("control_socket")) {
                return Running::Untold(
                    "its value is wrong, so no tracker can be asked".to_owned(),
                );
            }
            Running::find(&self.config.control_socket, &self.place)
        })
    }
}

/// When a step is gone through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Always: it looks at nothing but the configuration.
    File,
    /// At a reload too: it is about what a reload can change.
    Host,
    /// At a start, and in `check`: it is about what is opened at the start and then kept.
    Start,
    /// In `check` alone: the start itself warns in the same words, and goes on.
    Check,
}

impl Of {
    fn is_for(self, occasion: Occasion) -> bool {
        match occasion {
            Occasion::Start => self != Self::Check,
            Occasion::Reload => matches!(self, Self::File | Self::Host),
            Occasion::Check => true,
            Occasion::Offline => self == Self::File,
        }
    }
}

type Step = (Of, fn(&Subject, &mut Found));

/// All steps, but for what [`Prepared`] makes: hooks with their lists, routes, the certificate.
const STEPS: [Step; 10] = [
    (Of::File, features::are_built_in),
    (Of::File, addresses::are_wanted_once),
    (Of::Start, addresses::can_be_listened_on),
    (Of::Host, kernel::interfaces_exist),
    (Of::Start, kernel::can_be_insisted_on),
    (Of::Check, kernel::can_be_used),
    (Of::Host, folders::snapshot_can_be_saved),
    (Of::Check, folders::control_socket_can_be_made),
    (Of::Host, redis::files_can_be_used),
    (Of::Start, redis::can_be_reached),
];

/// A configuration with which a tracker can start, or go on.
pub(super) struct Examined {
    pub(super) prepared: Prepared,
    /// What the operator should see to.
    pub(super) warnings: Vec<String>,
    /// What cannot be told from here, and what looks wrong and is not.
    pub(super) notes: Vec<String>,
    /// The file, as messages name it.
    pub(super) file: String,
}

/// Reads the configuration, goes through the steps, and makes what can be made before a start.
///
/// # Errors
/// All that is wrong, each on a line of its own with the file, its line and the key.
pub(super) fn examine(
    file: &ConfigSource,
    hooks: &HookMaker,
    occasion: Occasion,
) -> anyhow::Result<Examined> {
    let Reading { config, mut errors, mut warnings, advice, source } = file.read()?;
    let Some(config) = config else {
        return Err(ConfigError::Invalid { findings: errors, warnings, advice }.into());
    };
    let unreadable = match occasion {
        Occasion::Offline => Vec::new(),
        _ => source.unreadable_files(&config),
    };
    let mut found = Found::new(&config);
    let subject = Subject {
        config: &config,
        source: &source,
        place: file.place(),
        occasion,
        running: OnceCell::new(),
    };
    for (_, step) in STEPS.iter().filter(|(of, _)| of.is_for(occasion)) {
        step(&subject, &mut found);
    }
    let prepared = Prepared::new(config, hooks, occasion, &mut found);
    let Found { errors: found, warnings: more, notes, .. } = found;
    let is_told = |(path, message): &(_, String)| !source.concerns_left_out(path, message);
    let locate = |(path, message)| source.finding(&path, message);
    for finding in found.into_iter().filter(is_told).map(locate) {
        // A file that cannot be read is told once: the hook that needs it says the same.
        if unreadable.iter().all(|file| file.key != finding.key) {
            errors.push(finding);
        }
    }
    errors.extend(unreadable);
    warnings.extend(more.into_iter().filter(is_told).map(locate));
    match prepared {
        Some(prepared) if errors.is_empty() => {
            let warnings = warnings.iter().map(Finding::to_string).collect();
            Ok(Examined { prepared, warnings, notes, file: source.file().to_owned() })
        }
        _ => {
            errors.sort_by_key(|finding| finding.line);
            warnings.sort_by_key(|finding| finding.line);
            Err(ConfigError::Invalid { findings: errors, warnings, advice }.into())
        }
    }
}
