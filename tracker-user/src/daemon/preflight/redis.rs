//! Redis, where the storage is there.

use super::{Found, Occasion, Subject, found::at};
use crate::{
    config::{StorageConfig, key},
    storage::redis,
};

/// The files for TLS can be used.
pub(super) fn files_can_be_used(subject: &Subject, found: &mut Found) {
    if let Err(error) = redis::check_files(&subject.config.storage) {
        found.error_below(key("storage.config"), "/storage/config", &error.into());
    }
}

/// It lets us in, within the configured time.
pub(super) fn can_be_reached(subject: &Subject, found: &mut Found) {
    let storage = &subject.config.storage;
    let StorageConfig::Redis(config) = storage else { return };
    // What is wrong with them has been said. With a part left out, another server would be asked, or asked otherwise.
    if redis::check_files(storage).is_err() || subject.source.leaves_out(&key("storage")) {
        return;
    }
    if let Err(error) = redis::check(config) {
        let text = error.to_string();
        let message = text.strip_prefix("storage.config.redis_broker: ").unwrap_or(&text);
        found.error(at("storage.config.redis_broker"), message);
    } else if subject.occasion == Occasion::Check {
        found.note("not told: whether Redis lets this user read, write and subscribe".to_owned());
    }
}
