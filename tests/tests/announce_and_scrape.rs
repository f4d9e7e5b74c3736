//! Each client announces and scrapes, over whatever protocols and address families it speaks.

use std::{path::Path, thread};

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{
    Announce, Aria2,
    Family::{self, Ipv4, Ipv6},
    Host, Lan, Libtorrent, Mode, Program,
    Protocol::{self, Http, Udp},
    Scratch, Torrent, Tracker, Transmission, UdpClient, Webtorrent, eventually,
};

const EVERY_WAY: &[(Protocol, Family)] = &[(Udp, Ipv4), (Udp, Ipv6), (Http, Ipv4), (Http, Ipv6)];

/// aria2 and webtorrent speak UDP over IPv4 only.
const NO_UDP_OVER_IPV6: &[(Protocol, Family)] = &[(Udp, Ipv4), (Http, Ipv4), (Http, Ipv6)];

/// A torrent with one leecher, and the host where the client under test shall run.
struct Stage<'a> {
    host: &'a Host,
    torrent: Torrent,
    url: String,
    folder: &'a Path,
}

type Client<'a> = &'a (dyn Fn(&Stage<'_>) -> Result<Program> + Sync);

/// Runs `client` once for each way in each mode, on a torrent that the tracker knows and where it
/// will find one peer: a leecher. Then the leecher must find the client, at `port`. Clients mostly
/// wait, so all modes are tried at the same time.
fn announces(ways: &[(Protocol, Family)], port: u16, client: Client<'_>) -> Result<()> {
    thread::scope(|scope| {
        let start = |mode| (mode, scope.spawn(move || announces_in(mode, ways, port, client)));
        for (mode, thread) in Mode::CERTAIN.map(start) {
            let outcome = thread.join().expect("the thread does not panic");
            outcome.with_context(|| format!("XDP {}", mode.name()))?;
        }
        Ok(())
    })
}

fn announces_in(
    mode: Mode,
    ways: &[(Protocol, Family)],
    port: u16,
    client: Client<'_>,
) -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, other, host) = (lan.join()?, lan.join()?, lan.join()?);
    let tracker = Tracker::start(&server, mode, folder.path())?;
    for &(protocol, family) in ways {
        let url = tracker.url(protocol, family);
        let name = format!("{protocol:?}-{family:?}");
        let torrent = Torrent::create(folder.path(), &name, 100_000, &[&url])?;
        let leecher = Announce::leecher(torrent.info_hash, 1);
        let mut other = UdpClient::connect(&other.namespace, tracker.address(family))?;
        other.announce(&leecher)?;

        let stage = Stage { host: &host, torrent, url, folder: folder.path() };
        let _running = client(&stage).with_context(|| stage.url.clone())?;
        eventually(|| {
            let peers = other.announce(&leecher)?.peers;
            ensure!(
                peers == [(host.ip(family), port).into()],
                "{}: the peers are {peers:?}",
                stage.url
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and transmission: `cargo xtask test e2e`"]
fn transmission_announces_and_scrapes() -> Result<()> {
    announces(EVERY_WAY, Transmission::PORT, &|stage| {
        let client = Transmission::seed(stage.host, &stage.torrent, stage.folder)?;
        eventually(|| {
            let report = Transmission::tracker_report(stage.host)?;
            // Not how many: transmission 3.00 takes an IPv6 peer of 18 bytes for three of IPv4.
            ensure!(report.contains("Got a list of "), "no peers:\n{report}");
            ensure!(report.contains("Tracker had 1 seeders and 1 leechers"), "scrape:\n{report}");
            Ok(())
        })?;
        Ok(client)
    })
}

#[test]
#[ignore = "needs root, BPF and libtorrent: `cargo xtask test e2e`"]
fn libtorrent_announces_and_scrapes() -> Result<()> {
    announces(EVERY_WAY, Libtorrent::PORT, &|stage| {
        let mut client =
            Libtorrent::download(stage.host, &stage.torrent, &stage.folder.join("new"))?;
        client.wait_for_output(&format!("announced {} 1", stage.url))?;
        client.wait_for_output(&format!("scraped {} 0 2", stage.url))?;
        Ok(client)
    })
}

#[test]
#[ignore = "needs root, BPF and bittorrent-tracker: `cargo xtask test e2e`"]
fn webtorrent_announces_and_scrapes() -> Result<()> {
    announces(NO_UDP_OVER_IPV6, Webtorrent::PORT, &|stage| {
        let info_hash = stage.torrent.info_hash;
        let mut client = Webtorrent::announce(stage.host, info_hash, &stage.url, 1, stage.folder)?;
        client.wait_for_output("announced 0 2")?;
        client.wait_for_output("peer ")?;
        client.wait_for_output("scraped 0 2")?;
        Ok(client)
    })
}

#[test]
#[ignore = "needs root, BPF and aria2: `cargo xtask test e2e`"]
fn aria2_announces() -> Result<()> {
    announces(NO_UDP_OVER_IPV6, Aria2::PORT, &|stage| {
        let folder = &stage.folder.join("new");
        Aria2::download(stage.host, &stage.torrent, folder)
    })
}
