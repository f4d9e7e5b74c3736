//! Announces of new torrents are counted for their source once, by whatever interface they come.

use anyhow::{Result, ensure};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Namespace, Options, Scratch, Tracker, UdpClient,
    eventually,
};

/// New torrents that a source may announce in a second.
const MISSES: u32 = 10;

/// Misses that the daemon has refused; those that the kernel does are counted elsewhere.
fn refused(tracker: &Tracker<'_>) -> Result<f64> {
    let name = "xdp_tracker_limit_reached_total";
    Ok(tracker.metrics()?.sum(name, &[("limit", "misses_per_source")]))
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn by_an_interface_without_the_program_the_daemon_counts_misses_and_by_one_with_it_does_not()
-> Result<()> {
    let folder = Scratch::new()?;
    let ([server, near], _far_end) = Host::pair()?;
    let far = Namespace::new()?;
    server.namespace.cable("eth1", &far, "eth0")?;
    let host = server.namespace.as_ref();
    for (namespace, address, interface) in
        [(host, "10.78.0.1/24", "eth1"), (&far, "10.78.0.2/24", "eth0")]
    {
        namespace.run("ip", &["addr", "add", address, "dev", interface])?;
        namespace.run("ip", &["link", "set", interface, "up"])?;
    }
    let options = Options { misses_per_source: MISSES, ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let address = tracker.address(Family::Ipv4);
    let mut near = UdpClient::connect(&near.namespace, address)?;
    let mut far = UdpClient::connect(&far, "10.78.0.1:6969".parse()?)?;
    tracker.wait_for_kernel(&mut near, &Announce::leecher(InfoHash::numbered(0), 1))?;

    // Were they counted twice, some would be beyond the limit, and not come into the table.
    for n in 1..MISSES - 2 {
        near.announce(&Announce::leecher(InfoHash::numbered(n), 1))?;
    }
    let all: Vec<_> = (100..300).map(|n| Announce::leecher(InfoHash::numbered(n), 1)).collect();
    eventually(|| {
        let known = tracker.metrics()?.sum("xdp_tracker_table_torrents", &[]);
        ensure!(known == f64::from(MISSES - 2), "{known} torrents in the table");
        Ok(())
    })?;
    ensure!(refused(&tracker)? == 0.0, "the daemon has counted what the kernel has");
    far.announce_all(&all)?;
    eventually(|| {
        let refused = refused(&tracker)?;
        ensure!(refused >= 100.0, "{refused} of 200 misses were refused");
        Ok(())
    })
}
