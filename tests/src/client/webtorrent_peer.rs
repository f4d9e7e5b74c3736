//! WebTorrent, which transfers files over WebRTC, driven by a script.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::node;
use crate::{Host, Program, Torrent};

/// A WebTorrent client with one torrent. It meets others only through a tracker over WebSocket, and
/// needs ten seconds for each: five until it offers or answers, on either side.
///
/// It prints `announced COUNT` with the number of replies, `connected TYPE ADDRESS` and `finished`.
pub struct WebtorrentPeer;

impl WebtorrentPeer {
    /// Seeds the torrent, whose file it is given. It can be found once it has printed `announced 2`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn seed(host: &Host, torrent: &Torrent, url: &str, folder: &Path) -> Result<Program> {
        let payload = torrent.payload.parent().context("the payload is in a folder")?;
        run(host, torrent, url, payload, &folder.join("webtorrent-seeder.log"))
    }

    /// Fetches the torrent's file into `folder`, which it makes, then seeds it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn download(host: &Host, torrent: &Torrent, url: &str, folder: &Path) -> Result<Program> {
        fs::create_dir_all(folder)?;
        run(host, torrent, url, folder, &folder.join("webtorrent.log"))
    }
}

fn run(host: &Host, torrent: &Torrent, url: &str, files: &Path, log: &Path) -> Result<Program> {
    let mut command = node(host, "webtorrent_peer.mjs");
    command.arg(&torrent.metainfo).arg(url).arg(files);
    Program::start(&mut command, log)
}
