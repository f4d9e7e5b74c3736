//! Hooks of somebody who embeds the tracker: the data plane is put together here, as they would.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use arc_swap::ArcSwap;
use tracker_common::{
    announce::Event,
    connection::ConnectionIds,
    hash::{SipKey, TableKey},
    id::{InfoHash, PeerId},
};
use tracker_tests::{Announce, Family, Host, UdpClient, eventually};
use tracker_user::{
    config::{self, Config, UdpConfig, UnknownKeys},
    dataplane::{self, DataPlane, Grants},
    metrics::Metrics,
    pipeline::{AnnounceRequest, AnnounceResponse, Interest, Pipeline, PostHook, PreHook, Refusal},
    storage::memory::{MemoryStorage, Origin, TableSize},
    udp::{UdpServer, UdpSettings},
};

const CONFIG: &str = "
chihaya:
  udp: { addr: '0.0.0.0:6969' }
  xdp:
    interfaces: [eth0]
    mode: native
    table: { torrents_ipv4: 100, torrents_ipv6: 100, blocks: 1MiB }
";

const TORRENT: [u8; 20] = [0x5a; 20];

/// A hook that notes who has announced what.
struct Notes {
    interest: Interest,
    seen: Arc<Mutex<Vec<(SocketAddr, Event)>>>,
}

impl PostHook for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn announced(&self, request: &AnnounceRequest, _: &AnnounceResponse) {
        assert_eq!(request.info_hash, InfoHash(TORRENT));
        self.seen.lock().expect("nobody panics").push((request.peer, request.event));
    }

    fn interest(&self) -> Interest {
        self.interest
    }
}

/// A hook that says nothing of the kernel, and refuses a port.
#[derive(Default)]
struct Doorman {
    seen: Arc<AtomicUsize>,
}

const REFUSED_PORT: u16 = 13;

impl PreHook for Doorman {
    fn name(&self) -> &'static str {
        "doorman"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        if request.peer.port() == REFUSED_PORT {
            return Err(Refusal::Client("not you".into()));
        }
        Ok(())
    }
}

/// A kernel that answers, and what is behind it.
struct Parts {
    pipeline: Arc<ArcSwap<Pipeline>>,
    ids: ConnectionIds,
    _data_plane: DataPlane,
}

fn start(
    config: &Config,
    pre_hooks: Vec<Box<dyn PreHook>>,
    post_hooks: Vec<Box<dyn PostHook>>,
    metrics: &Arc<Metrics>,
) -> Result<Parts> {
    let size = TableSize::of(&config.xdp.table);
    let kernel = dataplane::load(config, &size)?.context("there is an XDP program")?;
    let memory = kernel.map_table(&size)?;
    let grace = Some(kernel.grace());
    let key = TableKey([1, 2, 3, 4]);
    let storage =
        MemoryStorage::start(memory, &size, Origin::New(key), &Default::default(), grace, metrics)?;
    let pipeline = Pipeline::new(storage.clone(), pre_hooks, post_hooks, 1800, 900);
    let request = AnnounceRequest {
        info_hash: InfoHash(TORRENT),
        peer_id: PeerId([1; 20]),
        peer: "192.0.2.1:1".parse()?,
        event: Event::Started,
        left: 1,
        downloaded: 0,
        uploaded: 0,
        numwant: 0,
        seed: 0,
        interface: 0,
        params: Default::default(),
    };
    // The daemon's part: from then on the kernel knows the torrent.
    pipeline.announce(&request, &mut AnnounceResponse::default()).expect("nobody refuses");
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline));
    let ids = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 10);
    let grants = Grants::default();
    let udp = UdpSettings::new(config.udp.clone(), ids);
    let data_plane = DataPlane::start(kernel, config, &udp, &storage, &pipeline, &grants, metrics)?;
    Ok(Parts { pipeline, ids, _data_plane: data_plane })
}

/// What a hook sees of a peer that starts, announces again, completes and stops.
fn seen_of_a_peer(interest: Interest) -> Result<Vec<Event>> {
    let ([server, client], _far_end) = Host::pair()?;
    let config = config::parse("config", CONFIG, UnknownKeys::Refuse)?.config;
    let seen = Arc::default();
    let hook = Notes { interest, seen: Arc::clone(&seen) };
    let metrics = Arc::new(Metrics::new()?);
    let _parts =
        server.namespace.enter(|| start(&config, vec![], vec![Box::new(hook)], &metrics))?;
    let tracker = SocketAddr::new(server.ip(Family::Ipv4), 6969);
    let peer = SocketAddr::new(client.ip(Family::Ipv4), 7);
    let mut client = UdpClient::connect(&client.namespace, tracker)?;
    for event in [Event::Started, Event::None, Event::Completed, Event::Stopped] {
        let event = event as u32;
        let info_hash = tracker_tests::InfoHash(TORRENT);
        client.announce(&Announce { event, ..Announce::leecher(info_hash, 7) })?;
    }
    eventually(|| {
        let seen = seen.lock().expect("nobody panics");
        ensure!(seen.last() == Some(&(peer, Event::Stopped)), "the hook has seen {seen:?}");
        Ok(seen.iter().map(|(_, event)| *event).collect())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_hook_is_told_of_every_announce() -> Result<()> {
    let seen = seen_of_a_peer(Interest::Every)?;
    ensure!(seen == [Event::Started, Event::None, Event::Completed, Event::Stopped], "{seen:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_hook_that_wants_changes_is_told_of_no_other_announce() -> Result<()> {
    let seen = seen_of_a_peer(Interest::Transitions)?;
    ensure!(seen == [Event::Started, Event::Completed, Event::Stopped], "{seen:?}");
    Ok(())
}

/// A hook that does not come back before it is told that it may.
struct Stuck(Arc<Mutex<()>>);

impl PostHook for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn announced(&self, _: &AnnounceRequest, _: &AnnounceResponse) {
        drop(self.0.lock());
    }

    fn interest(&self) -> Interest {
        Interest::Every
    }
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn announces_that_a_stuck_hook_leaves_no_room_for_are_answered_and_counted() -> Result<()> {
    // The ring buffer has room for some 10,000. Only the kernel serves.
    const ANNOUNCES: u32 = 12_000;
    let ([server, client], _far_end) = Host::pair()?;
    let config = config::parse("config", CONFIG, UnknownKeys::Refuse)?.config;
    let metrics = Arc::new(Metrics::new()?);
    let stuck = Arc::new(Mutex::new(()));
    let hook = Stuck(Arc::clone(&stuck));
    let _parts =
        server.namespace.enter(|| start(&config, vec![], vec![Box::new(hook)], &metrics))?;
    let held = stuck.lock().expect("nobody panics");
    let tracker = SocketAddr::new(server.ip(Family::Ipv4), 6969);
    let mut client = UdpClient::connect(&client.namespace, tracker)?;
    for _ in 0..ANNOUNCES {
        client.announce(&Announce::leecher(tracker_tests::InfoHash(TORRENT), 7))?;
    }
    drop(held);
    eventually(|| {
        let lost = metrics.registry().gather().into_iter().find_map(|family| {
            let is_it = family.name() == "xdp_tracker_events_lost_total";
            is_it.then(|| family.get_metric()[0].get_counter().get_value())
        });
        ensure!(
            lost.is_some_and(|lost| lost > 0.0 && lost < f64::from(ANNOUNCES)),
            "{lost:?} events are lost"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_hook_that_says_nothing_of_the_kernel_sees_every_announce_and_is_heard() -> Result<()> {
    const ANNOUNCES: u16 = 100;
    let ([server, client], _far_end) = Host::pair()?;
    let config = config::parse("config", CONFIG, UnknownKeys::Refuse)?.config;
    let metrics = Arc::new(Metrics::new()?);
    let seen = Arc::default();
    let doorman = Doorman { seen: Arc::clone(&seen) };
    let tracker = SocketAddr::new(server.ip(Family::Ipv4), 6969);
    let (_parts, udp) = server.namespace.enter(|| {
        let parts = start(&config, vec![Box::new(doorman)], vec![], &metrics)?;
        let udp = UdpConfig { addr: vec![tracker.into()], ..UdpConfig::default() };
        let settings = UdpSettings::new(udp, parts.ids);
        let udp = UdpServer::start(settings, Arc::clone(&parts.pipeline), Arc::new(()))?;
        anyhow::Ok((parts, udp))
    })?;
    let mut client = UdpClient::connect(&client.namespace, tracker)?;
    let before = seen.load(Ordering::Relaxed);
    let info_hash = tracker_tests::InfoHash(TORRENT);
    for port in 1..=ANNOUNCES {
        let reply = client.announce(&Announce::leecher(info_hash, port));
        let refusal = reply.err().map(|error| error.to_string());
        let expected = (port == REFUSED_PORT).then(|| "tracker error: not you\0".to_owned());
        ensure!(refusal == expected, "port {port}: {refusal:?}");
    }
    let seen = seen.load(Ordering::Relaxed) - before;
    ensure!(seen == usize::from(ANNOUNCES), "it has seen {seen} of {ANNOUNCES} announces");
    udp.stop();
    Ok(())
}
