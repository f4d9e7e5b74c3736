//! A client that the kernel answers, and what it notices.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Mode, Options, Tracker, UdpClient, eventually,
};

/// The client's torrent.
pub const TORRENT: InfoHash = InfoHash([7; 20]);

/// So few that some of a test's torrents must make way for others.
const TORRENTS: u32 = 4000;

/// Without a key of their own, connection ids must outlive the daemon that issued them.
pub const OPTIONS: Options<'static> =
    Options { private_key: "null", torrents: TORRENTS, ..Options::new(Mode::Generic) };

/// The client announces once in it.
pub const PERIOD: Duration = Duration::from_millis(2);

/// Peers of the torrent: more than its line holds.
pub const PEERS: u16 = 40;

/// The id of the XDP program on the tracker's interface; 0 where there is none.
pub fn program_id(server: &Host) -> Result<u32> {
    program_on(server, INTERFACE)
}

/// As [`program_id`], of any interface.
pub fn program_on(server: &Host, interface: &str) -> Result<u32> {
    let link = server.namespace.run("ip", &["link", "show", interface])?;
    let Some((_, rest)) = link.split_once("prog/xdp id ") else { return Ok(0) };
    rest.split_whitespace().next().and_then(|id| id.parse().ok()).context("no id")
}

/// Does something to the tracker while a client that the kernel answers announces steadily: it must
/// not miss a reply, and all peers must be there in the end.
pub fn unnoticed<'a>(
    client: &Host,
    tracker: Tracker<'a>,
    act: impl FnOnce(Tracker<'a>) -> Result<Tracker<'a>>,
) -> Result<Tracker<'a>> {
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    populate(&mut client)?;
    let one = Announce::leecher(TORRENT, 1);
    tracker.wait_for_kernel(&mut client, &one)?;

    let is_over = AtomicBool::new(false);
    let (tracker, [sent, lost]) = thread::scope(|scope| {
        let load = scope.spawn(|| client.announce_steadily(&one, PERIOD, &is_over));
        let acted = act(tracker);
        is_over.store(true, Ordering::Relaxed);
        let counted = load.join().expect("the client does not panic");
        anyhow::Ok((acted?, counted?))
    })?;
    eprintln!("{sent} announces, {lost} of them without a reply");
    ensure!(lost == 0, "{lost} of {sent} announces were not answered:\n{}", tracker.output());
    ensure!(client.scrape(&[TORRENT])?[0].leechers == PEERS.into(), "peers are lost");
    Ok(tracker)
}

/// Fills the torrent.
pub fn populate(client: &mut UdpClient) -> Result<()> {
    for port in 1..=PEERS {
        client.announce(&Announce::leecher(TORRENT, port))?;
    }
    eventually(|| {
        let known = client.scrape(&[TORRENT])?[0].leechers;
        ensure!(known == PEERS.into(), "{known} of {PEERS} peers are known");
        Ok(())
    })
}
