//! webtorrent's tracker client, the npm package `bittorrent-tracker`, driven by a script.

use std::path::Path;

use anyhow::Result;

use super::script;
use crate::{Host, InfoHash, Program};

/// A tracker client only: it transfers nothing.
///
/// It prints `announced SEEDERS LEECHERS`, `peer ADDRESS` and `scraped SEEDERS LEECHERS`.
pub struct Webtorrent;

impl Webtorrent {
    /// Where it says that it accepts peers.
    pub const PORT: u16 = 6881;

    /// Below the workspace: where `npm install` has put the package.
    const MODULES: &str = "target/npm/node_modules";

    /// Announces as a leecher, and scrapes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn announce(host: &Host, info_hash: InfoHash, url: &str, folder: &Path) -> Result<Program> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = host.namespace.command("node");
        command.arg(script("webtorrent_client.mjs")).arg(workspace.join(Self::MODULES)).args([
            &info_hash.to_string(),
            url,
            &Self::PORT.to_string(),
        ]);
        Program::start(&mut command, &folder.join("webtorrent.log"))
    }
}
