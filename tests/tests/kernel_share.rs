//! How much the kernel does.

use anyhow::{Result, ensure};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Metrics, Mode, Options, Scratch, Tracker, UdpClient,
    eventually,
};

/// How many torrents; fewer where the machine is an emulated one.
fn torrents() -> u32 {
    std::env::var("XDP_TRACKER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

/// The least share of announces that the kernel answers once it knows the torrents.
const SHARE: f64 = 0.99;

/// Announces answered by the kernel and by the daemon.
fn announces(metrics: &Metrics) -> [f64; 2] {
    ["kernel", "user"].map(|path| metrics.requests(Some("announce"), path))
}

fn torrents_that_the_daemon_admits_are_announced_to_the_kernel(family: Family) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    // So roomy that no torrent finds both of its buckets full.
    let torrents = torrents();
    let options = Options { torrents: 2 * torrents, ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(family))?;
    let announces_of_all: Vec<_> =
        (0..torrents).map(|n| Announce::leecher(InfoHash::numbered(n), 1)).collect();

    client.announce_all(&announces_of_all)?;
    // The tracker counts them once a second.
    let metrics = eventually(|| {
        let metrics = tracker.metrics()?;
        let known = metrics.sum("xdp_tracker_table_torrents", &[]);
        ensure!(known == f64::from(torrents), "{known} torrents in the table");
        Ok(metrics)
    })?;

    let before = announces(&metrics);
    client.announce_all(&announces_of_all)?;
    let after = announces(&tracker.metrics()?);
    let [kernel, user] = [after[0] - before[0], after[1] - before[1]];
    eprintln!("{family:?}: {kernel} announces answered in the kernel, {user} by the daemon");
    ensure!(kernel + user >= f64::from(torrents), "an announce was not counted");
    ensure!(kernel / (kernel + user) >= SHARE, "the kernel answered too few");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_hundred_thousand_ipv4_torrents_are_admitted_and_announced_to_the_kernel_again() -> Result<()> {
    torrents_that_the_daemon_admits_are_announced_to_the_kernel(Family::Ipv4)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_hundred_thousand_ipv6_torrents_are_admitted_and_announced_to_the_kernel_again() -> Result<()> {
    torrents_that_the_daemon_admits_are_announced_to_the_kernel(Family::Ipv6)
}
