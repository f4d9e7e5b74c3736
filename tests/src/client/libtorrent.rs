//! libtorrent (rasterbar), the library of qBittorrent and Deluge, driven by a script.

use std::{fs, path::Path};

use anyhow::Result;

use super::script;
use crate::{Family, Host, Program, Torrent};

/// A libtorrent session with one torrent.
///
/// It prints `announced URL PEERS`, `scraped URL SEEDERS LEECHERS` and `finished`.
pub struct Libtorrent;

impl Libtorrent {
    /// Where it accepts peers.
    pub const PORT: u16 = 6881;

    /// Fetches the torrent's file into `folder`, which it makes, then seeds it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn download(host: &Host, torrent: &Torrent, folder: &Path) -> Result<Program> {
        fs::create_dir_all(folder)?;
        // Not the first python3 on PATH: Debian's bindings belong to Debian's interpreter.
        let mut command = host.namespace.command("/usr/bin/python3");
        command
            .arg(script("libtorrent_client.py"))
            .arg(&torrent.metainfo)
            .arg(folder)
            .args([Family::Ipv4, Family::Ipv6].map(|family| host.ip(family).to_string()))
            .arg(Self::PORT.to_string());
        Program::start(&mut command, &folder.join("libtorrent.log"))
    }
}
