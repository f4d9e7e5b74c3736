//! webtorrent's tracker client, the npm package `bittorrent-tracker`, driven by a script.

use std::path::Path;

use anyhow::Result;

use super::node;
use crate::{Host, InfoHash, Program};

/// A tracker client only: it transfers nothing.
///
/// It prints `announced SEEDERS LEECHERS`, `peer ADDRESS` and `scraped SEEDERS LEECHERS`. Over WebSocket
/// peers have no address: there it prints `peer PEER_ID` once an offer or an answer has come from one.
pub struct Webtorrent;

impl Webtorrent {
    /// Where it says that it accepts peers.
    pub const PORT: u16 = 6881;

    /// Announces that `left` bytes are missing, and scrapes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn announce(
        host: &Host,
        info_hash: InfoHash,
        url: &str,
        left: u64,
        folder: &Path,
    ) -> Result<Program> {
        let mut command = node(host, "webtorrent_client.mjs");
        command.args([&info_hash.to_string(), url, &Self::PORT.to_string(), &left.to_string()]);
        Program::start(&mut command, &folder.join("webtorrent.log"))
    }
}
