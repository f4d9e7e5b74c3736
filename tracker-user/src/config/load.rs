//! From a file to a [`Config`], with every complaint tied to its line.

use std::{
    env::VarError,
    fmt, fs,
    path::{self, Path as FilePath, PathBuf},
};

use serde_json::json;
use serde_yaml::Value;

use super::{
    Config, ROOT, RedisConfig, StorageConfig, duplicate,
    example::shipped,
    findings::{AlsoWarned, Finding, Findings, Lines, UnknownKeys, in_order_of_lines},
    history,
    moved::{move_settings, refuse_before_the_reply},
    named_files::unreadable,
    path::{Path, locate},
    schema::schema,
    source::Source,
    tidy::tidy,
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

impl Source {
    /// The files that a start with this configuration, which this is the source of, reads and that cannot be opened:
    /// lists, certificates, keys. Each with the line that names it.
    #[must_use]
    pub fn unreadable_files(&self, config: &Config) -> Vec<Finding> {
        let found = unreadable(self.settings(), schema(), &Path::default().key(ROOT));
        let found = found.into_iter().filter(|(path, _)| reads(config, path));
        found.map(|(path, message)| self.finding(&path, message)).collect()
    }
}

/// Whether the file that is named at this path is of use with the other settings.
fn reads(config: &Config, path: &Path) -> bool {
    let key = path.to_string();
    let has_tls = |redis: &RedisConfig| redis.broker().is_ok_and(|broker| broker.tls);
    match &config.storage {
        _ if key.contains(".http.tls_") => config.http.https_addr.is_some(),
        StorageConfig::Redis(redis) if key.contains(".storage.") => has_tls(redis),
        _ => true,
    }
}

/// What a file amounts to, be it wrong or not.
#[derive(Debug)]
pub struct Reading {
    /// The configuration. Settings whose values are wrong have their defaults, and what cannot do without them is left
    /// out; `None` where the file as a whole cannot be understood.
    pub config: Option<Config>,
    /// All that is wrong.
    pub errors: Vec<Finding>,
    /// What else the operator should know.
    pub warnings: Vec<Finding>,
    /// What to do about the errors, on a line of its own; may be empty.
    pub advice: &'static str,
    /// The file.
    pub source: Source,
}

impl Reading {
    /// The configuration, if nothing is wrong.
    pub(super) fn complete(self) -> Result<Loaded, ConfigError> {
        let Self { config, errors: findings, warnings, advice, source } = self;
        match config {
            Some(config) if findings.is_empty() => Ok(Loaded { config, warnings, source }),
            _ => Err(ConfigError::Invalid { findings, warnings, advice }),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--config` names a variable that is not set.
    #[error(
        "--config {path}: the environment variable {} {}, or write the path out",
        .lookup.var_name, unusable(&.lookup.cause)
    )]
    Path {
        /// The path as given.
        path: String,
        /// The variable. The message above says all that it says.
        lookup: shellexpand::LookupError<VarError>,
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
    #[error(
        "the configuration cannot be used:\n{}{}{}", Lines(.findings), .advice, AlsoWarned(.warnings)
    )]
    Invalid {
        /// The errors.
        findings: Vec<Finding>,
        /// What else the operator should know about the file.
        warnings: Vec<Finding>,
        /// What to do about them, on a line of its own; may be empty.
        advice: &'static str,
    },
}

/// Why a variable has no value, and what to do about it.
fn unusable(cause: &VarError) -> &'static str {
    match cause {
        VarError::NotPresent => "is not set; set it",
        VarError::NotUnicode(_) => "is not UTF-8; correct it",
    }
}

/// What to do about a file that Chihaya had accepted.
const LENIENT: &str =
    "\nChihaya ignores unknown keys without a word. Correct them, or start with --lenient.";

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
        self.read()?.complete()
    }

    /// Reads it as far as that is possible, for a report of all that is wrong with it and with the host.
    ///
    /// # Errors
    /// When there is no text to read.
    pub fn read(&self) -> Result<Reading, ConfigError> {
        self.read_from(&PLACES)
    }

    fn read_from(&self, places: &[&str]) -> Result<Reading, ConfigError> {
        let Some(path) = self.find(places) else {
            tracing::info!(
                "there is no configuration at {}: the defaults are used, which `xdp-tracker config-example` prints",
                places.join(" or ")
            );
            return Ok(Reading {
                config: Some(shipped()),
                errors: Vec::new(),
                warnings: Vec::new(),
                advice: "",
                source: Source::shipped(),
            });
        };
        let file = shellexpand::env(path)
            .map_err(|lookup| ConfigError::Path { path: path.to_owned(), lookup })?;
        let text = files::read_to_string(FilePath::new(&*file), CONFIG_BYTES_MAX)
            .map_err(|source| ConfigError::Read { file: file.to_string(), source })?;
        Ok(read(&file, &text, self.unknown_keys))
    }

    /// Where it is now, as an absolute path; empty where the defaults are used.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        let expanded = self.find(&PLACES).and_then(|path| shellexpand::env(path).ok());
        expanded.and_then(|file| path::absolute(&*file).ok()).unwrap_or_default()
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
    read(file, text, unknown_keys).complete()
}

/// Reads what can be read of `text`.
fn read(file: &str, text: &str, unknown_keys: UnknownKeys) -> Reading {
    let mut document = match read_yaml(text) {
        Ok(document) => document,
        Err(error) => {
            return Reading {
                config: None,
                errors: vec![syntax_error(file, text, &error)],
                warnings: Vec::new(),
                advice: "",
                source: Source::new(file, text, Value::Null, Findings::default()),
            };
        }
    };
    let mut findings = Findings::default();
    let whole = json!({ "properties": { ROOT: schema() } });
    let root = Path::default().key(ROOT);
    let has_settings = document.get(ROOT).is_some_and(Value::is_mapping);
    if !has_settings {
        findings.error(&Path::default(), format!("needs the key `{ROOT}` with settings below it"));
        hint_at_older_files(&document, &mut findings);
    }
    if let Some(settings) = document.get_mut(ROOT).and_then(Value::as_mapping_mut) {
        move_settings(settings, &root, &mut findings);
    }
    tidy(&mut document, &whole, &Path::default(), unknown_keys, &mut findings);

    let settings = document.get(ROOT).cloned().unwrap_or_default();
    let config = has_settings.then(|| read_config(&settings, &root, &mut findings)).flatten();
    let mut locate_all = |list: fn(&mut Findings) -> &mut Vec<(Path, String)>| {
        in_order_of_lines(file, text, std::mem::take(list(&mut findings)))
    };
    let errors = locate_all(|findings| &mut findings.errors);
    let warnings = locate_all(|findings| &mut findings.warnings);
    let advice = if findings.has_unknown_keys { LENIENT } else { "" };
    Reading {
        config,
        errors,
        warnings,
        advice,
        source: Source::new(file, text, settings, findings),
    }
}

/// Reads tidy settings into types, and judges them as a whole.
fn read_config(settings: &Value, root: &Path, findings: &mut Findings) -> Option<Config> {
    match serde_path_to_error::deserialize::<_, Config>(settings.clone()) {
        Ok(mut config) => {
            findings.judge_rest(|findings| {
                validate(&config, root, findings);
                refuse_before_the_reply(&mut config, root, findings);
            });
            Some(config)
        }
        Err(error) => {
            let path = root.join(&Path::from(error.path()));
            findings.judge_rest(|findings| findings.error(&path, error.into_inner().to_string()));
            None
        }
    }
}

/// Says of each key of a file without the root, as older Chihayas had, what has become of it.
fn hint_at_older_files(document: &Value, findings: &mut Findings) {
    let keys = document.as_mapping().into_iter().flat_map(|document| document.keys());
    for key in keys.filter_map(Value::as_str) {
        if let Some(hint) = history::flat_hint(key) {
            findings.error(&Path::default().key(key), format!("of an older Chihaya: {hint}"));
        }
    }
}

fn read_yaml(text: &str) -> Result<Value, serde_yaml::Error> {
    let mut document: Value = serde_yaml::from_str(text)?;
    document.apply_merge()?;
    Ok(document)
}

fn syntax_error(file: &str, text: &str, error: &serde_yaml::Error) -> Finding {
    match duplicate::find(text) {
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
    }
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

#[cfg(test)]
mod tests;
