//! Veth pairs: the load generator at the near end, a tracker on a host of its own at the far end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use loadgen::Target;
use nix::net::if_::if_nametoindex;
use tracker_tests::Namespace;

use super::processor;

/// The interface at the far end.
pub const INTERFACE: &str = "eth0";

/// The port that every tracker serves.
pub const PORT: u16 = 6969;

/// The addresses of every far end; each is in a namespace of its own.
pub const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

/// The gateway to all clients. Nobody has these addresses, but their MAC address is known.
const NEAR_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// A veth pair.
pub struct Cable {
    /// The host at the far end.
    pub far: Namespace,
    /// The index of the interface at the near end.
    pub near: u32,
    number: u8,
}

impl Cable {
    /// Lays the cable with this number between `home` and a new host, with a queue for each processor.
    ///
    /// # Errors
    /// We are not root, or `ip` or `ethtool` is missing.
    pub fn new(home: &Namespace, number: u8) -> Result<Self> {
        let far = Namespace::new()?;
        let near = format!("near{number}");
        let queues = processor::count().to_string();
        let queues = ["numtxqueues", &queues, "numrxqueues", &queues];
        let [near_mac, far_mac] = [mac(number, 1), mac(number, 2)].map(text);
        home.run(
            "ip",
            &[
                ["link", "add", &near, "address", &near_mac].as_slice(),
                &queues,
                &["type", "veth", "peer", "name", INTERFACE, "address", &far_mac],
                &queues,
                &["netns", &far.path()],
            ]
            .concat(),
        )?;
        home.run("ip", &["link", "set", &near, "up"])?;
        let near = home.enter(|| if_nametoindex(near.as_str()))?;
        let ip = |line: String| far.run("ip", &line.split(' ').collect::<Vec<_>>());
        ip(format!("link set {INTERFACE} up"))?;
        ip(format!("addr add {FAR_V4}/24 dev {INTERFACE}"))?;
        ip(format!("addr add {FAR_V6}/64 dev {INTERFACE} nodad"))?;
        for gateway in [IpAddr::from(NEAR_V4), IpAddr::from(NEAR_V6)] {
            ip(format!("neigh replace {gateway} lladdr {near_mac} nud permanent dev {INTERFACE}"))?;
            let family = if gateway.is_ipv4() { "-4" } else { "-6" };
            ip(format!("{family} route add default via {gateway} dev {INTERFACE}"))?;
        }
        // Without an XDP program of its own an interface takes frames from XDP only if it polls.
        far.run("ethtool", &["-K", INTERFACE, "gro", "on"])?;
        Ok(Self { far, near, number })
    }

    /// How requests reach the far end.
    pub fn target(&self) -> Target {
        Target {
            mac: mac(self.number, 2),
            source_mac: mac(self.number, 1),
            v4: FAR_V4.octets(),
            v6: FAR_V6.octets(),
            port: PORT.to_be_bytes(),
            sample_mask: u32::MAX,
            ..Target::default()
        }
    }
}

fn mac(number: u8, end: u8) -> [u8; 6] {
    [2, 0, 0, 0x77, number, end]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
