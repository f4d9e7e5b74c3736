//! A list of a million torrents that is replaced while they are announced.

use std::{
    fmt::Write as _,
    fs,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, bail, ensure};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

/// The list before, the list after: a million each, half of them in both.
const BEFORE: Range<u32> = 0..1_000_000;
const AFTER: Range<u32> = 500_000..1_500_000;

/// Torrents of each kind that are announced.
const SAMPLE: u32 = 25;

/// Clients that announce at the same time.
const CLIENTS: usize = 2;

/// Turns of each client before the list is replaced, and after.
const TURNS: usize = 3;

/// Puts a list into the place of the one before, as a whole.
fn write_list(path: &Path, numbers: Range<u32>) -> Result<()> {
    let mut text = String::new();
    for number in numbers {
        writeln!(text, "{}", InfoHash::numbered(number))?;
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, path)?)
}

/// A torrent that is announced, and what one client has been told of it.
struct Watched {
    announce: Announce,
    is_admitted: bool,
    was_admitted: bool,
    will_be_admitted: bool,
    changes: u32,
}

impl Watched {
    fn new(number: u32, port: u16) -> Self {
        let [was_admitted, will_be_admitted] = [BEFORE, AFTER].map(|list| list.contains(&number));
        let announce = Announce::leecher(InfoHash::numbered(number), port);
        Self { announce, is_admitted: was_admitted, was_admitted, will_be_admitted, changes: 0 }
    }

    fn note(&mut self, is_admitted: bool) {
        self.changes += u32::from(self.is_admitted != is_admitted);
        self.is_admitted = is_admitted;
    }

    /// Fails unless it was admitted or refused by one list until it was by the other.
    fn ensure_changed_once(&self) -> Result<()> {
        let Self { was_admitted, will_be_admitted, changes, .. } = self;
        let expected = u32::from(was_admitted != will_be_admitted);
        ensure!(
            *changes == expected && self.is_admitted == *will_be_admitted,
            "{}: {changes} changes from {was_admitted} to {will_be_admitted}",
            self.announce.info_hash,
        );
        Ok(())
    }
}

/// Torrents in the list before only, in both, in the list after only, and in neither.
fn sample(port: u16) -> Vec<Watched> {
    let kinds = [0, 500_000, 1_000_000, 1_500_000].into_iter();
    let numbers = kinds.flat_map(|first| (0..SAMPLE).map(move |n| first + n * 500_000 / SAMPLE));
    numbers.map(|number| Watched::new(number, port)).collect()
}

/// How often a client has announced all of its sample, and how often since it was first told otherwise.
#[derive(Default)]
struct Turns {
    all: AtomicUsize,
    after: AtomicUsize,
}

/// A client that announces every torrent of the sample in turn, over UDP and over HTTP.
struct Client<'a> {
    tracker: &'a Tracker<'a>,
    host: &'a Host,
    udp: UdpClient,
    watched: Vec<Watched>,
    turns: &'a Turns,
}

impl Client<'_> {
    fn announce_until(mut self, is_over: &AtomicBool) -> Result<Vec<Watched>> {
        while !is_over.load(Ordering::Relaxed) {
            // A connection id lives for two minutes.
            self.udp.reconnect()?;
            let has_changed = self.watched.iter().any(|watched| watched.changes > 0);
            self.turn()?;
            self.turns.all.fetch_add(1, Ordering::Relaxed);
            self.turns.after.fetch_add(has_changed.into(), Ordering::Relaxed);
        }
        Ok(self.watched)
    }

    fn turn(&mut self) -> Result<()> {
        for watched in &mut self.watched {
            match self.udp.announce(&watched.announce) {
                Ok(_) => watched.note(true),
                Err(error) if error.to_string().contains("unapproved torrent") => {
                    watched.note(false);
                }
                Err(error) => bail!(error),
            }
            let reply = self.tracker.get(self.host, Family::Ipv4, &watched.announce.path())?;
            watched.note(!reply.ends_with(b"18:unapproved torrente"));
        }
        Ok(())
    }
}

/// Waits until each client has had its turns.
fn wait_for_turns<'a>(turns: impl Iterator<Item = &'a AtomicUsize> + Clone) -> Result<()> {
    eventually(|| {
        let fewest = turns.clone().map(|turns| turns.load(Ordering::Relaxed)).min();
        ensure!(fewest >= Some(TURNS), "{fewest:?} turns of {TURNS}");
        Ok(())
    })
}

fn replaced_under_load(mode: Mode) -> Result<()> {
    let folder = Scratch::new()?;
    let list = folder.path().join("whitelist");
    write_list(&list, BEFORE)?;
    let ([server, client], _far_end) = Host::pair()?;
    let options = format!("{{ whitelist_files: [ '{}' ] }}", list.display());
    let prehooks = format!("[ {{ name: torrent approval, options: {options} }} ]");
    // Room for both lists.
    let options = Options { torrents: 1_700_000, prehooks: &prehooks, ..Options::new(mode) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let turns = [(); CLIENTS].map(|()| Turns::default());
    let is_over = AtomicBool::new(false);

    let watched = thread::scope(|scope| {
        let mut clients = Vec::new();
        for (turns, port) in turns.iter().zip(1..) {
            let udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
            let client =
                Client { tracker: &tracker, host: &client, udp, watched: sample(port), turns };
            clients.push(scope.spawn(|| client.announce_until(&is_over)));
        }
        let replaced = wait_for_turns(turns.iter().map(|turns| &turns.all))
            .and_then(|()| write_list(&list, AFTER))
            .and_then(|()| wait_for_turns(turns.iter().map(|turns| &turns.after)));
        is_over.store(true, Ordering::Relaxed);
        let watched = clients.into_iter().map(|client| client.join().expect("it does not panic"));
        let watched = watched.collect::<Result<Vec<_>>>()?;
        replaced.map(|()| watched)
    })?;

    watched.iter().flatten().try_for_each(Watched::ensure_changed_once)?;
    let metrics = tracker.metrics()?;
    let [kernel, user] = ["kernel", "user"].map(|path| metrics.requests(Some("announce"), path));
    eprintln!("{kernel} announces decided on in the kernel, {user} by the daemon");
    ensure!((kernel > 0.0) == (mode != Mode::Off), "the kernel has decided on {kernel}");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_million_torrents_are_replaced_at_one_moment_in_kernel_and_daemon() -> Result<()> {
    replaced_under_load(Mode::Native)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_million_torrents_are_replaced_at_one_moment_in_userspace() -> Result<()> {
    replaced_under_load(Mode::Off)
}
