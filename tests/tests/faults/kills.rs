//! The daemon is killed at random times, while it makes room for swarms that grow.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracker_tests::{Announce, Family, Host, InfoHash, Scratch, Tracker, UdpClient};

use crate::watch::{OPTIONS, PERIOD, unnoticed};

const KILLS: usize = 100;

/// Of a daemon, where one is slow to start.
const LIFETIME_MAX: Duration = Duration::from_millis(1500);

/// Peers of a torrent that grows: it leaves its line, its leaf grows, and one reply lists them all.
const PEERS: u16 = 40;

/// Torrents that grow in turn, so that a reply lists those whose announces had to wait for room.
const AT_A_TIME: usize = 16;

/// Everything a growing swarm has shown of itself.
#[derive(Default)]
struct Growth {
    /// The torrents' peers that a reply has listed: they were in the table.
    listed: Vec<HashSet<SocketAddr>>,
}

impl Growth {
    /// Has peers join a few torrents in turn, then the next few, until told to stop. Each tries until
    /// it is answered: at times no daemon is there.
    fn go_on(&mut self, client: &mut UdpClient, is_over: &AtomicBool) {
        for first in (0..).step_by(AT_A_TIME) {
            self.listed.resize(first + AT_A_TIME, HashSet::new());
            for (port, torrent) in
                (1..=PEERS).flat_map(|port| (first..first + AT_A_TIME).map(move |t| (port, t)))
            {
                let announce = Announce::leecher(InfoHash::numbered(torrent as u32), port);
                let peers = loop {
                    match client.announce(&announce) {
                        _ if is_over.load(Ordering::Relaxed) => return,
                        Ok(reply) => break reply.peers,
                        Err(_) => thread::sleep(PERIOD),
                    }
                };
                // Who finds nobody else is given himself, in the table or not.
                self.listed[torrent].extend(peers.into_iter().filter(|peer| peer.port() != port));
            }
        }
    }

    /// The peers are still there.
    fn check(&self, client: &mut UdpClient) -> Result<()> {
        for (torrent, listed) in self.listed.iter().enumerate() {
            // It joins too, and is not among them.
            let observer = Announce::leecher(InfoHash::numbered(torrent as u32), PEERS + 1);
            let peers: HashSet<_> = client.announce(&observer)?.peers.into_iter().collect();
            let mut lost = listed.difference(&peers).filter(|peer| peer.port() <= PEERS);
            ensure!(lost.next().is_none(), "torrent {torrent}: {listed:?} were, {peers:?} are");
        }
        Ok(())
    }
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test faults`"]
fn a_hundred_kills_at_random_times_lose_no_reply_and_no_peer() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let began = Instant::now();
    let tracker = Tracker::start_with(&server, &OPTIONS, folder.path())?;
    // About half of the kills come before it serves.
    let lifetime_max = (2 * began.elapsed()).min(LIFETIME_MAX);
    let mut growing = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv6))?;
    let mut growth = Growth::default();
    let mut random = fastrand::Rng::with_seed(5);
    unnoticed(&client, tracker, |mut tracker| {
        let is_over = AtomicBool::new(false);
        let tracker = thread::scope(|scope| {
            scope.spawn(|| growth.go_on(&mut growing, &is_over));
            let kill = || {
                for _ in 0..KILLS {
                    let lifetime = random.u128(..lifetime_max.as_nanos()) as u64;
                    thread::sleep(Duration::from_nanos(lifetime));
                    tracker.end(Signal::SIGKILL)?;
                    tracker = Tracker::launch(&server, &OPTIONS, folder.path())?;
                }
                tracker.wait_until_ready()?;
                anyhow::Ok(tracker)
            };
            let killed = kill();
            is_over.store(true, Ordering::Relaxed);
            killed
        })?;
        let peers: usize = growth.listed.iter().map(HashSet::len).sum();
        eprintln!("{KILLS} kills; {peers} peers of {} torrents", growth.listed.len());
        ensure!(growth.listed.len() > 2, "nothing has grown");
        growth.check(&mut growing)?;
        Ok(tracker)
    })?;
    Ok(())
}
