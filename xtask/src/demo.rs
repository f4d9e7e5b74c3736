//! `cargo xtask demo`: the tracker, three clients, a file that goes between them, and who answered
//! what.

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tracker_tests::{
    Announce, Aria2, Family, Host, InfoHash, Lan, Libtorrent, Metrics, Mode, Protocol, Torrent,
    Tracker, Transmission, UdpClient, eventually, sha256,
};

use crate::{build, process, test};

const FILE_SIZE: usize = 16 << 20;
const TORRENTS: u32 = 100;
const REANNOUNCES: u32 = 3;
const ACTIONS: [&str; 3] = ["connect", "announce", "scrape"];

/// The share of requests for known torrents that the kernel must answer.
const EXPECTED_SHARE: f64 = 0.95;

/// Runs the demonstration.
///
/// # Errors
/// We are not root, something is missing, the file does not arrive, or the kernel answers too few.
pub fn run() -> Result<()> {
    ensure!(process::is_root(), "the demo makes network namespaces, which needs root");
    let object = build::xdp_program()?;
    ensure!(object.is_some(), "the demo needs the XDP program");
    build::daemon(false, object.as_deref())?;
    test::install_clients()?;

    let folder = TempDir::new()?;
    let mut lan = Lan::new()?;
    let server = lan.join()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    println!("demo: xdp-tracker runs at {}, XDP in the driver", tracker.address(Family::Ipv4));
    transfer(&tracker, &mut lan, &folder)?;

    let host = lan.join()?;
    let mut client = UdpClient::connect(&host, tracker.address(Family::Ipv4))?;
    let torrents: Vec<_> = (0..TORRENTS).map(info_hash).collect();
    for &torrent in &torrents {
        client.announce(&Announce::leecher(torrent, 1))?;
    }
    let before = tracker.metrics()?;
    println!(
        "demo: {TORRENTS} more torrents are known; now {REANNOUNCES} rounds of requests for them"
    );
    ask_again(&host, &tracker, &torrents)?;
    report(&before, &tracker.metrics()?)
}

/// One client gives the file to two others.
fn transfer(tracker: &Tracker<'_>, lan: &mut Lan, folder: &TempDir) -> Result<()> {
    let hosts: [Host; 3] = [lan.join()?, lan.join()?, lan.join()?];
    let url = tracker.url(Protocol::Udp, Family::Ipv4);
    let torrent = Torrent::create(folder.path(), "payload", FILE_SIZE, &[&url])?;
    println!("demo: transmission seeds {} MiB, {}", FILE_SIZE >> 20, sha256(&torrent.payload)?);
    let _seeder = Transmission::seed(&hosts[0], &torrent, folder.path())?;
    // Who announces before the seeder does would not ask again for half an hour.
    let mut probe = UdpClient::connect(&hosts[1], tracker.address(Family::Ipv4))?;
    eventually(|| {
        let swarm = probe.scrape(&[torrent.info_hash])?[0];
        ensure!(swarm.seeders == 1, "transmission has not announced");
        Ok(())
    })?;
    let copies = [folder.path().join("aria2"), folder.path().join("libtorrent")];
    let _aria2 = Aria2::download(&hosts[1], &torrent, &copies[0])?;
    let _libtorrent = Libtorrent::download(&hosts[2], &torrent, &copies[1])?;
    for (copy, name) in copies.iter().zip(["aria2", "libtorrent"]) {
        eventually(|| torrent.ensure_copied_to(copy))?;
        println!("demo: {name} has the file, its checksum is right");
    }
    Ok(())
}

/// Connects, announces and scrapes, all of torrents that the tracker knows.
fn ask_again(host: &Host, tracker: &Tracker<'_>, torrents: &[InfoHash]) -> Result<()> {
    let mut client = UdpClient::connect(host, tracker.address(Family::Ipv4))?;
    for _ in 0..REANNOUNCES {
        for &torrent in torrents {
            client.reconnect()?;
            client.announce(&Announce::leecher(torrent, 1))?;
            client.scrape(&[torrent])?;
        }
    }
    Ok(())
}

fn report(before: &Metrics, after: &Metrics) -> Result<()> {
    println!("\n{:<10}{:>20}{:>20}{:>20}", "", "kernel, in all", "daemon, in all", "kernel, known");
    let mut least = 1.0f64;
    for action in ACTIONS {
        let kernel = after.requests(Some(action), "kernel");
        let user = after.requests(Some(action), "user");
        let known_kernel = kernel - before.requests(Some(action), "kernel");
        let known = known_kernel + user - before.requests(Some(action), "user");
        let share = known_kernel / known;
        least = least.min(share);
        println!("{action:<10}{kernel:>20}{user:>20}{:>18.1} %", 100.0 * share);
    }
    ensure!(
        least >= EXPECTED_SHARE,
        "the kernel answered less than {} % of the requests for known torrents",
        100.0 * EXPECTED_SHARE
    );
    println!(
        "\ndemo: the file arrived intact, and the kernel answered at least {} % of the connects, \
         re-announces and scrapes of known torrents",
        100.0 * EXPECTED_SHARE
    );
    Ok(())
}

fn info_hash(number: u32) -> InfoHash {
    let mut bytes = [0x5a; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    InfoHash(bytes)
}
