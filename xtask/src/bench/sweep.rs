//! What an announce costs as torrents become more.

use std::{hint::black_box, path::Path, time::Instant};

use anyhow::Result;
use fastrand::Rng;
use tempfile::TempDir;

use super::{
    contest::Contest,
    profile::{Figures, Load},
    program::AttachedProgram,
    report::{Cell, Table},
    stats::{Series, Turns},
    subject::Kind,
};

const TORRENTS: [u32; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// Clients announce one torrent each, or several where there are more torrents than clients.
const CLIENTS_MAX: u32 = 1_000_000;

const LINE_BYTES: usize = 64;

/// Steps of a walk through memory that are timed.
const STEPS: u32 = 2_000_000;

/// Measures the XDP program with more and more torrents of one IPv4 peer each.
///
/// # Errors
/// As [`Contest`].
pub fn measure(object: &Path, turns: &Turns) -> Result<Table> {
    let mut table = Table::new(
        "Announces of torrents of one peer each, IPv4, one generator",
        &[
            "torrents",
            "replies/s",
            "of echo",
            "ns a reply",
            "of the first",
            "ns a run",
            "ns a miss",
            "misses more",
        ],
    );
    table.note(
        "ns a miss: a dependent load from as much memory as the torrents' lines fill, measured here; \
         misses more: what the run takes longer than in the first row, in these",
    );
    let mut first = None;
    for torrents in TORRENTS {
        let row = Row::measure(object, torrents, turns)?;
        let first = *first.get_or_insert(row);
        table.push(vec![
            Cell::number(f64::from(torrents), 0),
            Cell::number(1e9 / row.reply_ns, 0),
            Cell::ratio(row.of_echo),
            Cell::number(row.reply_ns, 0),
            Cell::ratio(row.reply_ns / first.reply_ns),
            Cell::number(row.run_ns, 0),
            Cell::number(row.miss_ns, 0),
            Cell::number((row.run_ns - first.run_ns) / row.miss_ns, 1),
        ]);
    }
    Ok(table)
}

#[derive(Clone, Copy)]
struct Row {
    reply_ns: f64,
    of_echo: f64,
    run_ns: f64,
    miss_ns: f64,
}

impl Row {
    fn measure(object: &Path, torrents: u32, turns: &Turns) -> Result<Self> {
        let load = Load::new(Figures::uniform(torrents, 1, torrents.min(CLIENTS_MAX)), 0);
        let folder = TempDir::new()?;
        let kinds = [Kind::Echo, Kind::Kernel];
        let mut contest = Contest::new(object, &load, &kinds, folder.path())?;
        let mut rates = [const { Series(Vec::new()) }; 2];
        for _ in 0..turns.rounds {
            for (index, rates) in rates.iter_mut().enumerate() {
                rates.0.push(contest.take_turn(index, 1, turns.time())?.rate());
            }
        }
        let [echo, kernel] = rates;
        Ok(Self {
            reply_ns: 1e9 / kernel.median(),
            of_echo: kernel.relative_to(&echo).median(),
            run_ns: AttachedProgram::run_ns(&mut contest, 1, turns)?,
            miss_ns: miss_ns(torrents as usize),
        })
    }
}

/// What a load takes whose address depends on the one before, from so many cache lines.
fn miss_ns(lines: usize) -> f64 {
    const WORDS: usize = LINE_BYTES / size_of::<usize>();
    let mut order: Vec<_> = (0..lines).collect();
    Rng::with_seed(1).shuffle(&mut order);
    let mut memory = vec![0; lines * WORDS];
    for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
        memory[from * WORDS] = to * WORDS;
    }
    let walk = |at: usize| (0..STEPS).fold(at, |at, _| memory[at]);
    let at = walk(0);
    let start = Instant::now();
    black_box(walk(at));
    start.elapsed().as_nanos() as f64 / f64::from(STEPS)
}
