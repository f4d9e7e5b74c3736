//! WebTorrent's clients, which meet over the tracker's WebSocket.

use anyhow::{Result, ensure};
use tracker_tests::{
    Family, Lan, Mode, Protocol, Scratch, Torrent, Tracker, Webtorrent, WebtorrentPeer, eventually,
};

const SIZE: usize = 3_000_000;

#[test]
#[ignore = "needs root and clients: `cargo xtask test e2e`"]
fn a_file_goes_from_one_webtorrent_peer_to_two_others() -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, seeder, probe) = (lan.join()?, lan.join()?, lan.join()?);
    let leechers = [lan.join()?, lan.join()?];
    // With too little of the processor, WebRTC in Node fails now and then. They offer again when they
    // announce again, which the tests' configuration has them do often.
    let tracker = Tracker::start(&server, Mode::Off, folder.path())?;
    let url = tracker.url(Protocol::WebSocket, Family::Ipv4);
    let torrent = Torrent::create(folder.path(), "payload", SIZE, &[])?;

    let mut seeder = WebtorrentPeer::seed(&seeder, &torrent, &url, folder.path())?;
    // Two that offer to each other at the same time do not meet.
    seeder.wait_for_output("announced 2")?;
    let copies = ["first", "second"].map(|name| folder.path().join(name));
    let mut peers = Vec::new();
    for (host, copy) in leechers.iter().zip(&copies) {
        peers.push(WebtorrentPeer::download(host, &torrent, &url, copy)?);
    }
    for (peer, copy) in peers.iter_mut().zip(&copies) {
        peer.wait_for_output("finished")?;
        eventually(|| torrent.ensure_copied_to(copy))?;
        ensure!(!peer.output().contains("connected tcp"), "not by WebRTC:\n{}", peer.output());
    }

    // Each is a seeder now.
    let mut probe = Webtorrent::announce(&probe, torrent.info_hash, &url, 1, folder.path())?;
    probe.wait_for_output("announced 3 1")?;
    Ok(())
}

#[test]
#[ignore = "needs root and clients: `cargo xtask test e2e`"]
fn bittorrent_tracker_announces_and_scrapes_over_websocket() -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, seeder, leecher) = (lan.join()?, lan.join()?, lan.join()?);
    let tracker = Tracker::start(&server, Mode::Off, folder.path())?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let url = tracker.url(Protocol::WebSocket, family);
        let torrent = Torrent::create(folder.path(), &format!("{family:?}"), 100_000, &[])?;
        let folders = ["seeder", "leecher"].map(|name| folder.path().join(name));
        for folder in &folders {
            std::fs::create_dir_all(folder)?;
        }

        let announce =
            |host, left, folder| Webtorrent::announce(host, torrent.info_hash, &url, left, folder);
        let mut seeder = announce(&seeder, 0, &folders[0])?;
        seeder.wait_for_output("announced 1 0")?;
        seeder.wait_for_output("scraped 1 0")?;
        let mut leecher = announce(&leecher, 1, &folders[1])?;
        leecher.wait_for_output("announced 1 1")?;
        leecher.wait_for_output("scraped 1 1")?;
        // By the leecher's offer, and by the seeder's answer.
        seeder.wait_for_output("peer -WW0000-")?;
        leecher.wait_for_output("peer -WW0000-")?;
    }
    Ok(())
}
