//! Hosts around a switch.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use crate::{Family, Namespace, XdpPass};

/// The one interface of a [`Host`].
pub const INTERFACE: &str = "eth0";

/// How many hosts a [`Lan`] has addresses and names for.
const MAX_HOSTS: u8 = 16;

/// A switch that hosts are joined to by veth pairs.
pub struct Lan {
    switch: Namespace,
    hosts: u8,
    // Every host's `/etc/hosts`.
    names: NamedTempFile,
    // One at each port.
    programs: Vec<XdpPass>,
}

/// A host of a [`Lan`]: a namespace with one interface, and an address and a name of either family.
pub struct Host {
    /// Where its programs run.
    pub namespace: Namespace,
    number: u8,
}

impl Lan {
    /// A switch that nobody is joined to yet.
    ///
    /// # Errors
    /// We are not root, or `ip` or `ethtool` is missing.
    pub fn new() -> Result<Self> {
        let switch = Namespace::new()?;
        // Snooping would hold back neighbour solicitations until it has learnt who wants them.
        switch.run("ip", &["link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        switch.run("ip", &["link", "set", "br0", "up"])?;
        let mut names = NamedTempFile::new()?;
        names.write_all(hosts_file().as_bytes())?;
        Ok(Self { switch, hosts: 0, names, programs: Vec::new() })
    }

    /// Joins a new host.
    ///
    /// # Errors
    /// As [`Lan::new`], or all addresses are taken.
    pub fn join(&mut self) -> Result<Host> {
        ensure!(self.hosts < MAX_HOSTS, "the LAN is full");
        self.hosts += 1;
        let host = Host { namespace: Namespace::new()?, number: self.hosts };
        let program = self.plug_in(&host)?;
        self.programs.push(program);

        let names = self.names.path().to_str().context("path is not UTF-8")?;
        host.namespace.run("mount", &["--bind", names, "/etc/hosts"])?;
        let ip = |args: &[&str]| host.namespace.run("ip", args);
        let [ipv4, ipv6] = [Family::Ipv4, Family::Ipv6].map(|family| host.ip(family));
        ip(&["addr", "add", &format!("{ipv4}/24"), "dev", INTERFACE])?;
        ip(&["addr", "add", &format!("{ipv6}/64"), "dev", INTERFACE, "nodad"])?;
        ip(&["link", "set", INTERFACE, "up"])?;
        // transmission speaks IPv6 only where it sees a way to the Internet.
        ip(&["-6", "route", "add", "default", "dev", INTERFACE])?;
        Ok(host)
    }

    /// Lays the cable between a port of the switch and the host.
    fn plug_in(&self, host: &Host) -> Result<XdpPass> {
        let port = format!("port{}", host.number);
        let far_end = ["peer", INTERFACE, "netns", &host.namespace.path()];
        self.switch
            .run("ip", &[["link", "add", &port, "type", "veth"].as_slice(), &far_end].concat())?;
        self.switch.run("ip", &["link", "set", &port, "master", "br0", "up"])?;
        // Packets as they would come off a wire: with a whole checksum.
        host.namespace.run("ethtool", &["-K", INTERFACE, "tx", "off"])?;
        // What an XDP program sends back over a veth pair is seen by the other end only once that is
        // woken, which the kernel does where it has a program of its own. (Polling for GRO is not
        // enough: then replies wait for the next packet that takes the ordinary way.)
        XdpPass::attach(&self.switch, &port)
    }
}

impl Host {
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
}

fn hosts_file() -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for number in 1..=MAX_HOSTS {
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
