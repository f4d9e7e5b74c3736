//! The disk of the snapshot is full, or cannot be written.

use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

/// Torrents of one peer each that make a snapshot of more than [`DISK`].
const TORRENTS: u16 = 2000;

const DISK: &str = "size=32k";

fn announces(torrents: u16) -> Vec<Announce> {
    let torrent = |number: u16| {
        let mut info_hash = [0xd1; 20];
        info_hash[..2].copy_from_slice(&number.to_be_bytes());
        Announce::leecher(InfoHash(info_hash), 1)
    };
    (0..torrents).map(torrent).collect()
}

fn counted(tracker: &Tracker<'_>, metric: &str) -> Result<f64> {
    Ok(tracker.metrics()?.sum(metric, &[]))
}

/// Waits until a snapshot has failed, and then for one more, begun when all is as it is now.
fn wait_for_failures(tracker: &Tracker<'_>) -> Result<()> {
    let failed = || counted(tracker, "xdp_tracker_snapshots_failed_total");
    let before = failed()?;
    eventually(|| {
        ensure!(failed()? >= before + 2.0, "the snapshots do not fail");
        Ok(())
    })
}

/// Waits until snapshots fail no more, and then for one more, begun when all is as it is now.
fn wait_for_success(tracker: &Tracker<'_>) -> Result<()> {
    let saved = || counted(tracker, "xdp_tracker_snapshot_last_success_timestamp_seconds");
    let newer_than = |before: f64| {
        eventually(|| {
            let last = saved()?;
            ensure!(last > before, "there is no new snapshot");
            Ok(last)
        })
    };
    // Of each second there is one at most.
    newer_than(newer_than(saved()?)?)?;
    Ok(())
}

fn mount(server: &Host, options: &str, at: &Path) -> Result<()> {
    let at = at.to_str().expect("path is UTF-8");
    server.namespace.run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at])?;
    Ok(())
}

fn remount(server: &Host, options: &str, at: &Path) -> Result<()> {
    let at = at.to_str().expect("path is UTF-8");
    server.namespace.run("mount", &["-o", &format!("remount,{options}"), at])?;
    Ok(())
}

/// What a tracker restores that starts from the snapshot alone.
fn restored(server: &Host, options: &Options<'_>, folder: &Path) -> Result<String> {
    let tracker = Tracker::start_with(server, options, folder)?;
    let said = tracker.output();
    tracker.end(Signal::SIGKILL)?;
    let line = said.lines().find_map(|line| line.split_once(": restored ")).map(|(_, what)| what);
    Ok(line.unwrap_or(&said).trim().to_owned())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn on_a_full_disk_the_snapshot_before_stays_and_the_next_one_with_room_is_whole() -> Result<()> {
    let (folder, disk) = (Scratch::new()?, Scratch::new()?);
    let ([server, client], _far_end) = Host::pair()?;
    mount(&server, DISK, disk.path())?;
    let path = disk.path().join("swarms");
    let options = Options { snapshot: Some(&path), ..Options::new(Mode::Off) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    client.announce_all(&announces(100))?;
    wait_for_success(&tracker)?;
    // As large as that snapshot and its lock: none finds room any more, not even one that is begun among the announces.
    // While one is being written the disk cannot be made so small.
    eventually(|| remount(&server, "size=8k", disk.path()))?;
    client.announce_all(&announces(TORRENTS))?;
    wait_for_failures(&tracker)?;
    let said = tracker.output();
    ensure!(said.matches("the swarms cannot be saved").count() == 1, "{said}");
    ensure!(said.contains("No space left on device"), "{said}");
    // The next attempt may be under way.
    eventually(|| {
        let files = server.namespace.run("ls", &[disk.path().to_str().expect("path is UTF-8")])?;
        ensure!(files == "swarms\nswarms.lock\n", "there is {files}");
        Ok(())
    })?;
    client.announce_all(&announces(TORRENTS))?;
    tracker.end(Signal::SIGKILL)?;
    let peers = restored(&server, &options, folder.path())?;
    ensure!(peers == "100 peers", "{peers}");

    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    client.announce_all(&announces(TORRENTS))?;
    wait_for_failures(&tracker)?;
    remount(&server, "size=1M", disk.path())?;
    wait_for_success(&tracker)?;
    let said = tracker.output();
    ensure!(said.matches("the swarms are saved again").count() == 1, "{said}");
    tracker.end(Signal::SIGKILL)?;
    let peers = restored(&server, &options, folder.path())?;
    ensure!(peers == format!("{TORRENTS} peers"), "{peers}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_snapshot_that_cannot_be_written_is_named_once_and_counted() -> Result<()> {
    let (folder, disk) = (Scratch::new()?, Scratch::new()?);
    let ([server, client], _far_end) = Host::pair()?;
    mount(&server, DISK, disk.path())?;
    let path = disk.path().join("swarms");
    let options = Options { snapshot: Some(&path), ..Options::new(Mode::Off) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    // A start refuses a folder that cannot be written, so another disk takes its place.
    mount(&server, "ro", disk.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    client.announce_all(&announces(1))?;
    wait_for_failures(&tracker)?;
    let named = format!(
        "storage.config.snapshot.path: {}: the swarms cannot be saved: Read-only file system",
        path.display()
    );
    let said = tracker.output();
    ensure!(said.matches(&named).count() == 1, "{said}");
    remount(&server, "rw", disk.path())?;
    wait_for_success(&tracker)?;
    tracker.end(Signal::SIGTERM)?;
    ensure!(restored(&server, &options, folder.path())? == "1 peers", "nothing was saved");
    Ok(())
}
