//! Restarts and upgrades under load, and what stays of a tracker.

use std::{fs, thread};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Build, Family, Host, INTERFACE, Mode, Options, Scratch, Tracker, UdpClient, binary,
    eventually,
};

use crate::watch::{OPTIONS, PERIOD, TORRENT, program_id, unnoticed};

fn pins(server: &Host) -> Result<String> {
    server.namespace.run("find", &["/sys/fs/bpf", "-mindepth", "1", "-not", "-name", "*.debug"])
}

/// Ends the tracker in this way, and starts these builds one after the other in its stead.
fn restart(signal: Signal, builds: [Build; 3]) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    unnoticed(&client, tracker, |mut tracker| {
        for build in builds {
            let before = program_id(&server)?;
            tracker.end(signal)?;
            // Nobody but the kernel answers now.
            thread::sleep(50 * PERIOD);
            let options = Options { build, ..OPTIONS };
            tracker = Tracker::start_with(&server, &options, folder.path())?;
            ensure!(tracker.output().contains("took over 1 torrents"), "{}", tracker.output());
            let running = fs::read_link(format!("/proc/{}/exe", tracker.id()))?;
            ensure!(running == binary(build)?, "{} runs", running.display());
            let after = program_id(&server)?;
            ensure!(![0, before].contains(&after), "the program is {after}, and was {before}");
        }
        Ok(tracker)
    })?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_restart_loses_no_reply_and_no_peer() -> Result<()> {
    restart(Signal::SIGTERM, [Build::Tested; 3])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn kill_9_loses_no_reply_and_no_peer() -> Result<()> {
    restart(Signal::SIGKILL, [Build::Tested; 3])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn an_upgrade_to_another_build_and_back_loses_no_reply_and_no_peer() -> Result<()> {
    let [tested, other] = [binary(Build::Tested)?, binary(Build::Other)?].map(fs::read);
    ensure!(tested? != other?, "it is the same build");
    restart(Signal::SIGTERM, [Build::Other, Build::Tested, Build::Other])
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
    ensure!(
        Tracker::run(&server, folder.path(), "detach").is_err(),
        "a running tracker was detached"
    );
    tracker.end(Signal::SIGTERM)?;
    ensure!(program_id(&server)? != 0 && pins(&server)?.contains("BLOCKS"), "{}", pins(&server)?);
    Tracker::run(&server, folder.path(), "detach")?;
    ensure!(program_id(&server)? == 0 && pins(&server)?.is_empty(), "{}", pins(&server)?);

    Tracker::start_with(&server, &OPTIONS, folder.path())?.end(Signal::SIGINT)?;
    ensure!(program_id(&server)? == 0 && pins(&server)?.is_empty(), "{}", pins(&server)?);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_tracker_that_starts_in_another_mode_takes_the_interface_over_in_that() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let mut known = 0;
    for (mode, name) in [(Mode::Native, "native"), (Mode::Generic, "generic")].repeat(5) {
        let options = Options { private_key: "null", ..Options::new(mode) };
        let tracker = Tracker::start_with(&server, &options, folder.path())?;
        ensure!(tracker.metrics()?.is_attached(INTERFACE, name), "{}", tracker.output());
        let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
        ensure!(client.scrape(&[TORRENT])?[0].leechers == known, "not {known} peers are known");
        tracker.wait_for_kernel(&mut client, &Announce::leecher(TORRENT, 1))?;
        known = 1;
        tracker.end(Signal::SIGTERM)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn without_a_daemon_the_program_steps_aside_in_the_end() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { orphan_limit: "30s", ..OPTIONS };
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
