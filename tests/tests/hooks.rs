//! Each hook as it is configured: what it refuses and what it admits, in the kernel and in the daemon,
//! over UDP and HTTP.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash([0x5a; 20]);
const OTHER: InfoHash = InfoHash([0x6b; 20]);

/// What a client is told: nothing, or why it is refused.
type Verdict = Option<&'static str>;

/// An announce, and its verdict.
type Case = (fn() -> Announce, Verdict);

/// A host with a client, and the tracker that it announces to.
struct Stage<'a> {
    tracker: &'a Tracker<'a>,
    client: &'a Host,
    family: Family,
    udp: UdpClient,
}

impl Stage<'_> {
    /// Announces over HTTP, and over UDP until the kernel has decided: the verdict must always be
    /// this one.
    fn ensure_verdict(&mut self, announce: &Announce, verdict: Verdict) -> Result<()> {
        let body = self.tracker.get(self.client, self.family, &announce.path())?;
        let over_http = String::from_utf8_lossy(&body);
        match verdict {
            Some(reason) => {
                let expected = format!("d14:failure reason{}:{reason}e", reason.len());
                ensure!(over_http == expected, "{over_http}");
            }
            None => ensure!(over_http.contains("8:interval"), "{over_http}"),
        }
        let expected = verdict.map(|reason| format!("tracker error: {reason}\0"));
        eventually(|| {
            let before = self.in_kernel()?;
            let over_udp = self.udp.announce(announce).err().map(|error| error.to_string());
            assert_eq!(over_udp, expected);
            ensure!(self.in_kernel()? > before, "the kernel has not decided");
            Ok(())
        })
    }

    fn in_kernel(&self) -> Result<f64> {
        Ok(self.tracker.metrics()?.requests(Some("announce"), "kernel"))
    }
}

fn peer() -> Announce {
    Announce::leecher(TORRENT, 1)
}

fn of_other_torrent() -> Announce {
    Announce::leecher(OTHER, 1)
}

fn of_other_client() -> Announce {
    Announce { peer_id: *b"-YT0000-000000000000", ..peer() }
}

/// Has one tracker go by these hooks in turn, and checks the verdicts over each address family.
fn with_hooks(hooks: &[(&str, &[Case])]) -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    for (prehooks, cases) in hooks {
        let options = Options { prehooks, ..Options::new(Mode::Native) };
        tracker.reload(&options, folder.path())?;
        for family in [Family::Ipv4, Family::Ipv6] {
            let udp = UdpClient::connect(&client.namespace, tracker.address(family))?;
            let mut stage = Stage { tracker: &tracker, client: &client, family, udp };
            for (announce, verdict) in *cases {
                stage.ensure_verdict(&announce(), *verdict)?;
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn torrent_approval() -> Result<()> {
    let unapproved = Some("unapproved torrent");
    with_hooks(&[
        (
            "[ { name: torrent approval, options: { whitelist: [ \
                '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a' ] } } ]",
            &[(peer, None), (of_other_torrent, unapproved)],
        ),
        (
            "[ { name: torrent approval, options: { blacklist: [ \
                '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a' ] } } ]",
            &[(peer, unapproved), (of_other_torrent, None)],
        ),
        ("[]", &[(peer, None), (of_other_torrent, None)]),
    ])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn client_approval() -> Result<()> {
    let unapproved = Some("unapproved client");
    with_hooks(&[
        (
            "[ { name: client approval, options: { whitelist: [ XT0000 ] } } ]",
            &[(peer, None), (of_other_client, unapproved)],
        ),
        (
            "[ { name: client approval, options: { blacklist: [ XT0000 ] } } ]",
            &[(of_other_client, None), (peer, unapproved)],
        ),
        ("[]", &[(peer, None), (of_other_client, None)]),
    ])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn ip_approval() -> Result<()> {
    let unapproved = Some("unapproved ip");
    with_hooks(&[
        (
            "[ { name: ip approval, options: { allow: [ 10.77.0.0/24, '2001:db8::/64' ] } } ]",
            &[(peer, None)],
        ),
        (
            "[ { name: ip approval, options: { allow: [ 10.77.0.0/24, '2001:db8::/64' ], \
                deny: [ 10.77.0.2, '2001:db8::2' ] } } ]",
            &[(peer, unapproved)],
        ),
        ("[ { name: ip approval, options: { allow: [ 192.0.2.0/24 ] } } ]", &[(peer, unapproved)]),
        ("[]", &[(peer, None)]),
    ])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn all_lists_at_once() -> Result<()> {
    with_hooks(&[(
        "[ { name: torrent approval, options: { whitelist: [ \
            '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a' ] } }, \
           { name: client approval, options: { whitelist: [ XT0000 ] } }, \
           { name: ip approval, options: { allow: [ 10.77.0.0/24, '2001:db8::/64' ] } } ]",
        &[
            (peer, None),
            (of_other_torrent, Some("unapproved torrent")),
            (of_other_client, Some("unapproved client")),
        ],
    )])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn interval_variation() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let prehooks = "[ { name: interval variation, options: { modify_response_probability: 1, \
                       max_increase_delta: 600, modify_min_interval: true } } ]";
    let options = Options { prehooks, ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut udp, &peer())?;
    for port in 1..=20 {
        let announce = Announce::leecher(TORRENT, port);
        let interval_s = udp.announce(&announce)?.interval_s;
        ensure!((1801..=2400).contains(&interval_s), "{interval_s} s");
        let body = tracker.get(&client, Family::Ipv4, &announce.path())?;
        let over_http = String::from_utf8_lossy(&body);
        let expected =
            [format!("8:intervali{interval_s}e"), format!("12:min intervali{}e", interval_s - 900)];
        ensure!(expected.iter().all(|text| over_http.contains(text)), "{over_http}, {expected:?}");
    }
    Ok(())
}

/// The program goes on by the list of the daemon before, and the next one reads it anew.
#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn restarts_admit_nobody_who_is_refused_and_refuse_nobody_else() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let prehooks = "[ { name: torrent approval, options: { whitelist: [ \
                       '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a' ] } } ]";
    let options = Options { prehooks, ..Options::new(Mode::Generic) };
    let mut tracker = Tracker::start_with(&server, &options, folder.path())?;
    let mut udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    tracker.wait_for_kernel(&mut udp, &peer())?;

    let is_over = AtomicBool::new(false);
    let announces = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut announces = 0;
            while !is_over.load(Ordering::Relaxed) {
                udp.announce(&peer())?;
                let refused =
                    udp.announce(&of_other_torrent()).err().map(|error| error.to_string());
                ensure!(
                    refused.as_deref() == Some("tracker error: unapproved torrent\0"),
                    "{refused:?}"
                );
                announces += 2;
            }
            anyhow::Ok(announces)
        });
        let restart = || {
            for _ in 0..3 {
                tracker.end(Signal::SIGTERM)?;
                tracker = Tracker::start_with(&server, &options, folder.path())?;
            }
            anyhow::Ok(())
        };
        let restarted = restart();
        is_over.store(true, Ordering::Relaxed);
        let announces = load.join().expect("the client does not panic");
        restarted.and(announces)
    })?;
    eprintln!("{announces} announces");
    Ok(())
}
