//! A host with several addresses: who asks one of them is answered from that one.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Mode, Scratch, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash([0x5a; 20]);

fn answered_from_each(mode: Mode) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let second = ["10.77.0.99", "2001:db8::99"];
    for (address, prefix) in second.into_iter().zip([24, 64]) {
        let address = format!("{address}/{prefix}");
        server.namespace.run("ip", &["addr", "add", &address, "dev", INTERFACE, "nodad"])?;
    }
    let tracker = Tracker::start(&server, mode, folder.path())?;
    let port = tracker.address(Family::Ipv4).port();
    let mut addresses: Vec<_> =
        [Family::Ipv4, Family::Ipv6].map(|family| tracker.address(family)).into();
    for address in second {
        addresses.push(SocketAddr::new(address.parse()?, port));
    }
    for address in addresses {
        // A connected socket takes no datagram from another address.
        let mut udp = UdpClient::connect(&client.namespace, address)?;
        let announce = Announce::leecher(TORRENT, 1);
        eventually(|| {
            let answered = || anyhow::Ok(tracker.metrics()?.requests(Some("announce"), "kernel"));
            let before = answered()?;
            udp.announce(&announce)?;
            ensure!(mode == Mode::Off || answered()? > before, "the kernel has not answered");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn the_kernel_answers_from_the_address_that_was_asked() -> Result<()> {
    answered_from_each(Mode::Native)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn the_daemon_answers_from_the_address_that_was_asked() -> Result<()> {
    answered_from_each(Mode::Off)
}
