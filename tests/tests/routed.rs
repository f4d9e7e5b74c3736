//! Clients behind a router: with `reply: fib` replies follow the routing table.

use anyhow::{Context as _, Result, bail, ensure};
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Mode, Namespace, Options, Scratch, Tracker,
    UdpClient, XdpPass,
};

/// The default of `xdp.limits.throttle_interval`.
const THROTTLED_INTERVAL_S: u32 = 300;

fn leecher() -> Announce {
    Announce::leecher(InfoHash([0x5a; 20]), 1)
}

/// Runs `ip` with the words of a line.
fn ip(namespace: &Namespace, line: &str) -> Result<()> {
    namespace.run("ip", &line.split(' ').collect::<Vec<_>>())?;
    Ok(())
}

/// A client behind a router that has two cables to the tracker's host: requests come by the first.
struct Routed {
    server: Host,
    router: Namespace,
    client: Namespace,
    _far_ends: [XdpPass; 2],
}

impl Routed {
    fn new() -> Result<Self> {
        let (server, router, client) = (Host::new(1)?, Namespace::new()?, Namespace::new()?);
        server.namespace.cable(INTERFACE, &router, "first")?;
        server.namespace.cable("eth1", &router, "second")?;
        client.cable("eth0", &router, "clients")?;
        server.set_up()?;
        for (namespace, address, interface) in [
            (&router, "10.77.0.254/24", "first"),
            (&router, "10.78.0.254/24", "second"),
            (&router, "10.79.0.254/24", "clients"),
            (&*server.namespace, "10.78.0.1/24", "eth1"),
            (&client, "10.79.0.1/24", "eth0"),
        ] {
            ip(namespace, &format!("addr add {address} dev {interface}"))?;
            ip(namespace, &format!("link set {interface} up"))?;
        }
        ip(&client, "route add default via 10.79.0.254")?;
        for namespace in [&router, &*server.namespace] {
            // Forwards, and does not mind by which way a packet comes.
            let settings =
                "echo 1 > ip_forward; for filter in conf/*/rp_filter; do echo 0 > $filter; done";
            namespace.run("sh", &["-c", &format!("cd /proc/sys/net/ipv4; {settings}")])?;
        }
        let far_ends = [XdpPass::attach(&router, "first")?, XdpPass::attach(&router, "second")?];
        Ok(Self { server, router, client, _far_ends: far_ends })
    }

    /// Packets that the router has received by its second cable.
    fn received_by_the_second(&self) -> Result<u64> {
        let file = "/sys/class/net/second/statistics/rx_packets";
        self.router.run("cat", &[file])?.trim().parse().context("a counter is a number")
    }
}

/// How many of ten replies of the kernel come by the second cable, with a default route by `gateway`.
fn of_ten_by_the_second(gateway: &str) -> Result<u64> {
    let folder = Scratch::new()?;
    let net = Routed::new()?;
    ip(&net.server.namespace, &format!("route add default via {gateway}"))?;
    let options = Options { reply: "fib", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&net.server, &options, folder.path())?;
    let mut client = UdpClient::connect(&net.client, tracker.address(Family::Ipv4))?;
    // The first replies are the daemon's, until the system has learnt the gateway's MAC address.
    tracker.wait_for_kernel(&mut client, &leecher())?;

    let kernel = tracker.metrics()?.requests(None, "kernel");
    let second = net.received_by_the_second()?;
    for _ in 0..10 {
        client.announce(&leecher())?;
    }
    let answered = tracker.metrics()?.requests(None, "kernel") - kernel;
    ensure!(answered >= 10.0, "the kernel answered {answered} of 10 announces");
    Ok(net.received_by_the_second()? - second)
}

/// Answers nothing in the kernel, and says so.
#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_host_that_does_not_forward_cannot_look_up_routes() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    server.namespace.run("sh", &["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])?;
    let options = Options { reply: "fib", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let warning = "eth0: with xdp.reply: fib the daemon has to serve ipv4: the kernel looks up \
                   routes only if net.ipv4.conf.eth0.forwarding is 1\n";
    ensure!(tracker.output().contains(warning), "{}", tracker.output());
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    client.announce(&leecher())?;
    let metrics = tracker.metrics()?;
    ensure!(metrics.requests(None, "kernel") == 0.0, "the kernel has answered");
    let passed = metrics.sum("xdp_tracker_kernel_passed_total", &[("reason", "no reply possible")]);
    ensure!(passed > 0.0, "the requests were not counted as such");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn replies_that_are_routed_leave_as_the_request_came() -> Result<()> {
    let by_second = of_ten_by_the_second("10.77.0.254")?;
    // The odd packet of the system's own, such as a router solicitation, is none of ours.
    ensure!(by_second < 10, "{by_second} of 10 came by the second cable");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn replies_that_are_routed_leave_by_another_interface() -> Result<()> {
    let by_second = of_ten_by_the_second("10.78.0.254")?;
    ensure!(by_second >= 10, "{by_second} of 10 came by the second cable");
    Ok(())
}

/// What clients behind the router are sent by the second cable counts there, and leaves those on the first cable
/// alone, by which all requests come.
#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_routed_reply_counts_for_the_interface_that_it_leaves_by() -> Result<()> {
    let folder = Scratch::new()?;
    let net = Routed::new()?;
    ip(&net.server.namespace, "route add default via 10.78.0.254")?;
    let options = Options { reply: "fib", egress: "1KiB", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&net.server, &options, folder.path())?;
    let address = tracker.address(Family::Ipv4);
    let mut near = UdpClient::connect(&net.router, address)?;
    let mut far = UdpClient::connect(&net.client, address)?;
    tracker.wait_for_kernel(&mut near, &leecher())?;
    tracker.wait_for_kernel(&mut far, &leecher())?;

    let is_throttled = |client: &mut UdpClient| {
        anyhow::Ok(client.announce(&leecher())?.interval_s == THROTTLED_INTERVAL_S)
    };
    for _ in 0..1000 {
        if is_throttled(&mut far)? {
            ensure!(!is_throttled(&mut near)?, "the interface of arrival was charged");
            return Ok(());
        }
    }
    bail!("a thousand replies were within an egress limit of 1 KiB/s")
}

/// The kernel's connection ids to the clients behind the router, with a default route by `gateway`.
fn connects_answered_in_the_kernel(gateway: &str) -> Result<f64> {
    let folder = Scratch::new()?;
    let net = Routed::new()?;
    ip(&net.server.namespace, &format!("route add default via {gateway}"))?;
    let options = Options { reverse_path: "on", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&net.server, &options, folder.path())?;
    // The daemon gives the first id, and the system learns the gateway's MAC address by that.
    let mut client = UdpClient::connect(&net.client, tracker.address(Family::Ipv4))?;
    for _ in 0..5 {
        client.reconnect()?;
    }
    tracker.wait_for_kernel(&mut client, &leecher())?;
    Ok(tracker.metrics()?.requests(Some("connect"), "kernel"))
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn with_reverse_path_on_the_kernel_gives_ids_to_sources_whose_way_back_is_the_way_they_came()
-> Result<()> {
    let answered = connects_answered_in_the_kernel("10.77.0.254")?;
    ensure!(answered >= 5.0, "the kernel has answered {answered} of 6 connects");
    let answered = connects_answered_in_the_kernel("10.78.0.254")?;
    ensure!(answered == 0.0, "the kernel has answered {answered} connects from the wrong way");
    Ok(())
}

/// Routes name the bridge, and the program runs on its port.
#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn with_reverse_path_on_the_kernel_gives_ids_by_a_port_of_a_bridge() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let address = server.ip(Family::Ipv4);
    for line in [
        "link add br0 type bridge mcast_snooping 0",
        &format!("addr del {address}/24 dev {INTERFACE}"),
        &format!("link set {INTERFACE} master br0"),
        &format!("addr add {address}/24 dev br0"),
        "link set br0 up",
    ] {
        ip(&server.namespace, line)?;
    }
    server.namespace.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
    let udp_addr = format!("{address}:6969");
    let options = Options { udp_addr: &udp_addr, reverse_path: "on", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut client, &leecher())?;
    let before = tracker.metrics()?.requests(Some("connect"), "kernel");
    for _ in 0..5 {
        client.reconnect()?;
    }
    let answered = tracker.metrics()?.requests(Some("connect"), "kernel") - before;
    ensure!(answered >= 5.0, "the kernel has answered {answered} of 5 connects");
    Ok(())
}
