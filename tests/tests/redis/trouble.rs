//! Redis is away, hangs, refuses, or is not ours.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Redis, Scratch, Tracker, UdpClient, eventually,
};

use super::{
    HEX, Site, TORRENT, client, clients, figures, is_connected, start_both, wait_for_figures,
};

/// Has two leechers announce to the first tracker, and takes Redis away when both know of them.
fn share_two_and_lose(
    redis: Redis<'_>,
    trackers: &[Tracker<'_>; 2],
    clients: &mut [UdpClient; 2],
) -> Result<()> {
    clients[0].announce(&Announce::leecher(TORRENT, 1))?;
    clients[0].announce(&Announce::leecher(TORRENT, 2))?;
    for client in clients {
        wait_for_figures(client, figures(0, 2, 0))?;
    }
    drop(redis);
    trackers.iter().try_for_each(|tracker| {
        eventually(|| {
            ensure!(!is_connected(tracker)?, "it has not noticed");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn trackers_go_on_without_redis_and_are_in_step_when_it_is_back() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let trackers = start_both(&server, folder.path())?;
    let mut clients = clients(&peers, &trackers)?;
    share_two_and_lose(redis, &trackers, &mut clients)?;
    // Each hears something, the one that a peer of both leaves.
    let reply = clients[0].announce(&Announce { event: 3, ..Announce::leecher(TORRENT, 1) })?;
    ensure!(reply.leechers == 1, "{reply:?}");
    clients[0].announce(&Announce::leecher(TORRENT, 3))?;
    clients[1].announce(&Announce { left: 0, ..Announce::leecher(TORRENT, 4) })?;

    let _redis = Redis::start(&server, folder.path())?;
    for (client, tracker) in clients.iter_mut().zip(&trackers) {
        wait_for_figures(client, figures(1, 2, 0))?;
        eventually(|| {
            ensure!(is_connected(tracker)?, "{}", tracker.output());
            Ok(())
        })?;
        let said = tracker.output().matches(" is lost: ").count();
        ensure!(said == 1, "it said so {said} times:\n{}", tracker.output());
        // At the start, and now.
        let said = tracker.output().matches(" is connected").count();
        ensure!(said == 2, "it said so {said} times:\n{}", tracker.output());
        let failures = tracker.metrics()?.sum("xdp_tracker_redis_failures_total", &[]);
        ensure!(failures > 0.0, "no failure is counted");
    }
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn who_leaves_while_redis_is_away_stays_gone() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    // What it had is there again.
    let keeps = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = Redis::start_with(&server, folder.path(), &keeps)?;
    let trackers = start_both(&server, folder.path())?;
    let mut clients = clients(&peers, &trackers)?;
    share_two_and_lose(redis, &trackers, &mut clients)?;
    clients[0].announce(&Announce { event: 3, ..Announce::leecher(TORRENT, 1) })?;
    clients[1].announce(&Announce { event: 1, left: 0, ..Announce::leecher(TORRENT, 3) })?;

    let redis = Redis::start_with(&server, folder.path(), &keeps)?;
    let mut redis = redis.client()?;
    for _ in 0..2 {
        for (client, tracker) in clients.iter_mut().zip(&trackers) {
            wait_for_figures(client, figures(1, 1, 1))?;
            ensure_synced_anew(tracker)?;
        }
    }
    let left = redis.hash(&format!("IPv4_L_{HEX}"))?;
    ensure!(left.len() == 1 && left[0].0[20..22] == [0, 2], "{left:?}");
    Ok(())
}

/// Waits until the tracker has looked at all that Redis holds once more.
fn ensure_synced_anew(tracker: &Tracker<'_>) -> Result<()> {
    let synced_at =
        || anyhow::Ok(tracker.metrics()?.sum("xdp_tracker_redis_last_sync_timestamp_seconds", &[]));
    let before = synced_at()?;
    eventually(|| {
        ensure!(synced_at()? > before + 1.0, "it has not looked");
        Ok(())
    })
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn a_key_that_holds_something_else_is_passed_over() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let mut redis = redis.client()?;
    let [one, other] = start_both(&server, folder.path())?;
    redis.run(&["SET", &format!("IPv4_L_{HEX}"), "not a hash"])?;
    let mut here = client(&peers, &one, Family::Ipv4)?;
    here.announce(&Announce { event: 1, left: 0, ..Announce::leecher(TORRENT, 1) })?;
    here.announce(&Announce::leecher(TORRENT, 2))?;
    // All at once, as a rule.
    let brief = InfoHash([0x7c; 20]);
    here.announce(&Announce { event: 1, left: 0, ..Announce::leecher(brief, 4) })?;
    here.announce(&Announce { event: 3, left: 0, ..Announce::leecher(brief, 4) })?;
    let others = InfoHash([0x6b; 20]);
    here.announce(&Announce::leecher(others, 3))?;
    eventually(|| {
        let written = redis.hash(&format!("IPv4_L_{}", HEX.replace("5a", "6b")))?;
        ensure!(written.len() == 1, "what comes after it is not written");
        Ok(())
    })?;
    let mut there = client(&peers, &other, Family::Ipv4)?;
    wait_for_figures(&mut there, figures(1, 1, 1))?;
    eventually(|| {
        let of_brief = there.scrape(&[brief])?[0];
        ensure!(of_brief == figures(0, 0, 1), "{of_brief:?}");
        Ok(())
    })?;
    let refused = one.metrics()?.sum("xdp_tracker_redis_refused_total", &[]);
    ensure!(refused >= 2.0, "{refused} refused");
    for tracker in [&one, &other] {
        ensure_synced_anew(tracker)?;
        ensure!(is_connected(tracker)?, "it takes Redis for lost");
    }
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn a_list_of_swarms_that_is_no_hash_prevents_no_start() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    redis.client()?.run(&["SET", "IPv4", "not a hash"])?;
    let [one, other] = start_both(&server, folder.path())?;
    for tracker in [&one, &other] {
        let said = "the key `IPv4` of Redis is no hash, so its swarms are not read: delete it, or";
        ensure!(tracker.output().contains(said), "{}", tracker.output());
        let malformed = tracker.metrics()?.sum("xdp_tracker_redis_malformed_total", &[]);
        ensure!(malformed >= 1.0, "{malformed} counted");
    }
    // The others are, and trackers still hear each other.
    let mut here = client(&peers, &one, Family::Ipv6)?;
    here.announce(&Announce::leecher(TORRENT, 1))?;
    let mut there = client(&peers, &other, Family::Ipv6)?;
    wait_for_figures(&mut there, figures(0, 1, 0))
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn without_memory_redis_is_not_lost_and_others_hear_of_all() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let mut redis = redis.client()?;
    let trackers = start_both(&server, folder.path())?;
    let [mut here, mut there] = clients(&peers, &trackers)?;
    here.announce(&Announce::leecher(TORRENT, 1))?;
    wait_for_figures(&mut there, figures(0, 1, 0))?;
    redis.run(&["CONFIG", "SET", "maxmemory", "1"])?;
    here.announce(&Announce { event: 3, ..Announce::leecher(TORRENT, 1) })?;
    here.announce(&Announce { event: 1, left: 0, ..Announce::leecher(TORRENT, 2) })?;
    wait_for_figures(&mut there, figures(1, 0, 1))?;
    let metrics = trackers[0].metrics()?;
    let failures = metrics.sum("xdp_tracker_redis_failures_total", &[]);
    let refused = metrics.sum("xdp_tracker_redis_refused_total", &[]);
    ensure!(failures == 0.0 && refused > 0.0, "{failures} failures, {refused} refused");
    ensure!(is_connected(&trackers[0])?, "it takes Redis for lost");
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn a_redis_that_hangs_holds_up_no_announce_and_no_end() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let tracker = Site::new(Mode::Off, 0, folder.path())?.start(&server)?;
    let mut here = client(&peers, &tracker, Family::Ipv4)?;
    redis.signal(Signal::SIGSTOP)?;
    for port in 1..=200 {
        let reply = here.announce(&Announce::leecher(TORRENT, port))?;
        ensure!(reply.leechers == port.into(), "{reply:?}");
    }
    let said = tracker.end(Signal::SIGTERM)?;
    ensure!(said.contains("what was heard last may be missing there"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn a_tracker_without_its_redis_says_what_to_do_and_keeps_the_password_to_itself() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _peers], _far_end) = Host::pair()?;
    let site = Site::new(Mode::Off, 0, folder.path())?;
    let url = "redis://wrongsecret@127.0.0.1:6379/3";
    let fail = |redis| {
        let options = Options { redis: Some(redis), ..site.options };
        let said = Tracker::fail(&server, &options, &site.folder)?;
        ensure!(said.contains("storage.config.redis_broker: cannot use Redis"), "{said}");
        ensure!(said.contains("127.0.0.1:6379/3") && !said.contains("secret"), "{said}");
        Ok(said)
    };
    let said = fail(url)?;
    ensure!(said.contains("start it, or name another"), "{said}");
    let _redis = Redis::start_with(&server, folder.path(), &["--requirepass", "goodsecret"])?;
    for url in [url, Redis::URL] {
        let said = fail(url)?;
        ensure!(said.contains("give its password as in redis://PASSWORD@"), "{said}");
    }
    let url = "redis://goodsecret@127.0.0.1:6379/3";
    let options = Options { redis: Some(url), ..site.options };
    Tracker::start_with(&server, &options, &site.folder).map(drop)
}
