//! Attaches the program to interfaces, and again when they come back.

use std::{fs, iter, sync::Arc};

use anyhow::{Context as _, bail};
use aya::programs::ProgramError;
use nix::{
    errno::Errno,
    net::if_::{if_nameindex, if_nametoindex},
};
use tracker_common::{
    abi::{self, LINKS, Link},
    time::Jiffies,
};

use super::{
    Kernel, link,
    load::Hold,
    nic,
    occupant::Occupant,
    plan::{Facts, GENERIC, NATIVE, Plan, and_above, below, plan},
    refusal,
};
use crate::{
    config::{AttachMode, ReplyRoute, ReversePath, VerifyChecksums, XdpConfig},
    metrics::Metrics,
};

/// Keeps the program attached to interfaces by name.
pub(super) struct Attacher {
    kernel: Kernel,
    mode: AttachMode,
    /// The setting by which the program asks for routes.
    asks_routes: Option<&'static str>,
    verify: VerifyChecksums,
    interfaces: Vec<Interface>,
    metrics: Arc<Metrics>,
    /// [`PASSES_FIREWALLS`] has been logged.
    has_told_of_firewalls: bool,
}

/// Logged once, when the program is first attached: operators look for missing packets in their firewall.
const PASSES_FIREWALLS: &str = "what the kernel answers passes no firewall: nftables, iptables and tcpdump never \
     see it. To refuse addresses take the hook ip approval, to bound rates xdp.limits, and to keep an \
     interface behind the firewall leave it out of xdp.interfaces";

struct Interface {
    name: String,
    /// The index by which the system knew the interface when it was last attached to, in vain or
    /// not: only another one is worth a new attempt. 0 when there is none.
    index: u32,
    hold: Option<Hold>,
    /// The program was attached, and then it was not, without our doing.
    loss: Option<Loss>,
}

/// How an interface looked that has lost the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It has no XDP program.
    Vacant,
    /// It has another one.
    Taken,
}

impl Interface {
    fn new(name: String) -> Self {
        Self { name, index: 0, hold: None, loss: None }
    }
}

impl Attacher {
    /// Attaches to nothing yet.
    pub(super) fn new(
        kernel: Kernel,
        names: Vec<String>,
        config: &XdpConfig,
        metrics: Arc<Metrics>,
    ) -> Self {
        let interfaces = names.into_iter().map(Interface::new).collect();
        Self {
            kernel,
            mode: config.mode,
            asks_routes: asks_routes(config),
            verify: config.verify_checksums,
            interfaces,
            metrics,
            has_told_of_firewalls: false,
        }
    }

    /// Detaches from interfaces that are not among these, or were attached to in another mode. The
    /// next [`Attacher::follow`] attaches to the others.
    pub(super) fn reload(&mut self, names: &[String], config: &XdpConfig) {
        self.asks_routes = asks_routes(config);
        self.verify = config.verify_checksums;
        if config.mode != self.mode {
            self.detach();
            self.mode = config.mode;
        }
        for i in (0..self.interfaces.len()).rev() {
            if !names.contains(&self.interfaces[i].name) {
                self.detach_from(i);
                let Interface { name, .. } = self.interfaces.remove(i);
                tracing::info!("{name}: answering in userspace");
            }
        }
        for name in names {
            if !self.interfaces.iter().any(|interface| interface.name == *name) {
                self.interfaces.push(Interface::new(name.clone()));
            }
        }
    }

    /// Attaches to interfaces that are new or have come back, and says so. Where the program
    /// cannot be attached the daemon serves the interface.
    ///
    /// # Errors
    /// The first failure, unless the mode is `auto`.
    pub(super) fn follow(&mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for i in 0..self.interfaces.len() {
            let interface = &mut self.interfaces[i];
            // Where the system does not tell, what was true before is.
            let index = index_of(&interface.name).unwrap_or(interface.index);
            if index == interface.index {
                let watched = self.watch(i);
                result = result.and(watched);
                continue;
            }
            if index == 0 {
                tracing::warn!("{}: the interface is gone", self.interfaces[i].name);
            }
            self.detach_from(i);
            self.interfaces[i].index = index;
            if index != 0
                && let Err(error) = self.attach_to(i)
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        result
    }

    /// The interfaces with the program, as it is told of them. Two of which the indices differ by a multiple of
    /// [`LINKS`] have one slot, and the daemon serves the second.
    pub(super) fn links(&self) -> [Link; LINKS] {
        let mut links = [Link::default(); LINKS];
        for Interface { name, index, .. } in
            self.interfaces.iter().filter(|interface| interface.hold.is_some())
        {
            let Some([a, b, c, d, e, f]) = link::mac(*index) else { continue };
            let start = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
            let flags = checksum_flags(self.verify, || nic::hands_over_partial_sums(name, *index));
            // The kernel runs the program of a bond on the interfaces below it, with their indices.
            let below =
                below(name).filter_map(|name| index_of(&name).ok()).filter(|&index| index != 0);
            for index in iter::once(*index).chain(below) {
                let routed_as = link::routed_as(index);
                let link = Link { key: Link::key(start, index), flags, routed_as };
                let slot = &mut links[Link::slot(index) as usize];
                if *slot == Link::default() {
                    *slot = link;
                } else if slot.key != link.key {
                    self.metrics.limit_reached("kernel_interfaces").inc();
                }
            }
        }
        links
    }

    /// The indices of the interfaces of which the program has seen all requests that come to the daemon's sockets.
    pub(super) fn seen(&self, links: &[Link; LINKS]) -> Vec<u32> {
        let is_told_of = |index: u32| {
            let Link { key, .. } = links[Link::slot(index) as usize];
            key != 0 && Link::key(key, index) == key
        };
        let attached = self.interfaces.iter().filter(|interface| interface.hold.is_some());
        let seen = attached.filter(|it| is_told_of(it.index)).map(|it| it.name.clone());
        and_above(seen)
            .iter()
            .filter_map(|name| index_of(name).ok())
            .filter(|index| *index != 0)
            .collect()
    }

    /// Sees whether an interface still runs the program. Where it does not, says so, and attaches again.
    ///
    /// A program that replaces ours detaches it first. So the interface must have been vacant twice in a
    /// row, and another program has it for as long as it likes.
    fn watch(&mut self, i: usize) -> anyhow::Result<()> {
        let Interface { name, index, hold, loss } = &self.interfaces[i];
        if hold.is_none() && loss.is_none() {
            return Ok(());
        }
        // Where the system does not tell, what was true before is.
        let Some(programs) = link::attached_programs(*index) else { return Ok(()) };
        if hold.is_some() && programs.contains(&self.kernel.program_id()?) {
            return Ok(());
        }
        let now = if programs.is_empty() { Loss::Vacant } else { Loss::Taken };
        let before = *loss;
        if before == Some(Loss::Vacant) && now == Loss::Vacant {
            self.interfaces[i].loss = None;
            return self.attach_to(i);
        }
        if before != Some(now) {
            say_lost(name, *index, now);
        }
        self.interfaces[i].loss = Some(now);
        if let Some(hold) = self.interfaces[i].hold.take() {
            let Interface { name, index, .. } = &self.interfaces[i];
            self.kernel.release(hold, *index);
            self.metrics.attach().set(name, Some("userspace"));
        }
        Ok(())
    }

    /// Detaches from all interfaces.
    pub(super) fn detach(&mut self) {
        for i in 0..self.interfaces.len() {
            self.detach_from(i);
        }
    }

    fn attach_to(&mut self, i: usize) -> anyhow::Result<()> {
        let Interface { name, index, hold, .. } = &mut self.interfaces[i];
        let facts = Facts::of(name, *index);
        let plan = plan(self.mode, &facts);
        let (mode, result) = match attach(&mut self.kernel, name, *index, &facts, &plan) {
            Ok(Attached { hold: new, mode, refusals }) => {
                *hold = Some(new);
                say(name, mode, self.mode, &facts, &refusals);
                (mode, Ok(()))
            }
            Err(error) if self.mode == AttachMode::Auto => {
                tracing::warn!("{error:#}; answering in userspace");
                ("userspace", Ok(()))
            }
            Err(error) => {
                tracing::warn!("{name}: answering in userspace");
                ("userspace", Err(error))
            }
        };
        say_checksums(name, *index, self.verify);
        if hold.is_some() && !self.has_told_of_firewalls {
            self.has_told_of_firewalls = true;
            tracing::info!("{PASSES_FIREWALLS}");
        }
        if let Some(setting) = self.asks_routes {
            // The kernel asks for the interface by which the program runs.
            for name in iter::once(name.clone()).chain(below(name)) {
                warn_unless_forwarding(&name, setting);
            }
        }
        self.metrics.attach().set(name, Some(mode));
        result
    }

    fn detach_from(&mut self, i: usize) {
        let Interface { name, index, hold, loss } = &mut self.interfaces[i];
        *loss = None;
        self.metrics.attach().set(name, None);
        let index = std::mem::take(index);
        if let Some(hold) = hold.take() {
            self.kernel.release(hold, index);
        }
    }

    /// [`Kernel::jiffies`].
    pub(super) fn jiffies(&self) -> anyhow::Result<Jiffies> {
        self.kernel.jiffies()
    }

    /// Removes what a daemon before has left and this one has not taken over.
    pub(super) fn tidy(&self) {
        let indices: Vec<_> = self.interfaces.iter().map(|interface| interface.index).collect();
        self.kernel.tidy(&indices);
    }

    /// Leaves nothing behind.
    pub(super) fn remove(mut self) {
        self.detach();
        self.kernel.remove();
    }
}

/// The program on an interface.
struct Attached {
    hold: Hold,
    mode: &'static str,
    /// Why it does not run in modes that are better.
    refusals: Vec<String>,
}

/// Takes the place of the program of a daemon before, or else attaches, in the first mode of the plan
/// that can be had.
fn attach(
    kernel: &mut Kernel,
    interface: &str,
    index: u32,
    facts: &Facts,
    plan: &Plan,
) -> anyhow::Result<Attached> {
    let mut refusals = Vec::new();
    for mode in [NATIVE, GENERIC] {
        match kernel.take_over(index, mode) {
            Some(hold) if plan.modes.contains(&mode) => {
                return Ok(Attached { hold, mode, refusals });
            }
            Some(hold) => kernel.release(hold, index),
            None => {}
        }
    }
    for &mode in plan.modes {
        let error = match kernel.attach(index, mode) {
            Ok(hold) => return Ok(Attached { hold, mode, refusals }),
            Err(error) => error,
        };
        let errno = errno(&error);
        if let Some(libc::EBUSY | libc::EEXIST) = errno
            && let Some(occupant) = Occupant::of(index)
        {
            // It is in the way of every mode.
            let (kind, advice) = (occupant.kind(), occupant.advice(interface));
            bail!("{interface}: {kind} is attached ({occupant}): {advice}");
        }
        let words = kernel.refusal(index, mode);
        refusals.push(match errno {
            Some(errno) => refusal::explain(interface, facts, mode, errno, words),
            None => format!("{error:#}"),
        });
    }
    refusals.extend(plan.excluded.clone());
    bail!("{interface}: {}", refusals.join("; "))
}

/// The system's number for why a program could not be attached.
fn errno(error: &anyhow::Error) -> Option<i32> {
    match error.downcast_ref() {
        Some(ProgramError::SyscallError(error)) => error.io_error.raw_os_error(),
        _ => None,
    }
}

/// Says how an interface is served, and why not faster.
fn say(interface: &str, mode: &str, wanted: AttachMode, facts: &Facts, refusals: &[String]) {
    if mode == NATIVE {
        if facts.is_veth {
            tracing::warn!(
                "{interface}: answering in the driver (native XDP); this is a veth pair, which delivers \
                 the replies only while its other end has an XDP program too"
            );
        } else {
            tracing::info!("{interface}: answering in the driver (native XDP)");
        }
        return;
    }
    let generic = "answering in the network stack (generic XDP)";
    if facts.is_veth && wanted != AttachMode::Generic {
        tracing::info!("{interface}: {generic}, as is safe for a veth pair");
    } else if refusals.is_empty() {
        tracing::info!("{interface}: {generic}");
    } else {
        tracing::warn!("{interface}: {generic}, which is slower: {}", refusals.join("; "));
    }
    if facts.ethtool(interface).is_some() {
        tracing::info!(
            "{interface}: the kernel has switched off rx-gro-hw and large-receive-offload, which generic XDP excludes"
        );
    }
}

/// The bits of [`abi::link`] for an interface.
fn checksum_flags(verify: VerifyChecksums, has_partial: impl FnOnce() -> bool) -> u32 {
    match verify {
        VerifyChecksums::Off => 0,
        VerifyChecksums::Auto if has_partial() => abi::link::VERIFY | abi::link::PARTIAL,
        VerifyChecksums::Auto | VerifyChecksums::On => abi::link::VERIFY,
    }
}

/// What is verified of the datagrams that arrive at an interface.
pub(super) fn checksums(interface: &str, index: u32, verify: VerifyChecksums) -> &'static str {
    match checksum_flags(verify, || nic::hands_over_partial_sums(interface, index)) {
        0 => "not verified",
        abi::link::VERIFY => "verified",
        _ => "verified, or partial: the driver hands over datagrams without one",
    }
}

fn say_checksums(interface: &str, index: u32, verify: VerifyChecksums) {
    tracing::info!("{interface}: UDP checksums are {}", checksums(interface, index, verify));
}

/// The setting by which the program asks for routes, if there is one.
fn asks_routes(config: &XdpConfig) -> Option<&'static str> {
    match (config.reply, config.reverse_path) {
        (ReplyRoute::Fib, _) => Some("xdp.reply: fib"),
        (_, ReversePath::On) => Some("xdp.reverse_path: on"),
        _ => None,
    }
}

/// Says that an interface does not run the program any more.
fn say_lost(interface: &str, index: u32, loss: Loss) {
    match loss {
        Loss::Vacant => tracing::warn!(
            "{interface}: the XDP program is attached no more, which was not the tracker's doing; \
             it is attached again unless another program takes the interface"
        ),
        Loss::Taken => tracing::warn!(
            "{interface}: another XDP program ({}) has taken the place of the tracker's; answering in \
             userspace until it has gone",
            Occupant::of(index).map_or_else(
                || "the system does not tell which".to_owned(),
                |occupant| occupant.to_string(),
            ),
        ),
    }
}

/// The kernel answers a program's question for a route only where packets are forwarded.
fn warn_unless_forwarding(interface: &str, why: &str) {
    for family in ["ipv4", "ipv6"] {
        let setting = format!("net.{family}.conf.{interface}.forwarding");
        // Not by dots, which an interface's name may have.
        let file = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
        // Where the file is missing, so is the address family.
        if fs::read_to_string(file).is_ok_and(|value| value.trim() == "0") {
            tracing::warn!(
                "{interface}: with {why} the daemon has to serve {family}: the kernel looks \
                 up routes only if {setting} is 1"
            );
        }
    }
}

/// Whether the system has the interface now.
///
/// # Errors
/// Names those that it has.
pub(super) fn check_exists(name: &str) -> anyhow::Result<()> {
    let index = index_of(name).with_context(|| {
        format!("xdp.interfaces: the system does not tell whether there is an interface `{name}`")
    })?;
    if index != 0 {
        return Ok(());
    }
    let all = if_nameindex()?;
    let all: Vec<_> = all.iter().map(|interface| interface.name().to_string_lossy()).collect();
    bail!("xdp.interfaces: there is no interface `{name}`; there are {}", all.join(", "))
}

/// 0 if there is no such interface.
///
/// # Errors
/// The system cannot be asked: that takes a file descriptor.
fn index_of(name: &str) -> nix::Result<u32> {
    match if_nametoindex(name) {
        Err(Errno::ENODEV) => Ok(0),
        asked => asked,
    }
}
