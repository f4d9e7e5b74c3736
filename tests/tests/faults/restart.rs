//! Restarts, upgrades and kills under load: what a client on the kernel's path notices of them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Mode, Options, Scratch, Tracker, UdpClient,
    eventually,
};

const TORRENT: InfoHash = InfoHash([7; 20]);

/// Without a key of their own, connection ids must outlive the daemon that issued them.
const OPTIONS: Options<'static> = Options { private_key: "null", ..Options::new(Mode::Generic) };

const PERIOD: Duration = Duration::from_millis(2);

/// Peers of the torrent: more than its line holds.
const PEERS: u16 = 40;

/// The id of the XDP program on the tracker's interface; 0 where there is none.
fn program_id(server: &Host) -> Result<u32> {
    let link = server.namespace.run("ip", &["link", "show", INTERFACE])?;
    let Some((_, rest)) = link.split_once("prog/xdp id ") else { return Ok(0) };
    rest.split_whitespace().next().and_then(|id| id.parse().ok()).context("no id")
}

fn pins(server: &Host) -> Result<String> {
    server.namespace.run("find", &["/sys/fs/bpf", "-mindepth", "1", "-not", "-name", "*.debug"])
}

/// Does something to the tracker while a client that the kernel answers announces steadily: it must
/// not miss a reply, and all peers must be there in the end.
fn unnoticed<'a>(
    server: &'a Host,
    client: &Host,
    tracker: Tracker<'a>,
    act: impl FnOnce(Tracker<'a>) -> Result<Tracker<'a>>,
) -> Result<()> {
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    for port in 1..=PEERS {
        client.announce(&Announce::leecher(TORRENT, port))?;
    }
    let one = Announce::leecher(TORRENT, 1);
    eventually(|| {
        let known = client.scrape(&[TORRENT])?[0].leechers;
        ensure!(known == PEERS.into(), "{known} of {PEERS} peers are known");
        Ok(())
    })?;
    tracker.wait_for_kernel(&mut client, &one)?;
    let before = program_id(server)?;
    ensure!(before != 0, "no program is attached");

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
    let after = program_id(server)?;
    ensure!(after != 0 && after != before, "the program is {after}, and was {before}");
    ensure!(client.scrape(&[TORRENT])?[0].leechers == PEERS.into(), "peers are lost");
    Ok(())
}

fn restart_by(signal: Signal) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    unnoticed(&server, &client, tracker, |mut tracker| {
        for _ in 0..3 {
            tracker.end(signal)?;
            // Nobody but the kernel answers now.
            thread::sleep(50 * PERIOD);
            tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
            ensure!(tracker.output().contains("took over 1 torrents"), "{}", tracker.output());
        }
        Ok(tracker)
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_restart_loses_no_reply_and_no_peer() -> Result<()> {
    restart_by(Signal::SIGTERM)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn kill_9_loses_no_reply_and_no_peer() -> Result<()> {
    restart_by(Signal::SIGKILL)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_table_of_another_size_is_dropped_with_a_message() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    let address = tracker.address(Family::Ipv4);
    let mut client = UdpClient::connect(&client.namespace, address)?;
    client.announce(&Announce::leecher(TORRENT, 1))?;
    tracker.end(Signal::SIGTERM)?;
    let options = Options { torrents: 20_000, ..OPTIONS };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let said = tracker.output();
    ensure!(said.contains("has xdp.table been changed?"), "{said}");
    client.reconnect()?;
    ensure!(client.scrape(&[TORRENT])?[0].leechers == 0, "a peer of the table before is there");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn detach_and_ctrl_c_remove_every_trace() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    ensure!(Tracker::detach(&server, folder.path()).is_err(), "a running tracker was detached");
    tracker.end(Signal::SIGTERM)?;
    ensure!(program_id(&server)? != 0 && pins(&server)?.contains("BLOCKS"), "{}", pins(&server)?);
    Tracker::detach(&server, folder.path())?;
    ensure!(program_id(&server)? == 0 && pins(&server)?.is_empty(), "{}", pins(&server)?);

    Tracker::start_with(&server, &OPTIONS, folder.path())?.end(Signal::SIGINT)?;
    ensure!(program_id(&server)? == 0 && pins(&server)?.is_empty(), "{}", pins(&server)?);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn without_a_daemon_the_program_steps_aside_in_the_end() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { orphan_limit: "10s", ..OPTIONS };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let one = Announce::leecher(TORRENT, 1);
    tracker.wait_for_kernel(&mut client, &one)?;
    tracker.end(Signal::SIGKILL)?;
    client.announce(&one)?;
    eventually(|| {
        ensure!(client.announce(&one).is_err(), "the kernel still answers");
        Ok(())
    })?;
    ensure!(program_id(&server)? != 0, "it is not attached any more");
    Ok(())
}
