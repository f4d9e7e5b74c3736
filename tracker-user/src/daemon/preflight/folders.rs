//! Folders that the tracker writes to.

use std::{io::ErrorKind, path::Path};

use super::{Subject, running::Running};
use crate::daemon::found::{Found, Occasion, at};
use crate::{
    config::StorageConfig,
    daemon::control,
    files::{self, FolderError},
    storage::memory::snapshot,
};

/// The snapshot has a folder to be saved in, nothing else is in its place, and no other tracker saves to it.
pub(super) fn snapshot_can_be_saved(subject: &Subject, found: &mut Found) {
    let StorageConfig::Memory(memory) = &subject.config.storage else { return };
    let Some(path) = &memory.snapshot.path else { return };
    let key = at("storage.config.snapshot.path");
    let is_check = subject.occasion == Occasion::Check;
    if let Err(error) = files::check_folder_of(path) {
        let message = format!("{}: {error}", path.display());
        return match error {
            FolderError::Closed(_) => found.forbidden(is_check, key, message),
            _ => found.error(key, message),
        };
    }
    match files::check_if_there(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return found.forbidden(is_check, key, format!("{}: {error}", path.display()));
        }
        Err(error) => return found.error(key, format!("{}: {error}", path.display())),
        Ok(()) => {}
    }
    let Some(holder) = snapshot::holder(path) else { return };
    let shown = path.display();
    match subject.occasion {
        // A tracker holds its own.
        Occasion::Reload if holder.is_this_process => {}
        Occasion::Check => match (holder.process, subject.running()) {
            (Some(process), Running::Tracker(status)) if status.process == process => {
                found.note(format!("{key}: {shown}: {holder}: it is the running tracker, as it may"));
            }
            (None, Running::Tracker(status)) => found.note(format!(
                "not told: {key}: {shown}: {holder}; its lock does not say which, it may be the running \
                 tracker (process {})",
                status.process
            )),
            (_, Running::Untold(why)) => {
                found.note(format!("not told: {key}: {shown}: {holder}; {why}"));
            }
            _ => found.error(key, snapshot::held(path, &holder)),
        },
        _ => found.error(key, snapshot::held(path, &holder)),
    }
}

/// A socket can be made, by which `xdp-tracker reload` finds the tracker. A start goes on without.
pub(super) fn control_socket_can_be_made(subject: &Subject, found: &mut Found) {
    let path: &Path = &subject.config.control_socket;
    if let Some(process) = subject.running().process() {
        let key = at("control_socket");
        return found
            .notes
            .push(format!("{key}: {}: a tracker runs (process {process})", path.display()));
    }
    if let Some(other) = subject.running().other() {
        let file = match other.config.as_os_str().is_empty() {
            true => "the default configuration".to_owned(),
            false => other.config.display().to_string(),
        };
        let error = anyhow::anyhow!(
            "the tracker of {file} (process {}) listens there; give this one a control_socket of its own",
            other.process
        );
        return found.warnings.push((at("control_socket"), control::without(path, &error)));
    }
    if let Some(why) = subject.running().is_untold() {
        return found.notes.push(format!("not told: {}: {why}", at("control_socket")));
    }
    if let Err(error) = control::check(path) {
        let is_forbidden = matches!(error.downcast_ref(), Some(FolderError::Closed(_)));
        let (key, message) = (at("control_socket"), control::without(path, &error));
        match is_forbidden {
            true => found.forbidden_to_some(key, message),
            false => found.warning(key, message),
        }
    }
}
