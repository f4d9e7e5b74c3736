//! Where a tracker has its configuration from: a file, or the program that embeds it.

use std::fmt;

use super::{
    Config, ConfigError, ConfigFile, Loaded, ROOT, Source, UnknownKeys, load::Findings,
    moved::refuse_before_the_reply, path::Path, schema::schema, tidy::tidy, validate::validate,
};

/// The name in messages of a configuration that a program has made.
const NAME: &str = "the configuration";

/// A configuration that was made in code, or the file to read it from.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    /// It is read when it is needed: at the start, and whenever the source is given to a reload.
    File(ConfigFile),
    /// It is checked as a file is; errors name the key and no line.
    Code(Box<Config>),
}

impl ConfigSource {
    /// Reads it, and checks it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        match self {
            Self::File(file) => file.load(),
            Self::Code(config) => check((**config).clone()),
        }
    }

    /// The same, of which unknown keys are no error.
    pub(crate) fn lenient(&self) -> Self {
        match self {
            Self::File(file) => {
                Self::File(ConfigFile { unknown_keys: UnknownKeys::Ignore, ..file.clone() })
            }
            Self::Code(config) => Self::Code(config.clone()),
        }
    }
}

impl Default for ConfigSource {
    fn default() -> Self {
        Config::default().into()
    }
}

impl From<Config> for ConfigSource {
    fn from(config: Config) -> Self {
        Self::Code(Box::new(config))
    }
}

impl From<ConfigFile> for ConfigSource {
    fn from(file: ConfigFile) -> Self {
        Self::File(file)
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Code(_) => f.write_str(NAME),
        }
    }
}

/// Checks what the schema says of each value, and then what belongs together.
fn check(mut config: Config) -> Result<Loaded, ConfigError> {
    let root = Path::default().key(ROOT);
    let mut findings = Findings::default();
    // Secrets are hidden there; what is said of them is seen in the configuration itself.
    let mut settings = serde_yaml::to_value(&config).unwrap_or_default();
    tidy(&mut settings, schema(), &root, UnknownKeys::Refuse, &mut findings);
    validate(&config, &root, &mut findings);
    refuse_before_the_reply(&mut config, &root, &mut findings);
    let source = Source::new(NAME, "", settings, Vec::new());
    let (errors, warnings) = findings.located(NAME, "");
    if errors.is_empty() {
        Ok(Loaded { config, warnings, source })
    } else {
        Err(ConfigError::Invalid { findings: errors, advice: "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GoDuration, Secret, shipped};

    #[test]
    fn a_configuration_made_in_code_is_checked_as_a_file_is() {
        let load = |config: Config| ConfigSource::from(config).load();
        load(shipped()).unwrap();
        let message = |config| load(config).unwrap_err().to_string();
        let nothing = message(Config::default());
        assert!(nothing.contains("the configuration: chihaya: nothing to listen on"), "{nothing}");
        let mut config = shipped();
        config.http.webtorrent.max_offers = 101;
        config.announce_interval = GoDuration::from_secs(0);
        let both = message(config);
        assert!(both.contains("webtorrent.max_offers: 101 is more than 100"), "{both}");
        assert!(both.contains("chihaya.announce_interval"), "{both}");
    }

    #[test]
    fn a_secret_that_is_given_in_code_counts() {
        let mut config = shipped();
        config.udp.private_key = Some(Secret::new("0123456789abcdef0123456789abcdef"));
        let loaded = ConfigSource::from(config.clone()).load().unwrap();
        assert_eq!(loaded.config.udp.private_key, config.udp.private_key);
        config.udp.private_key = Some(Secret::new("short"));
        let loaded = ConfigSource::from(config).load();
        assert!(loaded.is_err() || !loaded.unwrap().warnings.is_empty());
    }
}
