//! Which interfaces `auto` stands for.

use std::{collections::BTreeSet, fs, io};

use super::{AttachMode, XdpConfig};

/// The name that stands for the interfaces with a default route.
pub(super) const AUTO: &str = "auto";

impl XdpConfig {
    /// The interfaces to attach to, `auto` resolved; none when the mode is `off`.
    ///
    /// # Errors
    /// When `auto` is among them and the kernel's routing tables cannot be read.
    pub fn interface_names(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        if self.mode == AttachMode::Off {
            return Ok(names);
        }
        for name in &self.interfaces {
            match name.as_str() {
                AUTO => names.extend(default_route_interfaces()?),
                name => _ = names.insert(name.to_owned()),
            }
        }
        Ok(names)
    }
}

/// The names of the interfaces that have a default route, IPv4 or IPv6, in alphabetical order.
///
/// # Errors
/// When the kernel's routing tables cannot be read.
fn default_route_interfaces() -> io::Result<BTreeSet<String>> {
    let ipv4 = fs::read_to_string("/proc/net/route")?;
    // Absent where IPv6 is off.
    let ipv6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    Ok(ipv4_defaults(&ipv4).chain(ipv6_defaults(&ipv6)).map(str::to_owned).collect())
}

/// `RTF_REJECT`: the route exists to refuse packets.
const REJECT: u32 = 0x200;

/// Columns: interface, destination, gateway, flags, refcnt, use, metric, mask, ...
fn ipv4_defaults(table: &str) -> impl Iterator<Item = &str> {
    table.lines().skip(1).filter_map(|line| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = columns[..] else {
            return None;
        };
        is_usable(flags).then_some(interface)
    })
}

/// Columns: destination, its prefix length, source, its length, next hop, metric, refcnt, use,
/// flags, interface.
fn ipv6_defaults(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "00", _, _, _, _, _, _, flags, interface] = columns[..] else {
            return None;
        };
        (is_usable(flags) && interface != "lo").then_some(interface)
    })
}

fn is_usable(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & REJECT == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_attached_to_once_and_only_if_wanted() {
        let mut xdp = XdpConfig {
            interfaces: ["eth1", "eth0", "eth1"].map(str::to_owned).to_vec(),
            ..XdpConfig::default()
        };
        assert!(xdp.interface_names().unwrap().iter().eq(["eth0", "eth1"]));
        xdp.mode = AttachMode::Off;
        assert!(xdp.interface_names().unwrap().is_empty());
    }

    #[test]
    fn ipv4_default_routes_are_those_without_mask() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth1\t00000000\t010200C0\t0203\t0\t0\t100\t00000000\t0\t0\t0
eth2\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";
        assert_eq!(ipv4_defaults(table).collect::<Vec<_>>(), ["eth0"]);
    }

    #[test]
    fn ipv6_default_routes_are_those_of_length_zero() {
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe80{gw} 00000400 00000001 00000000 00000003 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
             fe80{gw} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth1\n",
            gw = "0".repeat(28),
        );
        assert_eq!(ipv6_defaults(&table).collect::<Vec<_>>(), ["eth0"]);
    }
}
