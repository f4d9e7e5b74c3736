//! The storage `redis`: several trackers with one Redis server.
//!
//! * `sharing`: what one hears comes to the others, to Redis, and back at the next start;
//! * `tls`: the same over TLS, and what is said where it fails;
//! * `trouble`: Redis is away, hangs, refuses, or is not ours.

mod sharing;
mod tls;
mod trouble;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tracker_tests::{
    Family, Host, InfoHash, Mode, Options, Redis, ScrapeReply, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash([0x5a; 20]);
const HEX: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// A tracker, which one of several on its host, and where its files are.
struct Site<'a> {
    options: Options<'a>,
    folder: PathBuf,
}

impl<'a> Site<'a> {
    fn new(mode: Mode, nth: u16, folder: &Path) -> Result<Self> {
        let folder = folder.join(nth.to_string());
        std::fs::create_dir_all(&folder)?;
        let udp_addr = ["[::]:6969", "[::]:6970"][usize::from(nth)];
        let redis = Some(Redis::URL);
        Ok(Self { options: Options { nth, udp_addr, redis, ..Options::new(mode) }, folder })
    }

    fn start(&self, host: &'a Host) -> Result<Tracker<'a>> {
        Tracker::start_with(host, &self.options, &self.folder)
    }
}

/// Two trackers from userspace on one host.
fn start_both<'a>(host: &'a Host, folder: &Path) -> Result<[Tracker<'a>; 2]> {
    let start = |nth| Site::new(Mode::Off, nth, folder)?.start(host);
    Ok([start(0)?, start(1)?])
}

fn client(host: &Host, tracker: &Tracker<'_>, family: Family) -> Result<UdpClient> {
    UdpClient::connect(&host.namespace, tracker.address(family))
}

/// A client of each.
fn clients(host: &Host, [one, other]: &[Tracker<'_>; 2]) -> Result<[UdpClient; 2]> {
    Ok([client(host, one, Family::Ipv4)?, client(host, other, Family::Ipv4)?])
}

fn wait_for_figures(client: &mut UdpClient, expected: ScrapeReply) -> Result<()> {
    eventually(|| {
        let figures = client.scrape(&[TORRENT])?[0];
        ensure!(figures == expected, "{figures:?}");
        Ok(())
    })
}

fn figures(seeders: u32, leechers: u32, completed: u32) -> ScrapeReply {
    ScrapeReply { seeders, completed, leechers }
}

fn is_connected(tracker: &Tracker<'_>) -> Result<bool> {
    Ok(tracker.metrics()?.sum("xdp_tracker_redis_connected", &[]) == 1.0)
}
