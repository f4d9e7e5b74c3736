//! aria2: announces, but never scrapes, and speaks UDP over IPv4 only.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{Host, Program, Torrent};

/// An aria2c that fetches one torrent and then ends. It has the address of the first host in its
/// namespace, for it cannot be bound to one of each family.
pub struct Aria2;

impl Aria2 {
    /// Where it accepts peers.
    pub const PORT: u16 = 6881;

    /// Fetches the torrent's file into `folder`, which it makes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn download(host: &Host, torrent: &Torrent, folder: &Path) -> Result<Program> {
        fs::create_dir_all(folder)?;
        let mut command = host.namespace.command("aria2c");
        command
            // It asks UDP trackers through its DHT socket. Torrents are private, so the DHT stays idle.
            .args(["--no-conf", "--enable-dht=true", "--enable-dht6=false"])
            .arg(format!("--dht-file-path={}", folder.join("dht.dat").display()))
            .args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-time=0"])
            .args(["--summary-interval=0", "--console-log-level=notice", "--async-dns=false"])
            .arg(format!("--listen-port={}", Self::PORT))
            .arg(format!("--dir={}", folder.display()))
            .arg(&torrent.metainfo);
        Program::start(&mut command, &folder.join("aria2.log"))
    }
}
