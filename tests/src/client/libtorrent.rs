//! libtorrent (rasterbar), the library of qBittorrent and Deluge, driven by a script.

use std::{ffi::OsStr, fs, path::Path};

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

    /// Seeds one of the two files of a torrent that it makes in `folder`, which it makes, too: a partial seed
    /// (BEP 21). It prints `torrent INFO-HASH`, and `answered N.` for the Nth announce of the event `paused`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn seed_in_part(host: &Host, tracker: &str, folder: &Path) -> Result<Program> {
        let first = folder.as_os_str();
        Self::run(host, "libtorrent_partial_seed.py", [first, tracker.as_ref()], folder)
    }

    /// Fetches the torrent's file into `folder`, which it makes, then seeds it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn download(host: &Host, torrent: &Torrent, folder: &Path) -> Result<Program> {
        let first = torrent.metainfo.as_os_str();
        Self::run(host, "libtorrent_client.py", [first, folder.as_os_str()], folder)
    }

    fn run(host: &Host, name: &str, args: [&OsStr; 2], folder: &Path) -> Result<Program> {
        fs::create_dir_all(folder)?;
        // Not the first python3 on PATH: Debian's bindings belong to Debian's interpreter.
        let mut command = host.namespace.command("/usr/bin/python3");
        command
            // Leaves no compiled module among the scripts.
            .arg("-B")
            .arg(script(name))
            .args(args)
            .args([Family::Ipv4, Family::Ipv6].map(|family| host.ip(family).to_string()))
            .arg(Self::PORT.to_string());
        Program::start(&mut command, &folder.join("libtorrent.log"))
    }
}
