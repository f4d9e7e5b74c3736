//! What happens to the tracker's interface.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, INTERFACE, Mode, Options, Scratch, Tracker, UdpClient, XdpPass,
    eventually,
};

use crate::watch::{TORRENT, program_id, program_on, unnoticed};

/// A tracker and a client that it answers in the kernel; then `act`; then it does so again.
fn answers_again(
    act: impl FnOnce(&Host, &Tracker<'_>, &mut UdpClient) -> Result<()>,
) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let one = Announce::leecher(TORRENT, 1);
    tracker.wait_for_kernel(&mut client, &one)?;
    act(&server, &tracker, &mut client)?;
    tracker.wait_for_kernel(&mut client, &one)?;
    tracker.wait_until_attached(INTERFACE, "native")?;
    ensure!(client.scrape(&[TORRENT])?[0].leechers == 1, "the peer is lost");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn an_interface_that_was_down_is_answered_on_again() -> Result<()> {
    answers_again(|server, _, _| {
        let before = program_id(server)?;
        for state in ["down", "up"] {
            server.namespace.run("ip", &["link", "set", INTERFACE, state])?;
        }
        ensure!(program_id(server)? == before, "it was attached anew");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn under_another_name_an_interface_is_served_by_the_daemon_until_it_has_its_own_again() -> Result<()>
{
    let rename = |server: &Host, old: &str, new: &str| {
        server.namespace.run("ip", &["link", "set", old, "down"])?;
        server.namespace.run("ip", &["link", "set", old, "name", new])?;
        server.namespace.run("ip", &["link", "set", new, "up"])
    };
    answers_again(|server, tracker, client| {
        rename(server, INTERFACE, "lan0")?;
        eventually(|| {
            ensure!(program_on(server, "lan0")? == 0, "the program is still there");
            Ok(())
        })?;
        let said = tracker.output();
        ensure!(said.contains("eth0: the interface is gone"), "{said}");
        client.announce(&Announce::leecher(TORRENT, 1))?;
        rename(server, "lan0", INTERFACE)?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_change_of_the_mtu_goes_unnoticed() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    unnoticed(&client, tracker, |tracker| {
        let before = program_id(&server)?;
        for mtu in ["1400", "3000", "1500"] {
            server.namespace.run("ip", &["link", "set", INTERFACE, "mtu", mtu])?;
        }
        ensure!(program_id(&server)? == before, "it was attached anew");
        Ok(tracker)
    })?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_second_tracker_on_the_interface_is_refused_and_the_first_goes_on() -> Result<()> {
    let (folder, second) = (Scratch::new()?, Scratch::new()?);
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    unnoticed(&client, tracker, |tracker| {
        let before = program_id(&server)?;
        for mode in [Mode::Native, Mode::Generic] {
            let options = Options { nth: 1, udp_addr: "[::]:6970", ..Options::new(mode) };
            let said = Tracker::fail(&server, &options, second.path())?;
            let named =
                format!("eth0: another XDP program is attached (`xdp_tracker`, id {before})");
            ensure!(said.contains(&named), "{said}");
            let whose =
                "it is that of a tracker that runs, with `xdp.pin_path: /sys/fs/bpf/xdp-tracker`";
            ensure!(said.contains(whose), "{said}");
        }
        ensure!(program_id(&server)? == before, "the program was replaced");
        Ok(tracker)
    })?;
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn what_a_killed_tracker_has_left_is_told_from_other_programs_and_comes_with_what_to_do()
-> Result<()> {
    let (folder, second) = (Scratch::new()?, Scratch::new()?);
    let ([server, _client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let left = program_id(&server)?;
    tracker.end(Signal::SIGKILL)?;
    ensure!(program_id(&server)? == left, "the program went with its tracker");
    let whose = "left by a tracker that no longer runs: `xdp-tracker detach` with `xdp.pin_path: \
                 /sys/fs/bpf/xdp-tracker`";
    let told = Tracker::run(&server, folder.path(), "probe")?;
    ensure!(told.contains(whose), "{told}");
    for mode in [Mode::Native, Mode::Generic] {
        let options = Options { nth: 1, udp_addr: "[::]:6970", ..Options::new(mode) };
        let said = Tracker::fail(&server, &options, second.path())?;
        let named = format!(
            "eth0: the XDP program of a tracker that no longer runs is attached (`xdp_tracker`, id {left})"
        );
        ensure!(said.contains(&named) && said.contains(whose), "{said}");
    }
    // What it says to do does it.
    Tracker::run(&server, folder.path(), "detach")?;
    let options = Options { nth: 1, udp_addr: "[::]:6970", ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, second.path())?;
    tracker.wait_until_attached(INTERFACE, "native")
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_program_that_takes_the_interface_meanwhile_is_named_and_stays() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let ip = |args: &[&str]| server.namespace.run("ip", args);
    ip(&["link", "set", INTERFACE, "down"])?;
    ip(&["link", "set", INTERFACE, "name", "lan0"])?;
    eventually(|| {
        ensure!(program_on(&server, "lan0")? == 0, "the program is still there");
        Ok(())
    })?;
    let _other = XdpPass::attach(&server.namespace, "lan0")?;
    let other = program_on(&server, "lan0")?;
    ip(&["link", "set", "lan0", "name", INTERFACE])?;
    ip(&["link", "set", INTERFACE, "up"])?;
    eventually(|| {
        let named = "eth0: another XDP program is attached (";
        ensure!(tracker.output().contains(named), "{}", tracker.output());
        Ok(())
    })?;
    ensure!(program_id(&server)? == other, "the program was replaced");
    // The daemon serves the interface.
    client.announce(&Announce::leecher(TORRENT, 1))?;
    tracker.wait_until_attached(INTERFACE, "userspace")?;
    Ok(())
}

/// Has the system detach the tracker's program, as `rm` of its pin and `bpftool link detach` do.
fn detach(server: &Host) -> Result<()> {
    server.namespace.run("find", &["/sys/fs/bpf", "-name", "native-*", "-delete"])?;
    eventually(|| {
        ensure!(program_id(server)? == 0, "the program is still there");
        Ok(())
    })
}

fn ensure_said(tracker: &Tracker<'_>, what: &str) -> Result<()> {
    eventually(|| {
        ensure!(tracker.output().contains(what), "{}", tracker.output());
        Ok(())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_program_that_is_detached_behind_our_back_is_missed_and_attached_again() -> Result<()> {
    answers_again(|server, tracker, _| {
        // It must not have been attached again before we have looked.
        server.namespace.run("find", &["/sys/fs/bpf", "-name", "native-*", "-delete"])?;
        ensure_said(tracker, "WARN eth0: the XDP program is attached no more")?;
        tracker.wait_until_attached(INTERFACE, "native")
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_program_that_takes_the_place_of_ours_stays_until_it_goes() -> Result<()> {
    answers_again(|server, tracker, client| {
        detach(server)?;
        let other = XdpPass::attach(&server.namespace, INTERFACE)?;
        let id = program_id(server)?;
        // A tracker that has started is told no names of programs.
        let said = format!("another XDP program (id {id}) has taken the place");
        ensure_said(tracker, &said)?;
        tracker.wait_until_attached(INTERFACE, "userspace")?;
        client.announce(&Announce::leecher(TORRENT, 1))?;
        ensure!(program_id(server)? == id, "the program was replaced");
        drop(other);
        tracker.wait_until_attached(INTERFACE, "native")
    })
}
