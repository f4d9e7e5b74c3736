//! `xdp-tracker probe`: what this host can do, and what to change.

use std::{fmt, fs, path::Path, thread};

use nix::{
    net::if_::if_nametoindex,
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{
    attach, interfaces,
    nic::{self, Offload, Offloads, Queues, Spreading},
    occupant::Occupant,
    plan::{Facts, GENERIC, NATIVE, plan},
    probe,
};
use crate::config::{AttachMode, Config};

/// Frames above this do not fit a page with what a driver adds, so that many drivers refuse XDP.
const MTU_MAX: u32 = 3498;

/// One finding: what was looked at, what it is, and what to do about it, if anything.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    what: String,
    is: String,
    advice: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.advice.is_some() { '!' } else { ' ' };
        write!(f, "{mark} {:<24} {}", self.what, self.is)?;
        self.advice.iter().try_for_each(|advice| write!(f, "\n      {advice}"))
    }
}

/// Looks at the host, and at the interfaces of the configuration.
///
/// # Errors
/// When an interface does not exist.
pub fn survey(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = host(&config.xdp.pin_path);
    for name in interfaces(config)? {
        findings.extend(interface(&name, config.xdp.mode, &config.xdp.pin_path));
        let index = if_nametoindex(name.as_str()).unwrap_or(0);
        let checksums = attach::checksums(&name, index, config.xdp.verify_checksums);
        findings.push(finding(format!("{name} UDP checksums"), checksums, None));
    }
    Ok(findings)
}

fn finding(what: impl Into<String>, is: impl Into<String>, advice: Option<String>) -> Finding {
    Finding { what: what.into(), is: is.into(), advice }
}

fn host(pin_path: &Path) -> Vec<Finding> {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = probe::check_kernel(&release).err().map(|error| format!("{error:#}"));
    let lacking = probe::check_capabilities().err().map(|error| format!("{error:#}"));
    let capabilities = if lacking.is_some() { "not enough" } else { "all that are needed" };
    let jit = read("/proc/sys/net/core/bpf_jit_enable").unwrap_or_default();
    let jit_advice = (jit == "0").then(|| {
        "`sysctl net.core.bpf_jit_enable=1`: without it the \
        program is interpreted"
            .to_owned()
    });
    let mut findings = vec![
        finding("kernel", release, kernel),
        finding("capabilities", capabilities, lacking),
        finding("BPF compiler", if jit == "0" { "off" } else { "on" }, jit_advice),
    ];
    if !pin_path.as_os_str().is_empty() {
        let existing = pin_path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let is_bpffs = statfs(existing).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
        let advice = (!is_bpffs).then(|| {
            "`mount -t bpf bpf /sys/fs/bpf`, or a restart loses the \
            swarms; the tracker tries it at the start"
                .to_owned()
        });
        let is = if is_bpffs { "on a BPF file system" } else { "not on a BPF file system" };
        findings.push(finding("xdp.pin_path", is, advice));
    }
    findings
}

fn interface(name: &str, wanted: AttachMode, pin_path: &Path) -> Vec<Finding> {
    let of = |file: &str| read(&format!("/sys/class/net/{name}/{file}"));
    let what = |about: &str| format!("{name} {about}");
    let index = if_nametoindex(name).unwrap_or(0);
    let facts = Facts::of(name, index);
    let (xdp, xdp_advice) = mode(wanted, &facts);
    let mtu: u32 = of("mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or(0);
    let mtu_advice = (mtu > MTU_MAX).then(|| {
        format!("many drivers have no XDP above {MTU_MAX}: `ip link set {name} mtu 1500`")
    });
    let cpus = thread::available_parallelism().map_or(1, usize::from) as u32;
    let queues = nic::queues(name);
    let (used, queue_advice) = queues_in_use(name, queues, cpus);
    let (spread, spread_advice) = spreading(name, queues, nic::spreading(name));
    let occupant = Occupant::of(index);
    let (program, program_advice) = match occupant {
        None => ("none".to_owned(), None),
        Some(occupant) if occupant.is_running_with(pin_path) => {
            (format!("{occupant}, of the tracker of this configuration, which runs"), None)
        }
        Some(occupant) => (occupant.to_string(), Some(occupant.advice(name))),
    };
    vec![
        finding(what("driver"), nic::driver(name).unwrap_or_else(|| "untold".to_owned()), None),
        finding(what("XDP"), xdp, xdp_advice),
        finding(what("offloads"), offloads(facts.offloads), None),
        finding(what("link"), of("operstate").unwrap_or_default(), None),
        finding(what("MTU"), mtu.to_string(), mtu_advice),
        finding(what("receive queues"), used, queue_advice),
        finding(what("spreading (RSS)"), spread, spread_advice),
        finding(what("program"), program, program_advice),
    ]
}

/// How the program will be attached.
fn mode(wanted: AttachMode, facts: &Facts) -> (&'static str, Option<String>) {
    let plan = plan(wanted, facts);
    let tries = |mode| plan.modes.contains(&mode);
    let has_driver = facts.runs_xdp != Some(false);
    if tries(NATIVE) && (has_driver || !tries(GENERIC)) {
        let advice = match facts.runs_xdp {
            _ if facts.is_veth => {
                Some("the other end of the veth pair needs an XDP program too".to_owned())
            }
            Some(false) => Some(no_driver(plan.excluded)),
            // Where the driver refuses, there is nothing else.
            _ => plan.excluded,
        };
        return match facts.runs_xdp {
            Some(false) => ("in userspace", advice),
            Some(true) if advice.is_some() && !facts.is_veth => {
                ("in the driver (native) if it takes the program, else in userspace", advice)
            }
            Some(true) => ("in the driver (native)", advice),
            None => ("in the driver (native) if it can; this kernel does not tell", advice),
        };
    }
    match plan.excluded {
        Some(excluded) => ("in userspace", Some(excluded)),
        None if facts.is_veth => (
            "in the network stack (generic): it is a veth pair",
            Some("`mode: native` is faster, and needs an XDP program at the other end".to_owned()),
        ),
        None if has_driver => (
            "in the network stack (generic)",
            Some("`mode: auto` is faster: its driver has XDP".to_owned()),
        ),
        None => (
            "in the network stack (generic)",
            Some("its driver has no XDP, so the kernel answers more slowly".to_owned()),
        ),
    }
}

/// What keeps an interface from being answered on whose driver runs no programs.
fn no_driver(excluded: Option<String>) -> String {
    let driver = "its driver has no XDP with the present settings of the NIC".to_owned();
    [Some(driver), excluded].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn offloads(Offloads { gro_hw, lro }: Offloads) -> String {
    let word = |offload| match offload {
        Offload::Off => "off",
        Offload::On => "on (generic XDP switches it off)",
        Offload::Fixed => "on [fixed]",
    };
    format!("rx-gro-hw {}, large-receive-offload {}", word(gro_hw), word(lro))
}

fn queues_in_use(name: &str, queues: Option<Queues>, cpus: u32) -> (String, Option<String>) {
    let Some(Queues { used, max }) = queues else { return ("untold".to_owned(), None) };
    let is = format!("{used} of {max}, for {cpus} processors");
    let wanted = cpus.min(max);
    let advice = (used < wanted).then(|| {
        format!(
            "one for each processor can answer at a time: `ethtool -L {name} combined {wanted}`"
        )
    });
    (is, advice)
}

fn spreading(
    name: &str,
    queues: Option<Queues>,
    spreading: Option<Spreading>,
) -> (String, Option<String>) {
    let used = queues.map_or(1, |queues| queues.used);
    if used <= 1 {
        return ("not needed: there is one queue".to_owned(), None);
    }
    let Some(Spreading { queues, by_ports }) = spreading else {
        return ("untold".to_owned(), None);
    };
    let mut advice = Vec::new();
    if queues < used as usize {
        advice.push(format!("`ethtool -X {name} equal {used}`, or some queues get nothing"));
    }
    for (flow, _) in ["udp4", "udp6"].iter().zip(by_ports).filter(|(_, by)| *by == Some(false)) {
        advice.push(format!(
            "`ethtool -N {name} rx-flow-hash {flow} sdfn`, or clients behind one address share a queue"
        ));
    }
    let words = by_ports.map(|by_ports| match by_ports {
        Some(true) => "address and port",
        Some(false) => "address",
        None => "what is not told",
    });
    let is = format!("over {queues} queues; IPv4 by {}, IPv6 by {}", words[0], words[1]);
    (is, (!advice.is_empty()).then(|| advice.join("\n      ")))
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_with_something_to_do_stands_out() {
        let fine = finding("kernel", "6.18.0", None).to_string();
        assert_eq!(fine, "  kernel                   6.18.0");
        let advised = finding("kernel", "5.10.0", Some("upgrade".to_owned())).to_string();
        assert_eq!(advised, "! kernel                   5.10.0\n      upgrade");
    }

    #[test]
    fn every_host_has_a_kernel_and_every_interface_an_mtu() {
        let findings = host(Path::new(""));
        assert!(findings.iter().any(|finding| finding.what == "kernel" && !finding.is.is_empty()));
        let findings = interface("lo", AttachMode::Auto, Path::new(""));
        let mtu = findings.iter().find(|finding| finding.what == "lo MTU").unwrap();
        assert!(mtu.is.parse::<u32>().unwrap() > 0);
    }

    #[test]
    fn idle_queues_and_processors_are_worth_a_word() {
        let queues = |used, max| Some(Queues { used, max });
        let advice = |queues, cpus| queues_in_use("eth0", queues, cpus).1;
        assert!(advice(queues(2, 8), 4).unwrap().contains("ethtool -L eth0 combined 4"));
        assert!(advice(queues(2, 2), 4).is_none() && advice(queues(4, 8), 4).is_none());
        let spread = |by_ports| {
            let spreading_of = Spreading { queues: 4, by_ports };
            spreading("eth0", queues(4, 4), Some(spreading_of)).1
        };
        assert_eq!(spread([Some(true), None]), None);
        assert!(spread([Some(true), Some(false)]).unwrap().contains("rx-flow-hash udp6 sdfn"));
    }

    #[test]
    fn a_driver_without_xdp_is_slower_and_a_veth_pair_is_served_in_the_stack() {
        use AttachMode::{Auto, Generic, Native};
        let facts = |is_veth, runs_xdp| Facts { is_veth, runs_xdp, ..Facts::default() };
        assert_eq!(mode(Auto, &facts(false, Some(true))), ("in the driver (native)", None));
        assert!(mode(Auto, &facts(false, None)).0.contains("if it can"));
        assert!(mode(Auto, &facts(false, Some(false))).1.unwrap().contains("more slowly"));
        assert!(mode(Auto, &facts(true, Some(true))).0.contains("generic"));
        assert!(mode(Native, &facts(true, Some(true))).1.unwrap().contains("the other end"));
        assert!(mode(Generic, &facts(false, Some(true))).1.unwrap().contains("`mode: auto`"));
        assert_eq!(mode(Native, &facts(false, Some(false))).0, "in userspace");
    }

    #[test]
    fn a_nic_whose_gro_is_fixed_is_told_of_before_the_kernel_is_asked() {
        let fixed = Offloads { gro_hw: Offload::Fixed, lro: Offload::Off };
        assert_eq!(offloads(fixed), "rx-gro-hw on [fixed], large-receive-offload off");
        for (wanted, runs_xdp, is) in [
            (AttachMode::Auto, Some(false), "in userspace"),
            (
                AttachMode::Auto,
                Some(true),
                "in the driver (native) if it takes the program, else in userspace",
            ),
            (AttachMode::Generic, Some(true), "in userspace"),
        ] {
            let facts = Facts { runs_xdp, offloads: fixed, ..Facts::default() };
            let (told, advice) = mode(wanted, &facts);
            assert_eq!(told, is);
            assert!(advice.unwrap().contains("rx-gro-hw is `on [fixed]`"));
        }
    }
}
