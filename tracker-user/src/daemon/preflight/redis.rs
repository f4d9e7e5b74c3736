//! Redis, where the storage is there.

use super::Subject;
use crate::daemon::found::{Found, Occasion, at};
use crate::{
    config::{StorageConfig, key},
    replication,
};

/// The files for TLS can be used.
pub(super) fn files_can_be_used(subject: &Subject, found: &mut Found) {
    if let Err(error) = replication::check_files(&subject.config.storage) {
        found.error_below(key("storage.config"), "/storage/config", &error.into());
    }
}

/// It lets us in, within the configured time.
pub(super) fn can_be_reached(subject: &Subject, found: &mut Found) {
    let storage = &subject.config.storage;
    let StorageConfig::Redis(config) = storage else { return };
    // What is wrong with them has been said.
    if replication::check_files(storage).is_err() {
        return;
    }
    if let Err(error) = replication::check(config) {
        let text = error.to_string();
        let message = text.strip_prefix("storage.config.redis_broker: ").unwrap_or(&text);
        found.error(at("storage.config.redis_broker"), message);
    } else if subject.occasion == Occasion::Check {
        found.note("not told: whether Redis lets this user read, write and subscribe".to_owned());
    }
}
