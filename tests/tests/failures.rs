//! What an operator meets: the tracker says it in a line, and goes on where it can.

use std::path::Path;

use anyhow::{Result, ensure};
use tracker_tests::{
    Announce, Family, Host, INTERFACE, InfoHash, Lan, Mode, Options, Scratch, Tracker, UdpClient,
    XdpPass, eventually,
};

fn leecher() -> Announce {
    Announce::leecher(InfoHash([0x5a; 20]), 1)
}

/// Starts a tracker that cannot serve. It must end with one error, of one line.
fn error_of(host: &Host, options: &Options<'_>, folder: &Path) -> Result<String> {
    let output = Tracker::fail(host, options, folder)?;
    let (before, error) = output.split_once("ERROR ").unwrap_or((&output, ""));
    ensure!(!before.contains("panicked"), "it panicked:\n{output}");
    // What is found before anything is started is a list, a line for each mistake.
    let (error, is_list) = match error.split_once("the configuration cannot be used:\n") {
        Some((_, list)) => (list.trim(), true),
        None => (error.trim_end(), false),
    };
    let is_one = error.lines().count() == 1;
    ensure!(!error.is_empty() && (is_list || is_one), "not one error at the end:\n{output}");
    Ok(error.to_owned())
}

/// The log of a tracker that serves from userspace, after it has shown that it does.
fn log_from_userspace(server: &Host, client: &Host, options: &Options<'_>) -> Result<String> {
    let folder = Scratch::new()?;
    let tracker = Tracker::start_with(server, options, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    client.announce(&leecher())?;
    let metrics = tracker.metrics()?;
    ensure!(metrics.requests(Some("announce"), "user") == 1.0, "the daemon has not served it");
    ensure!(metrics.requests(None, "kernel") == 0.0, "the kernel has answered");
    Ok(tracker.output())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_killed_tracker_starts_again_and_knows_its_connection_ids() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut client, &leecher())?;
    drop(tracker);

    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    tracker.wait_for_kernel(&mut client, &leecher())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn an_interface_that_comes_back_is_attached_to_again() -> Result<()> {
    let folder = Scratch::new()?;
    let mut lan = Lan::new()?;
    let (server, client) = (lan.join()?, lan.join()?);
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut client, &leecher())?;

    lan.unplug(&server)?;
    eventually(|| {
        let is_attached = tracker.metrics()?.is_attached(INTERFACE, "native");
        ensure!(!is_attached, "the metrics still show the interface");
        Ok(())
    })?;
    ensure!(tracker.output().contains("eth0: the interface is gone"), "{}", tracker.output());

    lan.plug_in(&server)?;
    tracker.wait_for_kernel(&mut client, &leecher())?;
    tracker.wait_until_attached(INTERFACE, "native")
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn without_privileges_the_tracker_serves_from_userspace() -> Result<()> {
    let ([server, client], _far_end) = Host::pair()?;
    let options = Options { capabilities: "-all", ..Options::new(Mode::Auto) };
    let log = log_from_userspace(&server, &client, &options)?;
    let reason = "WARN serving from userspace only: run as root, or grant CAP_NET_ADMIN, \
                  CAP_PERFMON, CAP_BPF\n";
    ensure!(log.contains(reason), "{log}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn without_privileges_a_tracker_that_insists_on_the_driver_says_what_it_lacks() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _client], _far_end) = Host::pair()?;
    let options = Options { capabilities: "-all", ..Options::new(Mode::Native) };
    let error = error_of(&server, &options, folder.path())?;
    ensure!(
        error.ends_with(
            ": chihaya.xdp.mode: xdp.mode insists on the kernel; `auto` would do without: run as root, or grant \
             CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"
        ),
        "{error}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_program_that_was_there_first_is_named_and_stays() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let _first = XdpPass::attach(&server.namespace, INTERFACE)?;
    let taken = format!("eth0: another XDP program is attached (`{}`, id ", XdpPass::NAME);

    for mode in [Mode::Native, Mode::Generic] {
        let error = error_of(&server, &Options::new(mode), folder.path())?;
        let insists = format!("xdp.mode insists on the kernel; `auto` would do without: {taken}");
        ensure!(error.starts_with(&insists), "{error}");
    }
    let log = log_from_userspace(&server, &client, &Options::new(Mode::Auto))?;
    ensure!(log.contains(&taken), "{log}");

    let link = server.namespace.run("ip", &["link", "show", INTERFACE])?;
    ensure!(link.contains("prog/xdp"), "the program is gone:\n{link}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_driver_that_refuses_the_program_is_told_of_in_the_kernels_own_words() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], far_end) = Host::pair()?;
    drop(far_end);
    // A veth pair takes no program whose frames could be longer than a page.
    client.namespace.run("ip", &["link", "set", INTERFACE, "mtu", "9000"])?;
    let error = error_of(&server, &Options::new(Mode::Native), folder.path())?;
    let refused = "eth0: the kernel does not run the program in the driver (native XDP): \"";
    ensure!(error.contains(refused), "{error}");
    ensure!(error.contains("MTU is too large to set XDP\"; try a smaller MTU"), "{error}");
    let link = server.namespace.run("ip", &["link", "show", INTERFACE])?;
    ensure!(!link.contains("prog/xdp"), "asking has attached the program:\n{link}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn of_two_trackers_the_second_names_what_the_first_has_taken() -> Result<()> {
    let (first, second) = (Scratch::new()?, Scratch::new()?);
    let ([server, _client], _far_end) = Host::pair()?;
    let _tracker = Tracker::start(&server, Mode::Native, first.path())?;
    let error = error_of(&server, &Options::new(Mode::Native), second.path())?;
    ensure!(error.contains(": chihaya.metrics_addr: 127.0.0.1:6880: cannot listen:"), "{error}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_veth_pair_is_attached_to_in_the_network_stack_by_default() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], far_end) = Host::pair()?;
    drop(far_end);
    let tracker = Tracker::start_with(&server, &Options::new(Mode::Auto), folder.path())?;
    ensure!(tracker.metrics()?.is_attached(INTERFACE, "generic"), "{}", tracker.output());
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut client, &leecher())
}
