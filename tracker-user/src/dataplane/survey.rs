//! `xdp-tracker probe`: what this host can do, and what to change.

use std::{fmt, fs, path::Path};

use nix::{
    net::if_::if_nametoindex,
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{interfaces, link, probe};
use crate::config::Config;

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
        findings.extend(interface(&name));
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

fn interface(name: &str) -> Vec<Finding> {
    let of = |file: &str| read(&format!("/sys/class/net/{name}/{file}"));
    let what = |about: &str| format!("{name} {about}");
    let index = if_nametoindex(name).unwrap_or(0);
    let driver = fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok();
    let driver =
        driver.as_deref().and_then(Path::file_name).map(|driver| driver.display().to_string());
    let is_veth = link::is_veth(index);
    let driver =
        driver.unwrap_or_else(|| if is_veth { "veth" } else { "none (virtual)" }.to_owned());
    let mtu: u32 = of("mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or(0);
    let mtu_advice = (mtu > MTU_MAX).then(|| format!(
        "many drivers have no XDP above {MTU_MAX}; `ip link set {name} mtu 1500` if it is refused"
    ));
    let (queues, cpus) =
        (queues(name), std::thread::available_parallelism().map_or(1, usize::from));
    let queue_advice = (queues < cpus && !is_veth).then(|| format!(
        "packets are handled by {queues} of {cpus} processors; `ethtool -L {name} combined {cpus}` if \
         the NIC has as many, and `ethtool -N {name} rx-flow-hash udp4 sdfn` (udp6 too) so that its \
         hash (RSS) spreads clients by port as well"
    ));
    let occupant = link::occupant(index);
    vec![
        finding(
            what("driver"),
            driver,
            is_veth.then(|| {
                "a veth pair is served in the network stack, \
            which is slower"
                    .to_owned()
            }),
        ),
        finding(what("link"), of("operstate").unwrap_or_default(), None),
        finding(what("MTU"), mtu.to_string(), mtu_advice),
        finding(what("receive queues"), queues.to_string(), queue_advice),
        finding(what("XDP program"), occupant.unwrap_or_else(|| "none".to_owned()), None),
    ]
}

fn queues(name: &str) -> usize {
    let entries =
        fs::read_dir(format!("/sys/class/net/{name}/queues")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count()
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
    fn every_host_has_a_kernel_and_a_loopback_interface_with_a_queue() {
        let findings = host(Path::new(""));
        assert!(findings.iter().any(|finding| finding.what == "kernel" && !finding.is.is_empty()));
        assert_eq!(interface("lo")[3].is, "1");
    }
}
