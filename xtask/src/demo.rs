//! `cargo xtask demo`: the tracker, three clients, a file that goes between them, and who answered
//! what.

use std::path::Path;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tracker_tests::{
    Announce, Aria2, Family, Host, InfoHash, Libtorrent, Metrics, Mode, Protocol, Torrent, Tracker,
    Transmission, UdpClient, eventually, sha256,
};

use crate::{build, process, test};

const FILE_SIZE: usize = 16 << 20;
const TORRENTS: u32 = 100;
const ROUNDS: u32 = 3;
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
    let ([server, clients], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    println!(
        "\nTwo network namespaces, joined by a veth pair. In one xdp-tracker serves {}, with its XDP\n\
         program in the driver. In the other are the clients.\n",
        tracker.address(Family::Ipv4)
    );
    let started = tracker.metrics()?;
    transfer(&tracker, &clients, folder.path())?;
    let transferred = tracker.metrics()?;

    let mut client = UdpClient::connect(&clients.namespace, tracker.address(Family::Ipv4))?;
    let torrents: Vec<_> = (0..TORRENTS).map(InfoHash::numbered).collect();
    for &torrent in &torrents {
        client.announce(&Announce::leecher(torrent, 1))?;
    }
    let announced = tracker.metrics()?;
    for _ in 0..ROUNDS {
        for &torrent in &torrents {
            client.reconnect()?;
            client.announce(&Announce::leecher(torrent, 1))?;
            client.scrape(&[torrent])?;
        }
    }
    let asked_again = tracker.metrics()?;

    println!(
        "\n{:<36}{:>8}{:>8}{:>16}",
        "Requests answered by", "kernel", "daemon", "kernel's share"
    );
    report("The three clients and their file", &started, &transferred);
    report(&format!("{TORRENTS} new torrents, announced"), &transferred, &announced);
    let least = report(&format!("The same again, {ROUNDS} times over"), &announced, &asked_again);
    ensure!(
        least >= EXPECTED_SHARE,
        "the kernel answered less than {} % of the requests for known torrents",
        100.0 * EXPECTED_SHARE
    );
    println!(
        "\nThe file arrived intact, and the kernel answered at least {:.1} % of the connects,\n\
         re-announces and scrapes of known torrents. New torrents are the daemon's to admit.",
        100.0 * least
    );
    Ok(())
}

/// One client gives the file to two others.
fn transfer(tracker: &Tracker<'_>, clients: &Host, folder: &Path) -> Result<()> {
    let url = tracker.url(Protocol::Udp, Family::Ipv4);
    let torrent = Torrent::create(folder, "payload", FILE_SIZE, &[&url])?;
    // Of its own address: clients take another one at their own address for themselves.
    let _seeder = Transmission::seed(&clients.beside(3)?, &torrent, folder)?;
    // Who announces before the seeder does would not ask again for half an hour.
    eventually(|| {
        let announces = tracker.metrics()?.requests(Some("announce"), "user");
        ensure!(announces > 0.0, "transmission has not announced");
        Ok(())
    })?;
    println!("transmission seeds {} MiB: {}", FILE_SIZE >> 20, sha256(&torrent.payload)?);
    let copies = [folder.join("aria2"), folder.join("libtorrent")];
    let _aria2 = Aria2::download(clients, &torrent, &copies[0])?;
    let _libtorrent = Libtorrent::download(&clients.beside(4)?, &torrent, &copies[1])?;
    for (copy, name) in copies.iter().zip(["aria2", "libtorrent"]) {
        eventually(|| torrent.ensure_copied_to(copy))?;
        println!("{name} has fetched it, its copy has the same SHA-256");
    }
    Ok(())
}

/// Prints who answered what meanwhile, and returns the kernel's least share.
fn report(title: &str, before: &Metrics, after: &Metrics) -> f64 {
    println!("{title}");
    let mut least = 1.0f64;
    for action in ACTIONS {
        let [kernel, daemon] = ["kernel", "user"]
            .map(|path| after.requests(Some(action), path) - before.requests(Some(action), path));
        if kernel + daemon > 0.0 {
            let share = kernel / (kernel + daemon);
            least = least.min(share);
            println!("  {action:<34}{kernel:>8}{daemon:>8}{:>14.1} %", 100.0 * share);
        }
    }
    least
}
