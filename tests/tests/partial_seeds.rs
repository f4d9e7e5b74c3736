//! A client that has all that it wants of a torrent, and not all of the torrent (BEP 21).

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{
    Announce, Family, InfoHash, Lan, Libtorrent, Mode, Options, Protocol, ScrapeReply, Scratch,
    Tracker, UdpClient,
};

/// Two seconds each at least: together they are longer than a peer without an announce lives.
const ANNOUNCES: usize = 10;

fn a_partial_seed_stays(mode: Mode) -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, host, other) = (lan.join()?, lan.join()?, lan.join()?);
    let options = Options { peer_lifetime: "12s", ..Options::new(mode) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let url = tracker.url(Protocol::Udp, Family::Ipv4);
    let mut seed = Libtorrent::seed_in_part(&host, &url, &folder.path().join("partial"))?;
    seed.wait_for_output("torrent ")?;
    let said = seed.output();
    let info_hash = said.lines().find_map(|line| InfoHash::parse(line.strip_prefix("torrent ")?));
    let info_hash = info_hash.context("no info-hash")?;

    seed.wait_for_output(&format!("answered {ANNOUNCES}."))?;
    let mut other = UdpClient::connect(&other.namespace, tracker.address(Family::Ipv4))?;
    let swarm = other.scrape(&[info_hash])?[0];
    let expected = ScrapeReply { seeders: 0, completed: 0, leechers: 1 };
    ensure!(swarm == expected, "not one leecher, but {swarm:?}:\n{}", seed.output());
    let peers = other.announce(&Announce::leecher(info_hash, 1))?.peers;
    ensure!(peers == [(host.ip(Family::Ipv4), Libtorrent::PORT).into()], "the peers are {peers:?}");
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and libtorrent: `cargo xtask test e2e`"]
fn a_partial_seed_stays_in_the_swarm_with_xdp() -> Result<()> {
    a_partial_seed_stays(Mode::Native)
}

#[test]
#[ignore = "needs root and libtorrent: `cargo xtask test e2e`"]
fn a_partial_seed_stays_in_the_swarm_without_xdp() -> Result<()> {
    a_partial_seed_stays(Mode::Off)
}
