//! What a start would refuse, found before anything is started: a start, `xdp-tracker check` and each reload go
//! through one list of steps, so that they cannot disagree, and report all that they find at once.
//!
//! A step changes nothing. What it finds is an error, which a start refuses; a warning, with which a start goes on;
//! or a note: what cannot be told from here, and what looks wrong and is not.

mod addresses;
mod folders;
mod kernel;
mod redis;
mod running;

use std::cell::OnceCell;

use super::{
    found::{Found, Occasion},
    hooks::HookMaker,
    prepared::Prepared,
};
use crate::config::{Config, ConfigError, ConfigFile, Finding, Loaded, UnknownKeys};

use running::Running;

/// What the steps look at.
struct Subject<'c> {
    config: &'c Config,
    occasion: Occasion,
    /// The tracker at the control socket, once that has been asked.
    running: OnceCell<Running>,
}

impl Subject<'_> {
    /// The tracker at the control socket.
    fn running(&self) -> &Running {
        self.running.get_or_init(|| Running::find(&self.config.control_socket))
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
const STEPS: [Step; 9] = [
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
    file: &ConfigFile,
    hooks: &HookMaker,
    occasion: Occasion,
) -> anyhow::Result<Examined> {
    let (loaded, mut errors, advice) = match file.load() {
        Ok(loaded) => (loaded, Vec::new(), ""),
        Err(error) => read_leniently(file, error)?,
    };
    let unreadable =
        if occasion == Occasion::Offline { Vec::new() } else { loaded.unreadable_files() };
    let Loaded { config, warnings, source } = loaded;
    let mut found = Found::new(&config);
    let subject = Subject { config: &config, occasion, running: OnceCell::new() };
    for (_, step) in STEPS.iter().filter(|(of, _)| of.is_for(occasion)) {
        step(&subject, &mut found);
    }
    let prepared = Prepared::new(config, hooks, occasion, &mut found);
    let Found { errors: found, warnings: more, notes, .. } = found;
    let locate = |(path, message)| source.finding(&path, message);
    for finding in found.into_iter().map(locate) {
        // A file that cannot be read is told once: the hook that needs it says the same.
        if unreadable.iter().all(|file| file.key != finding.key) {
            errors.push(finding);
        }
    }
    errors.extend(unreadable);
    match prepared {
        Some(prepared) if errors.is_empty() => {
            let mut warnings: Vec<_> = warnings.iter().map(Finding::to_string).collect();
            warnings.extend(more.into_iter().map(|warning| locate(warning).to_string()));
            warnings.extend(prepared.warnings());
            Ok(Examined { prepared, warnings, notes, file: source.file().to_owned() })
        }
        _ => {
            errors.sort_by_key(|finding| finding.line);
            Err(ConfigError::Invalid { findings: errors, advice }.into())
        }
    }
}

/// A file of which only keys are unknown is looked at as a whole, so that one pass finds the rest too.
fn read_leniently(
    file: &ConfigFile,
    error: ConfigError,
) -> Result<(Loaded, Vec<Finding>, &'static str), ConfigError> {
    let lenient = ConfigFile { unknown_keys: UnknownKeys::Ignore, ..file.clone() };
    match (error, lenient.load()) {
        (ConfigError::Invalid { findings, advice }, Ok(loaded)) => Ok((loaded, findings, advice)),
        (error, _) => Err(error),
    }
}
