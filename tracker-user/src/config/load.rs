//! From a file to a [`Config`], with every complaint tied to its line.

use std::{fmt, fs, path::Path as FilePath};

use serde_json::json;
use serde_yaml::Value;

use super::{
    Config, ROOT, RedisConfig, StorageConfig, duplicate,
    example::shipped,
    finding::{Finding, Findings, UnknownKeys},
    history,
    moved::{move_settings, refuse_before_the_reply},
    named_files::unreadable,
    path::{Path, locate},
    schema::schema,
    source::Source,
    tidy::{ALIASES, tidy},
    validate::validate,
};
use crate::files::{self, CONFIG_BYTES_MAX};

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should know about the file.
    pub warnings: Vec<Finding>,
    /// The file.
    pub source: Source,
}

impl Loaded {
    /// The files that a start reads and that cannot be opened: lists, certificates, keys. Each with the line that
    /// names it.
    #[must_use]
    pub fn unreadable_files(&self) -> Vec<Finding> {
        let found = unreadable(self.source.settings(), schema(), &Path::default().key(ROOT));
        let found = found.into_iter().filter(|(path, _)| self.reads(path));
        found.map(|(path, message)| self.source.finding(&path, message)).collect()
    }

    /// Whether the file that is named at this path is of use with the other settings.
    fn reads(&self, path: &Path) -> bool {
        let key = path.to_string();
        let has_tls = |redis: &RedisConfig| redis.broker().is_ok_and(|broker| broker.tls);
        match &self.config.storage {
            _ if key.contains(".http.tls_") => self.config.http.https_addr.is_some(),
            StorageConfig::Redis(redis) if key.contains(".storage.") => has_tls(redis),
            _ => true,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--config` names a variable that is not set.
    #[error(
        "--config {path}: the environment variable {} cannot be used; set it, or write the path out",
        .source.var_name
    )]
    Path {
        /// The path as given.
        path: String,
        /// The variable.
        source: shellexpand::LookupError<std::env::VarError>,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {file}")]
    Read {
        /// The path after expansion.
        file: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is wrong: one line for each error.
    #[error("the configuration cannot be used:\n{}{}", Lines(.findings), .advice)]
    Invalid {
        /// The errors.
        findings: Vec<Finding>,
        /// What to do about them, on a line of its own; may be empty.
        advice: &'static str,
    },
}

/// What to do about a file that Chihaya had accepted.
const LENIENT: &str =
    "\nChihaya ignores unknown keys without a word. Correct them, or start with --lenient.";

struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            write!(f, "{}  {finding}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Where the configuration is looked for when none is named, in this order.
pub const PLACES: [&str; 2] = ["/etc/xdp-tracker.yaml", "/etc/chihaya.yaml"];

/// Where the configuration is, and how strictly it is read: at the start, at each reload and by every command.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Its path, in which `$VAR` and `${VAR}` are expanded from the environment. `None` for the first of [`PLACES`]
    /// where there is a file, and the defaults of [`shipped`] where there is none.
    pub path: Option<String>,
    /// What to do about keys that have no meaning.
    pub unknown_keys: UnknownKeys,
}

impl ConfigFile {
    /// Reads it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_from(&PLACES)
    }

    fn load_from(&self, places: &[&str]) -> Result<Loaded, ConfigError> {
        let Some(path) = self.find(places) else {
            tracing::info!(
                "there is no configuration at {}: the defaults are used, which `xdp-tracker config-example` prints",
                places.join(" or ")
            );
            return Ok(Loaded {
                config: shipped(),
                warnings: Vec::new(),
                source: Source::shipped(),
            });
        };
        let file = shellexpand::env(path)
            .map_err(|source| ConfigError::Path { path: path.to_owned(), source })?;
        let text = files::read_to_string(FilePath::new(&*file), CONFIG_BYTES_MAX)
            .map_err(|source| ConfigError::Read { file: file.to_string(), source })?;
        parse(&file, &text, self.unknown_keys)
    }

    /// The path as given, or the first place where something is. What cannot be read is no reason to go on to the
    /// next place: it is the configuration, and an error.
    fn find<'p>(&'p self, places: &[&'p str]) -> Option<&'p str> {
        let is_absent = |place: &str| {
            fs::symlink_metadata(place)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let first = || places.iter().copied().find(|place| !is_absent(place));
        self.path.as_deref().or_else(first)
    }
}

impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.find(&PLACES).unwrap_or("the default configuration"))
    }
}

/// Reads the configuration from `text`; `file` is its name in messages.
///
/// # Errors
/// [`ConfigError::Invalid`] with all that is wrong, as far as it can be told at once.
pub fn parse(file: &str, text: &str, unknown_keys: UnknownKeys) -> Result<Loaded, ConfigError> {
    let mut document = read_yaml(text).map_err(|error| syntax_error(file, text, &error))?;
    let mut findings = Findings::default();
    let whole = json!({ "properties": { ROOT: schema() } });
    let root = Path::default().key(ROOT);
    if !document.get(ROOT).is_some_and(Value::is_mapping) {
        findings.error(&Path::default(), format!("needs the key `{ROOT}` with settings below it"));
        hint_at_chihaya_1(&document, &mut findings);
    }
    if let Some(settings) = document.get_mut(ROOT).and_then(Value::as_mapping_mut) {
        move_settings(settings, &root, &mut findings);
    }
    tidy(&mut document, &whole, &Path::default(), unknown_keys, &mut findings);

    let settings = document.get(ROOT).cloned().unwrap_or_default();
    let mut config = None;
    if findings.errors.is_empty() {
        match serde_path_to_error::deserialize::<_, Config>(settings.clone()) {
            Ok(mut read) => {
                validate(&read, &root, &mut findings);
                refuse_before_the_reply(&mut read, &root, &mut findings);
                config = Some(read);
            }
            Err(error) => {
                let path = root.join(&Path::from(error.path()));
                findings.error(&path, error.into_inner().to_string());
            }
        }
    }
    let locate_all = |findings: Vec<(Path, String)>| in_order_of_lines(file, text, findings);
    match config {
        Some(config) if findings.errors.is_empty() => {
            let source = Source::new(file, text, settings, findings.moved);
            Ok(Loaded { config, warnings: locate_all(findings.warnings), source })
        }
        _ => {
            let advice = if findings.has_unknown_keys { LENIENT } else { "" };
            Err(ConfigError::Invalid { findings: locate_all(findings.errors), advice })
        }
    }
}

/// Says of each key of a flat file, as Chihaya 1 had, what has become of it.
fn hint_at_chihaya_1(document: &Value, findings: &mut Findings) {
    let keys = document.as_mapping().into_iter().flat_map(|document| document.keys());
    for key in keys.filter_map(Value::as_str) {
        if let Some(hint) = history::flat_hint(key) {
            findings.error(&Path::default().key(key), format!("of Chihaya 1: {hint}"));
        }
    }
}

fn read_yaml(text: &str) -> Result<Value, serde_yaml::Error> {
    let mut document: Value = serde_yaml::from_str(text)?;
    document.apply_merge()?;
    Ok(document)
}

fn syntax_error(file: &str, text: &str, error: &serde_yaml::Error) -> ConfigError {
    let finding = match duplicate::find(text) {
        Some((path, line)) => Finding {
            file: file.to_owned(),
            line: Some(line),
            key: path.to_string(),
            message: match locate(text, &path, &[]) {
                Some(first) => format!("is given twice, before in line {first}; keep one of them"),
                None => "is given twice; keep one of them".to_owned(),
            },
        },
        None => Finding {
            file: file.to_owned(),
            line: error.location().map(|location| location.line()),
            key: String::new(),
            message: without_types(&error.to_string()),
        },
    };
    ConfigError::Invalid { findings: vec![finding], advice: "" }
}

/// The message of the YAML library, which names its own types where a number is larger than 64 bits hold.
fn without_types(message: &str) -> String {
    let large = || {
        let (key, rest) = message.split_once("invalid type: integer `")?;
        let (number, rest) = rest.split_once('`')?;
        let is_large = rest.starts_with(" as u128") || rest.starts_with(" as i128");
        is_large.then(|| format!("{key}{number} is more than any key takes"))
    };
    large().unwrap_or_else(|| message.to_owned())
}

/// Complaints of one kind beyond this many are only counted: each costs a pass over the file.
const FINDINGS_MAX: usize = 50;

fn in_order_of_lines(file: &str, text: &str, findings: Vec<(Path, String)>) -> Vec<Finding> {
    let excess = findings.len().saturating_sub(FINDINGS_MAX);
    let locate_one = |(path, message): (Path, String)| Finding {
        file: file.to_owned(),
        line: locate(text, &path, &ALIASES),
        key: path.to_string(),
        message,
    };
    let mut located: Vec<_> = findings.into_iter().take(FINDINGS_MAX).map(locate_one).collect();
    located.sort_by_key(|finding| finding.line);
    if excess > 0 {
        let message = format!("{excess} more of the kind");
        located.push(Finding { file: file.to_owned(), line: None, key: String::new(), message });
    }
    located
}

#[cfg(test)]
mod tests;
