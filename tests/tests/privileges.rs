//! What the tracker may do, at its start and from then on.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Mode, Options, Scratch, Tracker, UdpClient,
};

/// `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN`, `CAP_PERFMON` and `CAP_BPF`.
const START: u64 = 1 << 10 | 1 << 12 | 1 << 21 | 1 << 38 | 1 << 39;

/// A line of `/proc/PID/task/TID/status`, a hexadecimal number.
fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.with_context(|| format!("there is no {name}"))?.trim();
    Ok(u64::from_str_radix(value, 16)?)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_tracker_that_has_started_holds_no_capability_in_any_thread() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", tracker.id()))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            ensure!(field(&status, set)? == 0, "{set} of a thread:\n{status}");
        }
        ensure!(field(&status, "CapBnd")? & !START == 0, "CapBnd of a thread:\n{status}");
        ensure!(field(&status, "NoNewPrivs")? == 1, "it may gain privileges:\n{status}");
        threads += 1;
    }
    ensure!(threads > 5, "{threads} threads are not all");
    Ok(())
}

/// Starts a tracker twice on port 80, with these capabilities alone: the kernel answers, and the second
/// takes over what the first has left.
fn suffices(capabilities: &str, user: Option<u32>) -> Result<()> {
    let folder = Scratch::new()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { capabilities, user, udp_addr: "[::]:80", ..Options::new(Mode::Native) };
    for said in ["ready", "took over 1 torrents"] {
        let tracker = Tracker::start_with(&server, &options, folder.path())?;
        ensure!(tracker.output().contains(said), "{}", tracker.output());
        ensure!(tracker.metrics()?.is_attached(INTERFACE, "native"), "{}", tracker.output());
        let mut address = tracker.address(Family::Ipv4);
        address.set_port(80);
        let mut client = UdpClient::connect(&client.namespace, address)?;
        tracker.wait_for_kernel(&mut client, &Announce::leecher(InfoHash([0xca; 20]), 1))?;
        tracker.end(Signal::SIGTERM)?;
    }
    Ok(())
}

const FOUR: &str = "-all,+bpf,+net_admin,+perfmon,+net_bind_service";

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn four_capabilities_are_enough_to_answer_in_the_kernel_and_to_restart() -> Result<()> {
    suffices(FOUR, None)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn four_capabilities_are_enough_for_a_user_who_is_not_root() -> Result<()> {
    suffices(FOUR, Some(65534))
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn each_capability_that_is_missing_at_the_start_is_named() -> Result<()> {
    let ([server, _client], _far_end) = Host::pair()?;
    for (capabilities, named) in [
        ("-bpf,-sys_admin", "CAP_BPF"),
        ("-perfmon,-sys_admin", "CAP_PERFMON"),
        ("-net_admin", "CAP_NET_ADMIN"),
        ("-net_admin,-bpf,-sys_admin", "CAP_NET_ADMIN, CAP_BPF"),
    ] {
        let folder = Scratch::new()?;
        let options = Options { capabilities, ..Options::new(Mode::Native) };
        let said = Tracker::fail(&server, &options, folder.path())?;
        ensure!(said.trim_end().ends_with(&format!(": run as root, or grant {named}")), "{said}");
    }
    let folder = Scratch::new()?;
    let options = Options {
        capabilities: "-net_bind_service",
        udp_addr: "[::]:80",
        ..Options::new(Mode::Native)
    };
    let said = Tracker::fail(&server, &options, folder.path())?;
    ensure!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
    Ok(())
}
