//! Hosts around a switch.

use anyhow::Result;

use crate::{Host, Namespace, XdpPass, host::INTERFACE};

/// A switch that hosts are joined to by cables.
pub struct Lan {
    switch: Namespace,
    hosts: u8,
    // One at each port.
    programs: Vec<XdpPass>,
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
        Ok(Self { switch, hosts: 0, programs: Vec::new() })
    }

    /// Joins a new host.
    ///
    /// # Errors
    /// As [`Lan::new`], or all addresses are taken.
    pub fn join(&mut self) -> Result<Host> {
        self.hosts += 1;
        let host = Host::new(self.hosts)?;
        self.plug_in(&host)?;
        Ok(host)
    }

    /// Lays a cable from the switch to a host that none leads to, and sets the host up.
    ///
    /// # Errors
    /// As [`Lan::new`].
    pub fn plug_in(&mut self, host: &Host) -> Result<()> {
        let port = format!("port{}", host.number());
        host.namespace.cable(INTERFACE, &self.switch, &port)?;
        self.switch.run("ip", &["link", "set", &port, "master", "br0", "up"])?;
        self.programs.push(XdpPass::attach(&self.switch, &port)?);
        host.set_up()
    }

    /// Takes a host's cable away, and with it the host's interface.
    ///
    /// # Errors
    /// There is none.
    pub fn unplug(&self, host: &Host) -> Result<()> {
        host.namespace.run("ip", &["link", "delete", INTERFACE])?;
        Ok(())
    }
}
