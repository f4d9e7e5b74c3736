//! `bench memory`: what a torrent with one peer takes, and each further peer.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tracker_tests::{Namespace, Program};

use super::{
    loader::{Length, Loader, TRACKER},
    profile::{Figures, Profile},
    report::{self, Cell, Table},
    socket_memory::SocketMemory,
    subject::{self, Kind},
};

/// What `cargo xtask bench memory` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// How many torrents
    #[arg(long = "torrents", default_values_t = TORRENTS)]
    torrents: Vec<u32>,
}

const TORRENTS: [u32; 3] = [10_000, 1_000_000, 10_000_000];

impl Args {
    /// See [`super::Bench::shorten`].
    pub fn shorten(&mut self) {
        self.torrents.truncate(1);
    }
}

const KINDS: [Kind; 3] = [Kind::Userspace, Kind::Opentracker, Kind::Aquatic];

/// Announces that are made between two renewals of connection ids.
const PART: usize = 4_000_000;

/// Measures.
///
/// # Errors
/// A tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    KINDS.iter().try_for_each(|kind| kind.install())?;
    let _socket_memory = SocketMemory::raise()?;
    let mut table = Table::new(
        "Resident memory, public profile, IPv4, userspace only",
        &[
            "torrents",
            "subject",
            "peers",
            "idle MB",
            "MB",
            "B a torrent of one",
            "B a further peer",
            "B a peer",
        ],
    );
    for torrents in &args.torrents {
        let figures = Profile::Public.figures().with_torrents(*torrents);
        for kind in KINDS {
            let row = measure(kind, &figures)
                .with_context(|| format!("{} with {torrents} torrents", kind.name()))?;
            table.push(row);
        }
    }
    report::publish("memory", &[table])
}

fn measure(kind: Kind, figures: &Figures) -> Result<Vec<Cell>> {
    let folder = TempDir::new()?;
    let host = Namespace::new()?;
    let program = subject::start_in_userspace(kind, &host, TRACKER, figures, folder.path())?;
    let loader = Loader::new(&host)?;
    let idle = resident_bytes(&program)?;
    let peers: Vec<_> = figures.peers_in_order().collect();
    let is_first = |at: &usize| *at == 0 || peers[*at].torrent != peers[at - 1].torrent;
    let (first, further): (Vec<_>, Vec<_>) = (0..peers.len()).partition(is_first);
    let announce = |chosen: &[usize]| -> Result<u64> {
        for part in chosen.chunks(PART) {
            let mut part: Vec<_> = part.iter().map(|at| peers[*at]).collect();
            loader.connect(&mut part, figures.clients)?;
            loader.play(&part, Length::Once, |_| None)?;
        }
        resident_bytes(&program)
    };
    let with_first = announce(&first)?;
    let with_all = announce(&further)?;
    let (torrents, others) = (first.len() as f64, further.len() as f64);
    let mb = |bytes: u64| Cell::number(bytes as f64 / 1e6, 1);
    Ok(vec![
        Cell::number(torrents, 0),
        kind.name().into(),
        Cell::number(peers.len() as f64, 0),
        mb(idle),
        mb(with_all),
        Cell::number((with_first - idle) as f64 / torrents, 1),
        Cell::number((with_all - with_first) as f64 / others, 1),
        Cell::number((with_all - idle) as f64 / peers.len() as f64, 1),
    ])
}

/// Memory of a process that is there, not only promised.
fn resident_bytes(program: &Program) -> Result<u64> {
    let status =
        fs::read_to_string(Path::new("/proc").join(program.id().to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
