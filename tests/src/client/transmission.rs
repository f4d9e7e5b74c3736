//! transmission-daemon: announces and scrapes by itself.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{Family, Host, Program, Torrent, eventually};

const RPC: &str = "127.0.0.1:9091";

/// A transmission-daemon with one torrent.
pub struct Transmission;

impl Transmission {
    /// Where it accepts peers.
    pub const PORT: u16 = 51413;

    /// Seeds the torrent, whose file it is given.
    ///
    /// # Errors
    /// The daemon is missing or does not come up.
    pub fn seed(host: &Host, torrent: &Torrent, folder: &Path) -> Result<Program> {
        let config = folder.join(format!("transmission-{}", torrent.info_hash));
        fs::create_dir_all(&config)?;
        fs::write(config.join("settings.json"), settings(host))?;
        let mut command = host.namespace.command("transmission-daemon");
        command.arg("--foreground").arg("--config-dir").arg(&config);
        let program = Program::start(&mut command, &config.join("transmission.log"))?;

        let metainfo = torrent.metainfo.to_str().context("path is not UTF-8")?;
        let payload =
            torrent.payload.parent().and_then(Path::to_str).context("path is not UTF-8")?;
        eventually(|| remote(host, &["--add", metainfo, "--download-dir", payload]))?;
        Ok(program)
    }

    /// What the one on `host` knows of its tracker: the results of announce and scrape, in words.
    ///
    /// # Errors
    /// There is none.
    pub fn tracker_report(host: &Host) -> Result<String> {
        remote(host, &["--torrent", "1", "--info-trackers"])
    }
}

fn settings(host: &Host) -> String {
    // Bound to an IPv4 address it asks no HTTP tracker over IPv6.
    let ipv4 =
        if host.is_first() { "0.0.0.0".to_owned() } else { host.ip(Family::Ipv4).to_string() };
    let port = Transmission::PORT;
    format!(
        r#"{{
    "bind-address-ipv4": "{ipv4}",
    "dht-enabled": false,
    "lpd-enabled": false,
    "pex-enabled": false,
    "port-forwarding-enabled": false,
    "peer-port": {port},
    "rpc-bind-address": "127.0.0.1",
    "rpc-port": 9091
}}"#
    )
}

fn remote(host: &Host, args: &[&str]) -> Result<String> {
    host.namespace.run("transmission-remote", &[&[RPC], args].concat())
}
