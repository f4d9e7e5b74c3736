//! There are no more file descriptors, or no more room in the table.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Options, Scratch, Tracker, UdpClient, eventually,
};

use crate::watch::{OPTIONS, TORRENT, program_id, unnoticed};

/// File descriptors that are left to the tracker.
const SPARE: usize = 3;

/// How long the tracker is watched while it can accept nothing.
const WATCHED: Duration = Duration::from_secs(2);

fn set_limit(tracker: &Tracker<'_>, server: &Host, limit: usize) -> Result<()> {
    let pid = tracker.id().to_string();
    server.namespace.run("prlimit", &["--pid", &pid, &format!("--nofile={limit}:")])?;
    Ok(())
}

/// Connections with half a request each, which the tracker gives up one after the other: more than
/// it will be rid of while it is watched.
const CONNECTIONS: usize = 100;

/// A connection with this on it.
fn send(client: &Host, server: SocketAddr, request: &str) -> Result<TcpStream> {
    client.namespace.enter(|| {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    })
}

/// The share of a processor that the tracker takes for a while.
fn processor_share(tracker: &Tracker<'_>) -> Result<f64> {
    // Fields 14 and 15, in hundredths of a second; the name before them may have spaces.
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", tracker.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        let times = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        anyhow::Ok(times.sum::<Result<u64, _>>()?)
    };
    let before = ticks()?;
    thread::sleep(WATCHED);
    Ok((ticks()? - before) as f64 / 100.0 / WATCHED.as_secs_f64())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn out_of_file_descriptors_udp_goes_on_and_http_waits_without_spinning() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    let mut daemons = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv6))?;
    unnoticed(&client, tracker, |tracker| {
        let program = program_id(&server)?;
        let used = fs::read_dir(format!("/proc/{}/fd", tracker.id()))?.count();
        set_limit(&tracker, &server, used + SPARE)?;
        let server_address = tracker.address(Family::Ipv4);
        let half = "GET /scrape HTTP/1.1\r\n";
        let _waiting = (0..CONNECTIONS)
            .map(|_| send(&client, server_address, half))
            .collect::<Result<Vec<_>>>()?;
        for said in ["cannot accept HTTP connections", "cannot tell this machine's addresses"] {
            eventually(|| {
                ensure!(tracker.output().contains(said), "it has not said '{said}'");
                Ok(())
            })?;
        }
        let share = processor_share(&tracker)?;
        ensure!(share < 0.5, "it takes {share} of a processor");
        // What only the daemon can answer.
        daemons.announce(&Announce::leecher(InfoHash([0xfd; 20]), 1))?;
        ensure!(program_id(&server)? == program, "the program was detached");
        eventually(|| {
            tracker.signal(Signal::SIGUSR1)?;
            let said = tracker.output();
            ensure!(said.contains("the configuration stays as it was"), "{said}");
            Ok(())
        })?;

        set_limit(&tracker, &server, used + 2 * CONNECTIONS)?;
        let whole = format!("{half}Host: tracker\r\n\r\n");
        let mut status = [0; 9];
        send(&client, server_address, &whole)?.read_exact(&mut status)?;
        ensure!(status == *b"HTTP/1.1 ", "{}", String::from_utf8_lossy(&status));
        ensure!(program_id(&server)? == program, "the program was detached");
        Ok(tracker)
    })?;
    Ok(())
}

/// One peer in each of more torrents than the table has room for.
fn torrents() -> impl Iterator<Item = Announce> {
    (0..1000u16).map(|number| {
        let mut info_hash = [0xf0; 20];
        info_hash[..2].copy_from_slice(&number.to_be_bytes());
        Announce::leecher(InfoHash(info_hash), 1)
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn with_a_full_table_known_torrents_are_served_and_new_ones_are_answered_and_counted() -> Result<()>
{
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { torrents: 100, ..OPTIONS };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut strangers = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let tracker = unnoticed(&client, tracker, |tracker| {
        strangers.announce_all(&torrents().collect::<Vec<_>>())?;
        eventually(|| {
            let metrics = tracker.metrics()?;
            let refused = metrics.sum("xdp_tracker_limit_reached_total", &[("limit", "torrents")]);
            ensure!(refused > 0.0, "no torrent was refused");
            Ok(())
        })?;
        Ok(tracker)
    })?;
    let metrics = tracker.metrics()?;
    let family = [("address_family", "IPv4")];
    let count = |name| metrics.sum(name, &family);
    let (held, room) =
        (count("xdp_tracker_table_torrents"), count("xdp_tracker_table_torrents_max"));
    ensure!(0.0 < held && held <= room, "{held} torrents in a table for {room}");
    let said = tracker.output();
    ensure!(said.matches("the table is full").count() == 1, "{said}");
    ensure!(said.contains("the table is full: there is no room for torrents ("), "{said}");
    let blocks = metrics.sum("xdp_tracker_limit_reached_total", &[("limit", "blocks")]);
    ensure!(blocks == 0.0, "{blocks} announces are counted as without a block");
    tracker.wait_for_kernel(&mut strangers, &Announce::leecher(TORRENT, 1))?;

    // They leave, and one that is refused has the table swept: the last of them, since the first ones are in the table.
    let leave = torrents().map(|announce| Announce { event: 3, ..announce });
    strangers.announce_all(&leave.collect::<Vec<_>>())?;
    let refused = torrents().last().context("there are torrents")?;
    eventually(|| {
        strangers.announce(&refused)?;
        let said = tracker.output();
        ensure!(said.contains("the table has room for torrents again ("), "{said}");
        Ok(())
    })
}
