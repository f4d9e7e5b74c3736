//! The wall clock is set to another time.

use std::fs;

use anyhow::{Result, ensure};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Options, Scratch, Tracker, UdpClient, eventually,
};

use crate::watch::{OPTIONS, PEERS, TORRENT, populate};

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn when_the_clock_is_set_clients_connect_anew_and_no_peer_is_lost() -> Result<()> {
    let folder = Scratch::new()?;
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0")?;
    let ([server, client], _far_end) = Host::pair()?;
    // Where libfaketime leaves what outlives a process.
    server.namespace.run("mount", &["-t", "tmpfs", "tmpfs", "/dev/shm"])?;
    let options = Options { clock: Some(&clock), ..OPTIONS };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    populate(&mut client)?;
    let one = Announce::leecher(TORRENT, 1);
    tracker.wait_for_kernel(&mut client, &one)?;

    // Both further than a connection id lives, and back to where ids have been issued before.
    for (number, step) in ["+3600", "-3600", "+0"].into_iter().enumerate() {
        // As a whole: it is read at every look at the clock.
        let new = clock.with_extension("new");
        fs::write(&new, step)?;
        fs::rename(new, &clock)?;
        eventually(|| {
            ensure!(client.announce(&one).is_err(), "an id of before {step} is still valid");
            Ok(())
        })?;
        client.reconnect()?;
        tracker.wait_for_kernel(&mut client, &one)?;
        // The daemon takes ids that the kernel issues.
        client.announce(&Announce::leecher(InfoHash([number as u8; 20]), 1))?;
        let known = client.scrape(&[TORRENT])?[0].leechers;
        ensure!(known == PEERS.into(), "after {step}, {known} of {PEERS} peers are known");
    }
    Ok(())
}
