//! The host's firewall, and what the kernel answers before it.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, Wire, eventually,
};

const TORRENT: InfoHash = InfoHash([0x5a; 20]);

/// Drops and counts all that arrives for the tracker over UDP, as early as a firewall can and where most do.
const DROP_ALL: &str = "\
table netdev early {
  chain ingress {
    type filter hook ingress device eth0 priority -500; policy accept;
    udp dport 6969 counter drop
  }
}
table inet usual {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 6969 counter drop
  }
}
";

/// How many packets the rules of `host` have dropped.
fn dropped(host: &Host) -> Result<u64> {
    let rules = host.namespace.run("nft", &["list", "ruleset"])?;
    let counts: Vec<u64> = rules
        .lines()
        .filter_map(|line| line.split_once("counter packets ")?.1.split(' ').next()?.parse().ok())
        .collect();
    ensure!(counts.len() == 2, "{rules}");
    Ok(counts.iter().sum())
}

/// How many datagrams for port 6969 or from it a packet socket, as tcpdump's is, has been given.
fn seen(wire: &Wire) -> Result<usize> {
    let mut datagrams = 0;
    while let Some(frame) = wire.receive(Duration::ZERO)? {
        let udp = match (frame.get(12..14), frame.get(20), frame.get(23)) {
            (Some([8, 0]), _, Some(17)) => 34,
            (Some([0x86, 0xdd]), Some(17), _) => 54,
            _ => continue,
        };
        let ports = frame.get(udp..udp + 4).context("a frame without ports")?;
        datagrams += usize::from(ports.chunks(2).any(|port| port == 6969_u16.to_be_bytes()));
    }
    Ok(datagrams)
}

/// Sends an announce that the kernel leaves to the daemon, and waits for no reply.
fn announce_of_an_unknown_torrent(
    client: &Host,
    tracker: &Tracker<'_>,
) -> Result<impl Fn() -> Result<()>> {
    let to = tracker.address(Family::Ipv4);
    let socket = client.namespace.enter(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], b"conn"].concat();
    let mut reply = [0; 64];
    socket.send_to(&connect, to)?;
    socket.recv(&mut reply).context("no reply to a connect")?;
    let mut announce = [&reply[8..16], &[0, 0, 0, 1], b"anno", &[0x6b; 20]].concat();
    announce.extend(b"-XT0000-000000000000");
    announce
        .extend([&[0; 8][..], &1_u64.to_be_bytes(), &[0; 20], &[0, 0, 0, 50, 0x1b, 0x58]].concat());
    Ok(move || {
        socket.send_to(&announce, to)?;
        Ok(())
    })
}

fn the_kernel_answers_before_the_firewall(mode: Mode) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, mode, folder.path())?;
    let lines = tracker.output().matches("passes no firewall").count();
    ensure!(lines == 1, "{lines} lines about firewalls:\n{}", tracker.output());
    let peer = Announce::leecher(TORRENT, 1);
    let families = [Family::Ipv4, Family::Ipv6];
    let mut clients = Vec::new();
    for family in families {
        let mut udp = UdpClient::connect(&client.namespace, tracker.address(family))?;
        tracker.wait_for_kernel(&mut udp, &peer)?;
        clients.push(udp);
    }

    let rules = folder.path().join("rules.nft");
    std::fs::write(&rules, DROP_ALL)?;
    server.namespace.run("nft", &["-f", rules.to_str().context("a path of UTF-8")?])?;
    let tap = Wire::new(&server.namespace)?;
    for udp in &mut clients {
        udp.reconnect()?;
        udp.announce(&peer)?;
        udp.scrape(&[TORRENT])?;
    }
    ensure!(dropped(&server)? == 0, "the firewall has seen what the kernel answered");
    ensure!(seen(&tap)? == 0, "a packet socket has seen what the kernel answered");

    // The rules are in force, and the packet socket is open: both see what passes to the daemon.
    let unknown = announce_of_an_unknown_torrent(&client, &tracker)?;
    eventually(|| {
        unknown()?;
        ensure!(dropped(&server)? > 0, "the firewall has seen nothing");
        ensure!(seen(&tap)? > 0, "the packet socket has seen nothing");
        Ok(())
    })?;

    let prehooks = "[ { name: ip approval, options: { deny: [ 10.77.0.2, '2001:db8::2' ] } } ]";
    tracker.reload(&Options { prehooks, ..Options::new(mode) }, folder.path())?;
    let refused = "tracker error: unapproved ip\0";
    for udp in &mut clients {
        // While the tracker reloads, requests pass to the daemon, and so to the firewall.
        eventually(|| {
            let before = dropped(&server)?;
            let reply = udp.announce(&peer).err().map(|error| error.to_string());
            ensure!(reply.as_deref() == Some(refused), "{reply:?}");
            ensure!(dropped(&server)? == before, "the kernel has not refused it");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_firewall_does_not_see_what_the_kernel_answers_and_ip_approval_does() -> Result<()> {
    the_kernel_answers_before_the_firewall(Mode::Native)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn nor_does_a_firewall_see_what_generic_xdp_answers() -> Result<()> {
    the_kernel_answers_before_the_firewall(Mode::Generic)
}
