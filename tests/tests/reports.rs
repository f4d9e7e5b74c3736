//! A private site that keeps account of its members: their passkeys are verified once, the kernel answers them
//! from then on, and the site is told of each announce with its passkey.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash(*b"a torrent of members");

/// The announces of each batch, by its tracker and its number.
type Batches = BTreeMap<(String, u64), Vec<Value>>;

/// An HTTP server that keeps account, until the test's process ends.
struct Site {
    address: SocketAddr,
    /// Of one that comes again there is one.
    batches: Arc<Mutex<Batches>>,
    is_down: Arc<AtomicBool>,
}

impl Site {
    fn start(host: &Host) -> Result<Self> {
        let listener = host.namespace.enter(|| TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let site = Self { address, batches: Arc::default(), is_down: Arc::default() };
        let (batches, is_down) = (Arc::clone(&site.batches), Arc::clone(&site.is_down));
        thread::spawn(move || -> Result<()> {
            for stream in listener.incoming() {
                let stream = stream?;
                let batch = read(&stream)?;
                if is_down.load(Ordering::Relaxed) {
                    write!(&stream, "HTTP/1.1 503 down\r\nContent-Length: 0\r\n\r\n")?;
                    continue;
                }
                let tracker = batch["tracker"].as_str().context("no tracker")?.to_owned();
                let number = batch["batch"].as_u64().context("no batch")?;
                let announces = batch["announces"].as_array().context("no announces")?;
                batches.lock().expect("nobody panics").insert((tracker, number), announces.clone());
                write!(&stream, "HTTP/1.1 204 thanks\r\nConnection: close\r\n\r\n")?;
            }
            Ok(())
        });
        Ok(site)
    }

    /// The post-hook that tells it of announces, with their passkeys.
    fn hook(&self) -> String {
        format!(
            "[ {{ name: report, options: {{ url: 'http://{}/announces', parameters: [passkey], \
             interval: 100ms }} }} ]",
            self.address
        )
    }

    /// Of how many announces from a port, with a passkey, it has been told.
    fn told(&self, port: u16, passkey: &str) -> usize {
        let is_it = |announce: &&Value| {
            announce["port"] == port && announce["parameters"]["passkey"] == passkey
        };
        self.batches.lock().expect("nobody panics").values().flatten().filter(is_it).count()
    }
}

fn read(stream: &TcpStream) -> Result<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// A tracker that goes by passkeys and tells the site.
fn start<'a>(server: &'a Host, site: &Site, folder: &Scratch) -> Result<Tracker<'a>> {
    let keys = folder.path().join("passkeys");
    fs::write(&keys, format!("k3y\nan0ther\n{}\n{}\n", longest_key(), too_long_key()))?;
    let prehooks =
        format!("[ {{ name: passkey, options: {{ files: [ '{}' ] }} }} ]", keys.display());
    let posthooks = site.hook();
    let options =
        Options { prehooks: &prehooks, posthooks: &posthooks, ..Options::new(Mode::Native) };
    Tracker::start_with(server, &options, folder.path())
}

/// With it the options have 128 bytes, which is as many as the kernel tells.
fn longest_key() -> String {
    "l".repeat(108)
}

fn too_long_key() -> String {
    longest_key() + "l"
}

fn url_data(passkey: &str) -> String {
    format!("/announce?passkey={passkey}")
}

/// Announces from a port until the kernel answers, and then so often; returns how often in all.
fn announce(
    tracker: &Tracker<'_>,
    client: &Host,
    family: Family,
    (port, passkey): (u16, &str),
    times: usize,
) -> Result<usize> {
    let mut udp = UdpClient::connect(&client.namespace, tracker.address(family))?;
    let announce = Announce::leecher(TORRENT, port);
    let in_kernel =
        || Ok::<_, anyhow::Error>(tracker.metrics()?.requests(Some("announce"), "kernel"));
    let mut announced = 0;
    let mut ask = || {
        announced += 1;
        udp.announce_with(&announce, &url_data(passkey)).map(drop)
    };
    eventually(|| {
        let before = in_kernel()?;
        ask()?;
        ensure!(in_kernel()? > before, "the daemon answers");
        Ok(())
    })?;
    let before = in_kernel()?;
    (0..times).try_for_each(|_| ask())?;
    let answered = in_kernel()? - before;
    ensure!(answered == times as f64, "the kernel answered {answered} of {times}");
    Ok(announced)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_site_is_told_of_each_announce_with_its_passkey_whoever_answers() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let site = Site::start(&server)?;
    let tracker = start(&server, &site, &folder)?;

    // Members behind one address share its grant.
    let long = longest_key();
    let [one, other, third, fourth] = [(1, "k3y"), (2, "an0ther"), (6, "k3y"), (7, &*long)];
    let announced = [
        announce(&tracker, &client, Family::Ipv4, one, 100)?,
        announce(&tracker, &client, Family::Ipv4, other, 50)?,
        announce(&tracker, &client, Family::Ipv6, third, 50)?,
        announce(&tracker, &client, Family::Ipv4, fourth, 50)?,
    ];
    eventually(|| {
        let told = [one, other, third, fourth].map(|(port, passkey)| site.told(port, passkey));
        ensure!(told == announced, "told of {told:?}, not of {announced:?}");
        Ok(())
    })?;

    let path = Announce::leecher(TORRENT, 3).path() + "&passkey=k3y";
    tracker.get(&client, Family::Ipv4, &path)?;
    let mut udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let before = tracker.metrics()?.requests(Some("announce"), "kernel");
    udp.announce_with(&Announce::leecher(TORRENT, 4), &url_data(&too_long_key()))?;
    let nameless = udp.announce(&Announce::leecher(TORRENT, 5));
    ensure!(nameless.is_err(), "whoever shares a grant need not show a key");
    let after = tracker.metrics()?.requests(Some("announce"), "kernel");
    ensure!(before == after, "the kernel answered what it cannot tell");
    eventually(|| {
        ensure!(site.told(3, "k3y") == 1, "nothing is told of HTTP");
        ensure!(site.told(4, &too_long_key()) == 1, "nothing is told of a long key");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn what_a_site_missed_while_it_was_down_it_is_told_later_and_at_the_end() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let site = Site::start(&server)?;
    let tracker = start(&server, &site, &folder)?;

    site.is_down.store(true, Ordering::Relaxed);
    let missed = announce(&tracker, &client, Family::Ipv4, (1, "k3y"), 20)?;
    eventually(|| {
        let failures = tracker.metrics()?.sum("xdp_tracker_report_failures_total", &[]);
        ensure!(failures > 0.0, "the site is not asked");
        Ok(())
    })?;
    ensure!(site.told(1, "k3y") == 0, "a site that is down was told something");
    site.is_down.store(false, Ordering::Relaxed);
    eventually(|| {
        let told = site.told(1, "k3y");
        ensure!(told == missed, "told of {told}, not of {missed}");
        Ok(())
    })?;
    eventually(|| {
        let said = tracker.output();
        ensure!(said.contains("its service takes announces again"), "{said}");
        Ok(())
    })?;

    let last = announce(&tracker, &client, Family::Ipv4, (2, "k3y"), 20)?;
    tracker.end(Signal::SIGTERM)?;
    ensure!(site.told(2, "k3y") == last, "the end came before it was told");
    Ok(())
}
