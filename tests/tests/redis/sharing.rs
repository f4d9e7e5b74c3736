//! What one tracker hears comes to the others, to Redis, and back at the next start.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{
    Announce, Family, Host, Mode, Redis, RedisClient, Scratch, Tracker, eventually,
};

use super::{HEX, Site, TORRENT, client, figures, start_both, wait_for_figures};

/// The field of a peer, as Chihaya writes it.
fn field(peer: SocketAddr) -> Vec<u8> {
    let mut field = b"-XX0000-abcdefghijkl".to_vec();
    field.extend(peer.port().to_be_bytes());
    match peer {
        SocketAddr::V4(peer) => field.extend(peer.ip().octets()),
        SocketAddr::V6(peer) => field.extend(peer.ip().octets()),
    }
    field
}

fn time(ago: Duration) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(now.saturating_sub(ago).as_nanos().to_string())
}

/// Writes a peer as Chihaya does.
fn put(redis: &mut RedisClient, swarm: &str, peer: SocketAddr, ago: Duration) -> Result<()> {
    let time = time(ago)?;
    redis.run(&[b"HSET", swarm.as_bytes(), &field(peer), time.as_bytes()])?;
    redis.run(&["HSET", &swarm[..4], swarm, &time])?;
    redis.run(&["INCR", &format!("{}_count", &swarm[..6])])?;
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn what_one_tracker_hears_another_hands_out() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let _redis = Redis::start(&server, folder.path())?;
    let [one, other] = start_both(&server, folder.path())?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let (mut here, mut there) =
            (client(&peers, &one, family)?, client(&peers, &other, family)?);
        let leecher = Announce::leecher(TORRENT, 7);
        here.announce(&leecher)?;
        let asks = Announce::leecher(TORRENT, 8);
        let expected = vec![SocketAddr::new(peers.ip(family), 7)];
        eventually(|| {
            let named = there.announce(&asks)?.peers;
            ensure!(named == expected, "{named:?}");
            Ok(())
        })?;
        here.announce(&Announce { event: 1, left: 0, ..leecher })?;
        wait_for_figures(&mut there, figures(1, 1, 1))?;
        here.announce(&Announce { event: 3, left: 0, ..leecher })?;
        wait_for_figures(&mut there, figures(0, 1, 1))?;
        wait_for_figures(&mut here, figures(0, 1, 1))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn swarms_outlive_all_trackers() -> Result<()> {
    const PEERS: u16 = 300;
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let site = Site::new(Mode::Native, 0, folder.path())?;
    let tracker = site.start(&server)?;
    let mut here = client(&peers, &tracker, Family::Ipv4)?;
    for port in 1..=PEERS {
        let left = u64::from(port % 3);
        here.announce(&Announce { left, ..Announce::leecher(TORRENT, port) })?;
    }
    // What the kernel answered last has been told by then, and what the daemon heard is written at its end.
    let mut redis = redis.client()?;
    eventually(|| {
        let [seeders, leechers] =
            ['S', 'L'].map(|role| redis.number(&format!("IPv4_{role}_count")));
        let [seeders, leechers] = [seeders?, leechers?];
        ensure!([seeders, leechers] == [100, 200], "{seeders} seeders, {leechers} leechers");
        Ok(())
    })?;
    // Not to be kept in the kernel.
    tracker.end(Signal::SIGINT)?;
    let tracker = site.start(&server)?;
    let mut here = client(&peers, &tracker, Family::Ipv4)?;
    let reply = here.announce(&Announce::leecher(TORRENT, 1000))?;
    ensure!((reply.seeders, reply.leechers) == (100, 201), "{reply:?}");
    tracker.wait_for_kernel(&mut here, &Announce::leecher(TORRENT, 1000))?;
    Ok(())
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn what_chihaya_left_is_adopted_and_what_has_expired_is_removed() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let server_of_swarms = Redis::start(&server, folder.path())?;
    let mut redis = server_of_swarms.client()?;
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    let (seeders, leechers) = (format!("IPv4_S_{HEX}"), format!("IPv4_L_{HEX}"));
    let other = format!("IPv4_S_{}", HEX.replace('5', "6"));
    put(&mut redis, &seeders, "192.0.2.1:1".parse()?, minute)?;
    put(&mut redis, &seeders, "192.0.2.2:1".parse()?, hour)?;
    put(&mut redis, &leechers, "192.0.2.3:1".parse()?, minute)?;
    put(&mut redis, &format!("IPv6_L_{HEX}"), "[2001:db8::9]:1".parse()?, minute)?;
    put(&mut redis, &other, "192.0.2.4:1".parse()?, hour)?;
    redis.run(&["SET", "IPv4_infohash_count", "2"])?;
    // What nobody of us wrote.
    redis.run(&["HSET", "IPv4", "elsewhere", "1"])?;
    redis.run(&["HSET", &seeders, "nobody", "1"])?;

    let site = Site::new(Mode::Off, 0, folder.path())?;
    let tracker = site.start(&server)?;
    let mut here = client(&peers, &tracker, Family::Ipv4)?;
    ensure!(here.scrape(&[TORRENT])?[0] == figures(1, 1, 0), "the swarm is not adopted");
    let mut over_ipv6 = client(&peers, &tracker, Family::Ipv6)?;
    ensure!(over_ipv6.scrape(&[TORRENT])?[0] == figures(0, 1, 0), "not adopted over IPv6");

    let left: Vec<_> = redis.hash(&seeders)?.into_iter().map(|(field, _)| field).collect();
    ensure!(left == [field("192.0.2.1:1".parse()?), b"nobody".to_vec()], "{left:?}");
    let listed: Vec<_> = redis.hash("IPv4")?.into_iter().map(|(key, _)| key).collect();
    ensure!(listed == [seeders.as_bytes(), leechers.as_bytes(), b"elsewhere"], "{listed:?}");
    let counts = ["IPv4_S_count", "IPv4_L_count", "IPv4_infohash_count"];
    let counts = counts.map(|key| redis.number(key).unwrap_or(-1));
    ensure!(counts == [1, 1, 1], "{counts:?}");
    let malformed = tracker.metrics()?.sum("xdp_tracker_redis_malformed_total", &[]);
    ensure!(malformed >= 2.0, "{malformed} malformed");

    // A Chihaya that still runs says nothing, but writes.
    put(&mut redis, &leechers, "192.0.2.5:1".parse()?, Duration::ZERO)?;
    wait_for_figures(&mut here, figures(1, 2, 0))?;
    redis.run(&["PUBLISH", "xdp-tracker:3", "what is this?"])?;
    eventually(|| {
        let now = tracker.metrics()?.sum("xdp_tracker_redis_malformed_total", &[]);
        ensure!(now > malformed, "the message is not counted");
        Ok(())
    })?;
    // And reads.
    here.announce(&Announce { left: 0, ..Announce::leecher(TORRENT, 77) })?;
    let mut expected = Announce::leecher(TORRENT, 77).peer_id.to_vec();
    expected.extend(&field(SocketAddr::new(peers.ip(Family::Ipv4), 77))[20..]);
    eventually(|| {
        let found = redis.hash(&seeders)?.iter().any(|(field, _)| *field == expected);
        ensure!(found, "the peer is not in Redis");
        Ok(())
    })
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn the_kernel_shares_with_another_tracker() -> Result<()> {
    const MANY: u16 = 3000;
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let redis = Redis::start(&server, folder.path())?;
    let sites =
        [Site::new(Mode::Native, 0, folder.path())?, Site::new(Mode::Off, 1, folder.path())?];
    let (kernel, daemon) = (sites[0].start(&server)?, sites[1].start(&server)?);
    let mut here = client(&peers, &kernel, Family::Ipv4)?;
    let mut there = client(&peers, &daemon, Family::Ipv4)?;
    kernel.wait_for_kernel(&mut here, &Announce::leecher(TORRENT, 1))?;

    // A peer that only the kernel hears of.
    let by_daemon =
        |tracker: &Tracker<'_>| anyhow::Ok(tracker.metrics()?.requests(Some("announce"), "user"));
    let before = by_daemon(&kernel)?;
    here.announce(&Announce { left: 0, ..Announce::leecher(TORRENT, 2) })?;
    ensure!(by_daemon(&kernel)? == before, "the daemon has answered");
    let mut redis = redis.client()?;
    eventually(|| {
        let seeders = redis.hash(&format!("IPv4_S_{HEX}"))?;
        ensure!(seeders.len() == 1, "{} seeders in Redis", seeders.len());
        Ok(())
    })?;
    wait_for_figures(&mut there, figures(1, 1, 0))?;

    // And one that the kernel has not heard of.
    there.announce(&Announce::leecher(TORRENT, 3))?;
    wait_for_figures(&mut here, figures(1, 2, 0))?;
    let before = by_daemon(&kernel)?;
    let mut named = here.announce(&Announce { left: 0, ..Announce::leecher(TORRENT, 2) })?.peers;
    named.sort();
    let ip = peers.ip(Family::Ipv4);
    ensure!(named == [SocketAddr::new(ip, 1), SocketAddr::new(ip, 3)], "{named:?}");
    ensure!(by_daemon(&kernel)? == before, "the daemon has answered");

    // More at once than a page has room for.
    let many: Vec<_> = (1..=MANY).map(|port| Announce::leecher(TORRENT, 1000 + port)).collect();
    here.announce_all(&many)?;
    here.announce_all(&many)?;
    eventually(|| {
        let leechers = redis.hash(&format!("IPv4_L_{HEX}"))?.len();
        ensure!(leechers == usize::from(MANY) + 2, "{leechers} leechers in Redis");
        Ok(())
    })?;
    let lost = kernel.metrics()?.sum("xdp_tracker_events_lost_total", &[]);
    ensure!(lost == 0.0, "{lost} announces were lost");
    wait_for_figures(&mut there, figures(1, u32::from(MANY) + 2, 0))
}
