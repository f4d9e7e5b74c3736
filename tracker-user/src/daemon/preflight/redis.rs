//! Redis, where the storage is there.

use super::Subject;
use crate::daemon::found::{Found, Occasion, at};
use crate::{
    config::{StorageConfig, key},
    replication::{self, Writes},
};

/// The files for TLS can be used.
pub(super) fn files_can_be_used(subject: &Subject, found: &mut Found) {
    if let Err(error) = replication::check_files(&subject.config.storage) {
        found.error_below(key("storage.config"), "/storage/config", &error.into());
    }
}

/// It lets us in, read and subscribe, within the configured time.
pub(super) fn can_be_reached(subject: &Subject, found: &mut Found) {
    let storage = &subject.config.storage;
    let StorageConfig::Redis(config) = storage else { return };
    // What is wrong with them has been said. With a part left out, another server would be asked, or asked otherwise.
    if replication::check_files(storage).is_err() || subject.source.leaves_out(&key("storage")) {
        return;
    }
    let key = at("storage.config.redis_broker");
    match replication::check(config) {
        Ok(Writes::Allowed) => {}
        Ok(Writes::Refused(refusal)) => found.warnings.push((
            key,
            format!("{refusal}: Redis does not get all that is announced here; see docs/operations.md"),
        )),
        Ok(Writes::Untold) if subject.occasion == Occasion::Check => found.note(format!(
            "not told: {key}: whether Redis lets its user write: it does not let the user ask (ACL DRYRUN)"
        )),
        Ok(Writes::Untold) => {}
        Err(error) => {
            let text = error.to_string();
            let message = text.strip_prefix("storage.config.redis_broker: ").unwrap_or(&text);
            found.error(key, message);
        }
    }
}
