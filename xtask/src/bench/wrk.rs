//! `wrk`: an HTTP load that is not ours.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use loadgen::{Request, flag, info_hash, peer_id};
use tracker_tests::Namespace;

use super::{loader::TRACKER, processor::PRIORITY};
use crate::process;

/// Connections that are open at a time.
const CONNECTIONS: u32 = 64;

/// Paths in the file, at most.
const PATHS_MAX: usize = 20_000;

/// Plays the paths of a file, one after the other.
const SCRIPT: &str = r#"
local requests = {}
local next = 0

function init()
  for path in io.lines(os.getenv("PATHS")) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end
"#;

/// The load, in files.
pub struct Wrk<'a> {
    folder: &'a Path,
}

impl<'a> Wrk<'a> {
    /// Writes the paths of the announces.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new(folder: &'a Path, announces: &[Request]) -> Result<Self> {
        let paths = announces.iter().take(PATHS_MAX).map(|announce| path(announce) + "\n");
        fs::write(folder.join("paths"), paths.collect::<String>())?;
        fs::write(folder.join("announce.lua"), SCRIPT)?;
        Ok(Self { folder })
    }

    /// Asks the tracker of a host for some seconds, from the first processor. Returns the replies of
    /// a second.
    ///
    /// # Errors
    /// There are other replies than 200.
    pub fn run(
        &self,
        host: &Namespace,
        scheme: &str,
        port: u16,
        keep: bool,
        seconds: u64,
    ) -> Result<f64> {
        let mut command = host.command("nice");
        command
            .arg(format!("--adjustment={PRIORITY}"))
            .args(["taskset", "--cpu-list", "0", "wrk", "--threads", "1"])
            .arg("--connections")
            .arg(CONNECTIONS.to_string())
            .arg("--duration")
            .arg(format!("{seconds}s"))
            .arg("--script")
            .arg(self.folder.join("announce.lua"))
            .env("PATHS", self.folder.join("paths"));
        if !keep {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("{scheme}://{TRACKER}:{port}"));
        let report = process::output(&mut command).context("wrk does not run")?;
        ensure!(!report.contains("Non-2xx"), "{report}");
        let line = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        line.with_context(|| report.clone())?.trim().parse().context("no figure")
    }
}

/// The path of an announce.
pub fn path(announce: &Request) -> String {
    let mut path = "/announce?info_hash=".to_owned();
    escape(&info_hash(announce.torrent).0, &mut path);
    path += "&peer_id=";
    escape(&peer_id(announce.client, announce.port).0, &mut path);
    let left = if announce.flags & flag::SEEDER != 0 { 0 } else { 1 << 30 };
    let port = announce.port;
    path + &format!("&port={port}&uploaded=0&downloaded=0&left={left}&numwant=50&compact=1")
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02x}").expect("a string takes all");
        }
    }
}
