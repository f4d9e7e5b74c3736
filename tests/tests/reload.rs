//! Reloads under load: what a client notices of them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash([0x5a; 20]);

const PERIOD: Duration = Duration::from_millis(1);

/// How often the tracker reloads.
const RELOADS: u32 = 12;

/// Hooks that approve of the torrent, each with lists of its own.
const HOOKS: [&str; 3] = [
    "[]",
    "[ { name: torrent approval, options: { whitelist: [ \
        '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a' ] } }, \
       { name: ip approval, options: { allow: [ 10.0.0.0/8, '2001:db8::/32' ] } } ]",
    "[ { name: torrent approval, options: { blacklist: [ \
        '0000000000000000000000000000000000000000' ] } }, \
       { name: client approval, options: { blacklist: [ XL0012 ] } } ]",
];

/// Reloads again and again while a client announces steadily: it must not miss a reply.
fn unnoticed(mode: Mode, family: Family) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start_with(&server, &Options::new(mode), folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(family))?;
    let announce = Announce::leecher(TORRENT, 1);
    client.announce(&announce)?;

    let is_over = AtomicBool::new(false);
    let [sent, lost] = thread::scope(|scope| {
        let load = scope.spawn(|| client.announce_steadily(&announce, PERIOD, &is_over));
        let reload_all = || {
            for number in 1..=RELOADS {
                let interval = format!("{number}m");
                let prehooks = HOOKS[number as usize % HOOKS.len()];
                let options = Options { interval: &interval, prehooks, ..Options::new(mode) };
                let said = tracker.reload(&options, folder.path())?;
                ensure!(said.is_empty(), "a key waits for a restart: {said}");
            }
            anyhow::Ok(())
        };
        let reloaded = reload_all();
        is_over.store(true, Ordering::Relaxed);
        let counted = load.join().expect("the client does not panic");
        reloaded.and(counted)
    })?;
    eprintln!("{sent} announces, {lost} of them without a reply");
    ensure!(lost == 0, "{lost} of {sent} announces were not answered:\n{}", tracker.output());
    eventually(|| {
        let interval_s = client.announce(&announce)?.interval_s;
        ensure!(interval_s == 60 * RELOADS, "the interval is {interval_s} s");
        Ok(())
    })?;
    ensure!(client.scrape(&[TORRENT])?[0].leechers == 1, "the peer is lost");
    let in_kernel = tracker.metrics()?.requests(Some("announce"), "kernel");
    ensure!((in_kernel > 0.0) == (mode != Mode::Off), "{in_kernel} announces in the kernel");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn reloads_lose_no_reply_in_the_kernel() -> Result<()> {
    unnoticed(Mode::Native, Family::Ipv4)?;
    unnoticed(Mode::Generic, Family::Ipv6)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn reloads_lose_no_reply_in_userspace() -> Result<()> {
    unnoticed(Mode::Off, Family::Ipv4)?;
    unnoticed(Mode::Off, Family::Ipv6)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn each_signal_that_reloads_does() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let announce = Announce::leecher(TORRENT, 1);
    for (signal, minutes) in [(Signal::SIGUSR1, 7), (Signal::SIGHUP, 8)] {
        let interval = format!("{minutes}m");
        let options = Options { interval: &interval, ..Options::new(Mode::Native) };
        options.write(folder.path())?;
        tracker.signal(signal)?;
        eventually(|| {
            let interval_s = client.announce(&announce)?.interval_s;
            ensure!(interval_s == 60 * minutes, "the interval is {interval_s} s");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_configuration_that_cannot_be_used_changes_nothing_and_says_why() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let mut client = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let announce = Announce::leecher(TORRENT, 1);
    tracker.wait_for_kernel(&mut client, &announce)?;
    for (prehooks, reason) in [
        (
            "[ { name: torrent approval, options: { whitelist: [ abc ] } } ]",
            "`abc`: an info-hash is 40 hexadecimal digits",
        ),
        (
            "[ { name: ip approval, options: { deny_files: [ /no/such/list ] } } ]",
            "chihaya.prehooks[0].options.deny_files[0]: cannot read /no/such/list: No such file",
        ),
    ] {
        let options = Options { interval: "1m", prehooks, ..Options::new(Mode::Native) };
        let error = tracker.reload(&options, folder.path()).expect_err("it cannot be used");
        ensure!(error.to_string().contains(reason), "{error}");
        tracker.signal(Signal::SIGHUP)?;
        eventually(|| {
            ensure!(tracker.output().contains(reason), "{}", tracker.output());
            Ok(())
        })?;
    }
    tracker.wait_for_kernel(&mut client, &announce)?;
    ensure!(client.announce(&announce)?.interval_s == 1800, "the interval has changed");
    Ok(())
}
