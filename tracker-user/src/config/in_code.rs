//! Where a tracker has its configuration from: a file, or the program that embeds it.

use std::{fmt, path::PathBuf};

use super::{
    Config, ConfigError, ConfigFile, Loaded, ROOT, Reading, Source, UnknownKeys,
    findings::Findings, moved::refuse_before_the_reply, path::Path, schema::schema, tidy::tidy,
    validate::validate,
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
        self.read()?.complete()
    }

    /// Reads it as far as that is possible: see [`ConfigFile::read`].
    ///
    /// # Errors
    /// When there is no text to read.
    pub fn read(&self) -> Result<Reading, ConfigError> {
        match self {
            Self::File(file) => file.read(),
            Self::Code(config) => Ok(check((**config).clone())),
        }
    }

    /// Where its file is: see [`ConfigFile::place`]. Empty for a configuration that was made in code.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        match self {
            Self::File(file) => file.place(),
            Self::Code(_) => PathBuf::new(),
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
fn check(mut config: Config) -> Reading {
    let root = Path::default().key(ROOT);
    let mut findings = Findings::default();
    // Secrets are hidden there; what is said of them is seen in the configuration itself.
    let mut settings = serde_yaml::to_value(&config).unwrap_or_default();
    tidy(&mut settings, schema(), &root, UnknownKeys::Refuse, &mut findings);
    validate(&config, &root, &mut findings);
    refuse_before_the_reply(&mut config, &root, &mut findings);
    let source = Source::new(NAME, "", settings, Findings::default());
    let (errors, warnings) = findings.located(NAME, "");
    Reading { config: Some(config), errors, warnings, advice: "", source }
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
