//! A file goes from one client to two others that know nothing of each other but the tracker.

use anyhow::{Result, ensure};
use tracker_tests::{
    Aria2, Family, Lan, Libtorrent, Mode, Protocol, Scratch, Torrent, Tracker, Transmission,
    UdpClient, eventually,
};

const SIZE: usize = 3_000_000;

fn a_file_is_transferred(mode: Mode) -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, probe) = (lan.join()?, lan.join()?);
    let (transmission, aria2, libtorrent) = (lan.join()?, lan.join()?, lan.join()?);
    let tracker = Tracker::start(&server, mode, folder.path())?;
    let url = tracker.url(Protocol::Udp, Family::Ipv4);
    let torrent = Torrent::create(folder.path(), "payload", SIZE, &[&url])?;

    let _seeder = Transmission::seed(&transmission, &torrent, folder.path())?;
    let mut probe = UdpClient::connect(&probe.namespace, tracker.address(Family::Ipv4))?;
    // Who announces before the seeder does would not ask again for half an hour.
    eventually(|| {
        let swarm = probe.scrape(&[torrent.info_hash])?[0];
        ensure!(swarm.seeders == 1, "no seeder: {swarm:?}");
        Ok(())
    })?;

    let (to_aria2, to_libtorrent) = (folder.path().join("aria2"), folder.path().join("libtorrent"));
    let _aria2 = Aria2::download(&aria2, &torrent, &to_aria2)?;
    let _libtorrent = Libtorrent::download(&libtorrent, &torrent, &to_libtorrent)?;
    for copy in [to_aria2, to_libtorrent] {
        eventually(|| torrent.ensure_copied_to(&copy))?;
    }

    let in_kernel = tracker.metrics()?.requests(None, "kernel");
    match mode {
        Mode::Off => ensure!(in_kernel == 0.0, "{in_kernel} requests answered by no program"),
        _ => ensure!(in_kernel > 0.0, "the kernel has answered nothing"),
    }
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and clients: `cargo xtask test e2e`"]
fn a_file_is_transferred_with_xdp_in_the_driver() -> Result<()> {
    a_file_is_transferred(Mode::Native)
}

#[test]
#[ignore = "needs root, BPF and clients: `cargo xtask test e2e`"]
fn a_file_is_transferred_with_generic_xdp() -> Result<()> {
    a_file_is_transferred(Mode::Generic)
}

#[test]
#[ignore = "needs root and clients: `cargo xtask test e2e`"]
fn a_file_is_transferred_without_xdp() -> Result<()> {
    a_file_is_transferred(Mode::Off)
}
