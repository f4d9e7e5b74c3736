//! The memory that sockets may hold back packets in. A frame that comes from an XDP program keeps a
//! whole page, so what is usually ample holds few of them, and trackers in userspace would lose
//! requests that they could serve.

use std::fs;

use anyhow::{Context as _, Result};

const BYTES: &str = "33554432";
const SETTINGS: [&str; 2] = ["/proc/sys/net/core/rmem_max", "/proc/sys/net/core/rmem_default"];

/// Raised limits of the whole machine, lowered again when dropped.
pub struct SocketMemory([String; 2]);

impl SocketMemory {
    /// Raises them to 32 MiB.
    ///
    /// # Errors
    /// We are not root.
    pub fn raise() -> Result<Self> {
        let [max, default] = SETTINGS;
        let before = Self([fs::read_to_string(max)?, fs::read_to_string(default)?]);
        for setting in SETTINGS {
            fs::write(setting, BYTES).with_context(|| format!("cannot change {setting}"))?;
        }
        Ok(before)
    }
}

impl Drop for SocketMemory {
    fn drop(&mut self) {
        for (setting, before) in SETTINGS.iter().zip(&self.0).rev() {
            if let Err(error) = fs::write(setting, before) {
                eprintln!("xtask: {setting} stays at {BYTES}: {error}");
            }
        }
    }
}
