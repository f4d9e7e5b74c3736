//! Answering in the kernel: interfaces, what this process may, and where pins are kept.

use anyhow::Context as _;

use super::Subject;
use crate::daemon::found::{Found, Occasion, at};
use crate::{config::AttachMode, dataplane};

/// Each interface of the configuration exists, and `auto` can be resolved.
pub(super) fn interfaces_exist(subject: &Subject, found: &mut Found) {
    let names = &subject.config.xdp.interfaces;
    for error in dataplane::missing_interfaces(subject.config) {
        let text = format!("{error:#}");
        let message = text.strip_prefix("xdp.interfaces: ").unwrap_or(&text);
        let named = names.iter().position(|name| message.contains(&format!("`{name}`")));
        let path = at("xdp.interfaces");
        found.error(named.map_or(path.clone(), |index| path.index(index)), message);
    }
}

/// Whether the configuration would run something in the kernel, were it possible.
fn is_wanted(subject: &Subject) -> bool {
    dataplane::interfaces(subject.config).is_ok_and(|names| !names.is_empty())
}

/// A mode other than `auto` needs a kernel and capabilities that allow it.
pub(super) fn can_be_insisted_on(subject: &Subject, found: &mut Found) {
    if subject.config.xdp.mode == AttachMode::Auto || !is_wanted(subject) {
        return;
    }
    if let Err(error) = dataplane::check_host() {
        let is_check = subject.occasion == Occasion::Check;
        let message = format!("{:#}", error.context(dataplane::INSISTS));
        found.forbidden(is_check, at("xdp.mode"), message);
    }
}

/// With `auto`, all is served from userspace where the kernel cannot be had. Where it can, the folder of pins
/// should be one.
pub(super) fn can_be_used(subject: &Subject, found: &mut Found) {
    let config = subject.config;
    if !is_wanted(subject) {
        return;
    }
    if let Err(error) = dataplane::check_host() {
        if config.xdp.mode == AttachMode::Auto {
            let message = format!("as this user, {}: {error:#}", dataplane::USERSPACE);
            found.notes.push(format!("{}: {message}", at("xdp.mode")));
        }
        return;
    }
    let folder = &config.xdp.pin_path;
    if folder.as_os_str().is_empty() {
        return;
    }
    match dataplane::check_pins(folder) {
        Ok(()) => {}
        Err(dataplane::PinsError::InUse(_)) if subject.running().pins_at(folder) => {
            let process = subject.running().process().unwrap_or_default();
            found.notes.push(format!(
                "{}: the running tracker (process {process}) uses {}, as it may",
                at("xdp.pin_path"),
                folder.display()
            ));
        }
        Err(dataplane::PinsError::InUse(error) | dataplane::PinsError::Unusable(error)) => {
            let error = Err::<(), _>(error).context(folder.display().to_string()).unwrap_err();
            let message = format!("{error:#}; {}", dataplane::WITHOUT_PINS);
            found.warning(at("xdp.pin_path"), message);
        }
    }
}
