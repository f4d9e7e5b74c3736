//! The tracker inside another program, by the library alone.

use std::{
    collections::HashSet,
    error::Error,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use embedder::{Catalogue, Diary, Doorman, REASON, REFUSED_PORT, config};
use tracker_user::{
    Event, Frontend, InfoHash, Tracker,
    config::{Config, ConfigFile, GoDuration, UnknownKeys},
    prometheus::{Registry, TextEncoder},
};

type Outcome = Result<(), Box<dyn Error>>;

const TORRENT: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");

const PATIENCE: Duration = Duration::from_secs(30);

fn listening(tracker: &Tracker, frontend: Frontend) -> SocketAddr {
    let addr = tracker.address(frontend).expect("it listens");
    assert_ne!(addr.port(), 0);
    addr
}

/// Announces over UDP (BEP 15) as a leecher, and returns the reply from its action on.
fn announce_over_udp(tracker: &Tracker, port: u16) -> Result<Vec<u8>, Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(listening(tracker, Frontend::Udp))?;
    let ask = |request: &[u8]| -> Result<Vec<u8>, Box<dyn Error>> {
        socket.send(request)?;
        let mut reply = [0; 2048];
        let length = socket.recv(&mut reply)?;
        Ok(reply[..length].to_vec())
    };
    let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], b"txid"].concat();
    let id = ask(&connect)?[8..16].to_vec();
    let request = [
        &id[..],
        &1_u32.to_be_bytes(),
        b"txid",
        &TORRENT.0,
        b"-EM0001-bbbbbbbbbbbb",
        &0_u64.to_be_bytes(),
        &1_u64.to_be_bytes(),
        &0_u64.to_be_bytes(),
        &2_u32.to_be_bytes(),
        &[0; 4],
        b"key!",
        &(-1_i32).to_be_bytes(),
        &port.to_be_bytes(),
    ]
    .concat();
    ask(&request)
}

/// The words of a refusal over UDP, which end with a zero.
fn refusal(reply: &[u8]) -> String {
    assert_eq!(reply[..4], 3_u32.to_be_bytes(), "{}", reply.escape_ascii());
    String::from_utf8_lossy(&reply[8..]).trim_end_matches('\0').to_owned()
}

/// Announces over HTTP as a seeder, and returns the reply as text.
fn announce_over_http(tracker: &Tracker, port: u16) -> Result<String, Box<dyn Error>> {
    let path = format!(
        "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-EM0001-cccccccccccc&compact=1&left=0\
         &downloaded=0&uploaded=0&port={port}&event=completed"
    );
    let mut stream = TcpStream::connect(listening(tracker, Frontend::Http))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: embedder\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply.escape_ascii().to_string())
}

#[test]
fn a_program_has_a_tracker_inside_with_hooks_of_its_own() -> Outcome {
    let (doorman, diary) = (Arc::new(Doorman::default()), Arc::new(Diary::default()));
    let tracker = Tracker::builder()
        .config(config()?)
        .pre_hook(Arc::clone(&doorman))
        .post_hook(Arc::clone(&diary))
        .start()?;
    assert_eq!(announce_over_udp(&tracker, 4711)?[..4], 1_u32.to_be_bytes());
    let by_http = announce_over_http(&tracker, 4712)?;
    assert!(by_http.contains("10:incompletei1e"), "{by_http}");
    assert_eq!(refusal(&announce_over_udp(&tracker, REFUSED_PORT)?), REASON);
    assert!(announce_over_http(&tracker, REFUSED_PORT)?.contains(REASON));
    assert_eq!(doorman.seen(), 4);

    let swarm = tracker.swarm(&TORRENT);
    assert_eq!((swarm.ipv4.seeders, swarm.ipv4.leechers), (1, 1));
    assert_eq!(swarm.ipv6, Default::default());
    let peers: HashSet<SocketAddr> = swarm.peers.into_iter().collect();
    assert_eq!(peers, HashSet::from(["127.0.0.1:4711".parse()?, "127.0.0.1:4712".parse()?]));
    assert_eq!(tracker.swarm(&InfoHash([9; 20])), Default::default());

    // Two connects and an announce over UDP, and one over HTTP; they are counted when the reply has left.
    let has_counted = || (tracker.stats().answered, tracker.stats().refused) == (4, 2);
    let begun = Instant::now();
    while !has_counted() && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
    }
    let stats = tracker.stats();
    assert_eq!((stats.answered, stats.answered_by_kernel), (4, 0));
    assert_eq!((stats.refused, stats.failed), (2, 0));
    assert_eq!((stats.torrents_ipv4, stats.torrents_ipv6), (1, 0));

    let mut shorter = config()?;
    shorter.announce_interval = GoDuration::from_mins(10);
    shorter.udp.workers = 7;
    let reloaded = tracker.reload(shorter)?;
    assert_eq!(reloaded.needs_restart, ["udp.workers"]);
    let reply = announce_over_udp(&tracker, 4711)?;
    assert_eq!(reply[8..12], 600_u32.to_be_bytes());
    let refused = tracker.reload(Config::default()).unwrap_err().to_string();
    assert!(refused.contains("nothing to listen on"), "{refused}");
    assert_eq!(announce_over_udp(&tracker, 4711)?[8..12], 600_u32.to_be_bytes());
    assert_eq!(doorman.seen(), 6, "the hook stays");

    let addresses = tracker.addresses().to_vec();
    assert_eq!(addresses.len(), 2);
    tracker.stop();
    for (frontend, addr) in addresses {
        match frontend {
            Frontend::Udp => drop(UdpSocket::bind(addr)?),
            _ => drop(TcpStream::connect(addr).unwrap_err()),
        }
    }
    let said = |event| diary.entries().iter().filter(|entry| entry.2 == event).count();
    assert_eq!(
        [Event::Started, Event::Completed].map(said),
        [3, 1],
        "a refused announce is not told"
    );
    Ok(())
}

#[test]
fn a_list_that_a_program_changes_counts_at_once() -> Outcome {
    let catalogue = Catalogue::of([]);
    let tracker = Tracker::builder().config(config()?).pre_hook(catalogue.clone()).start()?;
    assert_eq!(refusal(&announce_over_udp(&tracker, 4711)?), "unapproved torrent");
    catalogue.0.info_hashes.replace(HashSet::from([TORRENT]));
    assert_eq!(announce_over_udp(&tracker, 4711)?[..4], 1_u32.to_be_bytes());
    Ok(())
}

#[test]
fn two_trackers_run_at_one_time_and_others_after_them() -> Outcome {
    for _ in 0..2 {
        let start = || -> Result<Tracker, Box<dyn Error>> {
            Ok(Tracker::builder().config(config()?).start()?)
        };
        let (one, other) = (start()?, start()?);
        announce_over_udp(&one, 4711)?;
        assert_eq!(one.swarm(&TORRENT).ipv4.leechers, 1);
        assert_eq!(other.swarm(&TORRENT).ipv4.leechers, 0, "each has a table of its own");
        one.stop();
        announce_over_udp(&other, 4711)?;
        assert_eq!(other.swarm(&TORRENT).ipv4.leechers, 1);
    }
    Ok(())
}

#[test]
fn a_registry_of_the_program_shows_the_tracker_as_long_as_it_runs() -> Outcome {
    let registry = Registry::new();
    let start = || Tracker::builder().registry(registry.clone());
    let shown = || TextEncoder::new().encode_to_string(&registry.gather());
    for _ in 0..2 {
        let tracker = start().config(config()?).start()?;
        announce_over_udp(&tracker, 4711)?;
        let text = shown()?;
        assert!(text.contains("xdp_tracker_requests_total"), "{text}");
        let another = start().config(config()?).start().unwrap_err().to_string();
        assert!(another.contains("shows another tracker already"), "{another}");
        tracker.stop();
        assert_eq!(shown()?, "");
        start().start().unwrap_err();
        assert_eq!(shown()?, "", "a start that fails leaves nothing");
    }
    Ok(())
}

#[test]
fn a_file_configures_it_as_it_does_the_daemon() -> Outcome {
    let path = std::env::temp_dir().join(format!("embedder-{}.yaml", std::process::id()));
    let text = "chihaya: { udp: { addr: '127.0.0.1:0' }, http: { addr: '127.0.0.1:0' } }\n";
    fs::write(&path, text)?;
    let file =
        ConfigFile { path: Some(path.display().to_string()), unknown_keys: UnknownKeys::Refuse };
    let tracker = Tracker::builder().config(file.clone()).start()?;
    fs::write(&path, text.replace("udp:", "announce_interval: 17m, udp:"))?;
    assert_eq!(tracker.reload(file)?, Default::default());
    fs::remove_file(&path)?;
    assert_eq!(announce_over_udp(&tracker, 4711)?[8..12], 1020_u32.to_be_bytes());
    Ok(())
}

#[test]
fn what_this_build_has_no_feature_for_is_refused_before_a_start() -> Outcome {
    let mut browsers = config()?;
    browsers.http.webtorrent.routes = vec!["/".to_owned()];
    let mut kernel = config()?;
    kernel.xdp.interfaces = vec!["lo".to_owned()];
    kernel.xdp.mode = tracker_user::config::AttachMode::Generic;
    for (config, feature) in [(browsers, "`webtorrent`"), (kernel, "`xdp`")] {
        let error = Tracker::builder().config(config).start().unwrap_err().to_string();
        assert!(error.contains(feature), "{error}");
    }
    Ok(())
}

/// The value of a line of a file below /proc.
fn field(status: &str, name: &str) -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string(status)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.ok_or_else(|| format!("{status} has no {name}"))?.trim().to_owned())
}

#[test]
fn it_takes_no_signals_and_privileges_and_installs_no_logger() -> Outcome {
    const OWN: &str = "/proc/thread-self/status";
    let names = ["SigCgt:", "SigIgn:", "SigBlk:", "CapEff:", "CapPrm:", "CapBnd:", "NoNewPrivs:"];
    let held = || names.map(|name| field(OWN, name).expect("Linux tells it"));
    let before = held();
    let tracker = Tracker::builder().config(config()?).start()?;
    announce_over_udp(&tracker, 4711)?;
    assert_eq!(held(), before);
    assert!(!tracing::dispatcher::has_been_set());
    tracker.stop();
    let tracker = Tracker::builder().config(config()?).drop_capabilities().start()?;
    assert_eq!(held(), before, "those of the thread that starts it stay");
    tracker.stop();
    Ok(())
}

#[test]
fn its_threads_have_no_capabilities_where_that_is_asked_for() -> Outcome {
    let mut config = config()?;
    // No other test has so many: these threads are this tracker's.
    config.udp.workers = 13;
    let tracker = Tracker::builder().config(config).drop_capabilities().start()?;
    announce_over_udp(&tracker, 4711)?;
    let mut seen = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let status = task?.path().join("status").display().to_string();
        // A thread of another test may have ended meanwhile.
        let Ok(name) = field(&status, "Name:") else { continue };
        if name.starts_with("udp-1") && name.len() == "udp-1x".len() {
            assert_eq!(field(&status, "CapPrm:")?, "0000000000000000", "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3, "udp-10 to udp-12");
    Ok(())
}
