//! `bench dataplane`: replies per second, counted where they arrive.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    contest::Contest,
    hostile, or_all,
    profile::{Load, Profile},
    program::AttachedProgram,
    report::{self, Cell, Table},
    socket_memory::SocketMemory,
    stats::{Series, Turns},
    subject::{Answered, Kind},
    sweep,
};
use crate::build;

/// What `cargo xtask bench dataplane` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The loads; all when none is named
    #[arg(long = "profile", value_enum)]
    profiles: Vec<Profile>,
    /// Who takes turns with the echo; all when none is named
    #[arg(long = "subject", value_enum)]
    subjects: Vec<Kind>,
    /// Leave out the growing number of torrents
    #[arg(long)]
    no_sweep: bool,
    /// The share of clients with an IPv6 address where nobody else takes part
    #[arg(long, default_value_t = 20)]
    ipv6_percent: u32,
    #[command(flatten)]
    turns: Turns,
}

impl Args {
    /// See [`super::Bench::shorten`].
    pub fn shorten(&mut self) {
        if self.profiles.is_empty() {
            self.profiles.push(Profile::Hot);
        }
        if self.subjects.is_empty() {
            self.subjects.push(Kind::Kernel);
        }
        self.no_sweep = true;
        self.turns.shorten();
    }
}

/// Those that answer in the kernel, to which more than one generator can be put.
const IN_KERNEL: [Kind; 2] = [Kind::Echo, Kind::Kernel];

/// Measures.
///
/// # Errors
/// There is no BPF toolchain, or a tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    let object = build::bpf("loadgen-ebpf")?.context("this benchmark needs a BPF toolchain")?;
    let _socket_memory = SocketMemory::raise()?;
    let mut bench = Dataplane::new(args, object)?;
    for profile in or_all(&args.profiles) {
        bench.measure(profile)?;
    }
    let mut tables = vec![bench.throughput, bench.program, bench.hostile];
    if !args.no_sweep {
        tables.push(sweep::measure(&bench.object, &args.turns)?);
    }
    report::publish("dataplane", &tables)
}

struct Dataplane<'a> {
    args: &'a Args,
    object: PathBuf,
    others: Vec<Kind>,
    throughput: Table,
    program: Table,
    hostile: Table,
}

impl<'a> Dataplane<'a> {
    fn new(args: &'a Args, object: PathBuf) -> Result<Self> {
        let chosen = or_all(&args.subjects);
        let others: Vec<_> = chosen.into_iter().filter(|kind| !IN_KERNEL.contains(kind)).collect();
        others.iter().try_for_each(|kind| kind.install())?;
        let throughput = Table::new(
            format!(
                "Replies over a veth pair: medians of {} turns of {} ms, taken in turn",
                args.turns.rounds, args.turns.milliseconds
            ),
            &[
                "profile",
                "subject",
                "IPv6 %",
                "generators",
                "replies/s",
                "spread",
                "of echo",
                "of the best peer",
                "in kernel",
                "peers a reply",
            ],
        );
        let program = Table::new(
            "The XDP program",
            &[
                "profile",
                "ns a run",
                "ns of echo",
                "verified instructions",
                "translated bytes",
                "machine code bytes",
            ],
        );
        Ok(Self { args, object, others, throughput, program, hostile: hostile::table() })
    }

    fn measure(&mut self, profile: Profile) -> Result<()> {
        let load = Load::new(profile.figures(), self.args.ipv6_percent);
        let folder = TempDir::new()?;
        let mut contest = Contest::new(&self.object, &load, &IN_KERNEL, folder.path())?;
        for generators in [1, 2] {
            self.take_turns(profile, &mut contest, &Entrant::all(&IN_KERNEL, generators))?;
        }
        self.look_at_program(profile, &mut contest)?;
        if profile == Profile::Public {
            hostile::measure(&mut contest, 1, &self.args.turns, &mut self.hostile)?;
        }
        drop(contest);
        if self.others.is_empty() {
            return Ok(());
        }
        let load = Load::new(profile.figures(), 0);
        let all = [&IN_KERNEL, self.others.as_slice()].concat();
        let folder = TempDir::new()?;
        let mut contest = Contest::new(&self.object, &load, &all, folder.path())?;
        // Those in the kernel take their turns among the others with two generators as well: they
        // answer on the processor that asks, while another tracker answers on one of its own.
        let entrants = [Entrant::all(&all, 1), Entrant::all(&IN_KERNEL, 2)].concat();
        self.take_turns(profile, &mut contest, &entrants)
    }

    fn take_turns(
        &mut self,
        profile: Profile,
        contest: &mut Contest<'_>,
        entrants: &[Entrant],
    ) -> Result<()> {
        let turns = &self.args.turns;
        let mut series = vec![Series::default(); entrants.len()];
        let mut answered = vec![Answered::default(); entrants.len()];
        for _ in 0..turns.rounds {
            for (entrant, &Entrant { index, generators, .. }) in entrants.iter().enumerate() {
                let before = contest.subject(index).answered()?;
                let outcome = contest.take_turn(index, generators, turns.time())?;
                answered[entrant] += contest.subject(index).answered()? - before;
                series[entrant].0.push(outcome.rate());
            }
        }
        let best_peer = best_peer(entrants, &series);
        for (entrant, &Entrant { kind, index, generators }) in entrants.iter().enumerate() {
            let findings = contest.check(index)?;
            let peers = findings.map_or(f64::NAN, |findings| findings.peers_per_announce());
            let rates = &series[entrant];
            let echo = entrants
                .iter()
                .position(|other| (other.kind, other.generators) == (Kind::Echo, generators));
            let relative = |to: Option<usize>| {
                to.map_or(f64::NAN, |to| rates.relative_to(&series[to]).median())
            };
            self.throughput.push(vec![
                profile.name().into(),
                kind.name().into(),
                Cell::number(f64::from(contest.load.v6_percent), 0),
                Cell::number(generators as f64, 0),
                Cell::number(rates.median(), 0),
                Cell::spread(rates),
                Cell::ratio(relative(echo)),
                Cell::ratio(relative(best_peer)),
                Cell::ratio(answered[entrant].in_kernel()),
                Cell::number(peers, 1),
            ]);
        }
        Ok(())
    }

    fn look_at_program(&mut self, profile: Profile, contest: &mut Contest<'_>) -> Result<()> {
        let echo_ns = AttachedProgram::run_ns(contest, 0, &self.args.turns)?;
        let run_ns = AttachedProgram::run_ns(contest, 1, &self.args.turns)?;
        let program = AttachedProgram::on(&contest.subject(1).cable.far)?;
        self.program.push(vec![
            profile.name().into(),
            Cell::number(run_ns, 0),
            Cell::number(echo_ns, 0),
            Cell::number(program.verified_instructions(), 0),
            Cell::number(program.translated_bytes(), 0),
            Cell::number(program.machine_code_bytes(), 0),
        ]);
        Ok(())
    }
}

/// One that takes turns with others.
#[derive(Clone, Copy)]
struct Entrant {
    kind: Kind,
    /// Among the subjects of the contest.
    index: usize,
    generators: usize,
}

impl Entrant {
    fn all(kinds: &[Kind], generators: usize) -> Vec<Self> {
        let of = |(index, &kind)| Self { kind, index, generators };
        kinds.iter().enumerate().map(of).collect()
    }
}

/// The fastest of the others' trackers.
fn best_peer(entrants: &[Entrant], series: &[Series]) -> Option<usize> {
    let peers = (0..entrants.len()).filter(|&entrant| entrants[entrant].kind.is_peer());
    peers.max_by(|&a, &b| series[a].median().total_cmp(&series[b].median()))
}
