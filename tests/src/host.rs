//! Hosts with fixed names and addresses.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use crate::{Family, Namespace, XdpPass};

/// The one interface of a [`Host`].
pub const INTERFACE: &str = "eth0";

/// How many hosts have addresses and names.
const HOSTS: u8 = 16;

/// A namespace with an interface [`INTERFACE`] once a cable leads to it, and an address and a name of
/// either family, which it and all its kind know.
pub struct Host {
    /// Where its programs run.
    pub namespace: Arc<Namespace>,
    number: u8,
    is_first: bool,
}

impl Host {
    /// Makes one that no cable leads to yet. Its number is its own in the network, from 1.
    ///
    /// # Errors
    /// We are not root, or the number is too high.
    pub fn new(number: u8) -> Result<Self> {
        ensure!((1..=HOSTS).contains(&number), "there is no host {number}");
        let namespace = Namespace::new()?;
        let mut names = NamedTempFile::new()?;
        names.write_all(hosts_file().as_bytes())?;
        // The file itself goes on existing for as long as it is mounted.
        let path = names.path().to_str().context("path is not UTF-8")?;
        namespace.run("mount", &["--bind", path, "/etc/hosts"])?;
        Ok(Self { namespace: Arc::new(namespace), number, is_first: true })
    }

    /// Two hosts with a cable between them: what the first one's XDP program sends is delivered.
    ///
    /// # Errors
    /// As [`Host::new`], or `ip` or `ethtool` is missing.
    pub fn pair() -> Result<([Self; 2], XdpPass)> {
        let hosts = [Self::new(1)?, Self::new(2)?];
        hosts[0].namespace.cable(INTERFACE, &hosts[1].namespace, INTERFACE)?;
        for host in &hosts {
            host.set_up()?;
        }
        let far_end = XdpPass::attach(&hosts[1].namespace, INTERFACE)?;
        Ok((hosts, far_end))
    }

    /// Another one in the same namespace, with its own name and addresses at the same interface.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn beside(&self, number: u8) -> Result<Self> {
        ensure!((1..=HOSTS).contains(&number), "there is no host {number}");
        let namespace = Arc::clone(&self.namespace);
        let host = Self { namespace, number, is_first: false };
        host.add_addresses()?;
        Ok(host)
    }

    /// Gives the interface its addresses and switches it on.
    ///
    /// # Errors
    /// No cable leads to the host.
    pub fn set_up(&self) -> Result<()> {
        let ip = |args: &[&str]| self.namespace.run("ip", args);
        // Always the same, so that others find it again after another cable was laid.
        let mac = self.mac().map(|byte| format!("{byte:02x}")).join(":");
        ip(&["link", "set", INTERFACE, "address", &mac])?;
        self.add_addresses()?;
        ip(&["link", "set", INTERFACE, "up"])?;
        // transmission speaks IPv6 only where it sees a way to the Internet.
        ip(&["-6", "route", "add", "default", "dev", INTERFACE])?;
        Ok(())
    }

    fn add_addresses(&self) -> Result<()> {
        for (family, prefix) in [(Family::Ipv4, 24), (Family::Ipv6, 64)] {
            let address = format!("{}/{prefix}", self.ip(family));
            self.namespace.run("ip", &["addr", "add", &address, "dev", INTERFACE, "nodad"])?;
        }
        Ok(())
    }

    /// The MAC address of its interface.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    /// Its address.
    #[must_use]
    pub fn ip(&self, family: Family) -> IpAddr {
        address(self.number, family)
    }

    /// A name for its address of one family. Not every client that speaks IPv6 can read an address of
    /// it in a URL.
    #[must_use]
    pub fn name(&self, family: Family) -> String {
        name(self.number, family)
    }

    /// Whether its addresses are those that the system chooses for a client that is not bound to any.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Its number.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }
}

fn hosts_file() -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for number in 1..=HOSTS {
        for family in [Family::Ipv4, Family::Ipv6] {
            text += &format!("{} {}\n", address(number, family), name(number, family));
        }
    }
    text
}

fn address(number: u8, family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 77, 0, number).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

fn name(number: u8, family: Family) -> String {
    match family {
        Family::Ipv4 => format!("host{number}.ipv4.test"),
        Family::Ipv6 => format!("host{number}.ipv6.test"),
    }
}
