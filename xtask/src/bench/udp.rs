//! `bench udp`: replies per second of a tracker's processor time, over the loopback interface.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use loadgen::Request;
use tempfile::TempDir;
use tracker_tests::{Namespace, Program};

use super::{
    aquatic_load,
    check::Findings,
    loader::{Length, Loader, Played, TRACKER},
    or_all,
    processor::CpuClock,
    profile::{Figures, Load, Profile},
    report::{self, Cell, Table},
    socket_memory::SocketMemory,
    stats::{Series, Turns},
    subject::{self, Kind},
};

/// What `cargo xtask bench udp` accepts.
#[derive(clap::Args)]
pub struct Args {
    /// The loads; all but the largest when none is named
    #[arg(long = "profile", value_enum)]
    profiles: Vec<Profile>,
    #[command(flatten)]
    turns: Turns,
}

impl Args {
    /// See [`super::Bench::shorten`].
    pub fn shorten(&mut self) {
        if self.profiles.is_empty() {
            self.profiles.push(Profile::Hot);
        }
        self.turns.shorten();
    }
}

/// The first is what the others are compared to.
const KINDS: [Kind; 3] = [Kind::Aquatic, Kind::Userspace, Kind::Opentracker];

/// A subject's connection ids are renewed before they may expire.
const IDS_USABLE: Duration = Duration::from_secs(60);

const WARM_UP: Duration = Duration::from_millis(200);

/// Measures.
///
/// # Errors
/// A tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    KINDS.iter().try_for_each(|kind| kind.install())?;
    let _socket_memory = SocketMemory::raise()?;
    let mut table = Table::new(
        "Userspace only, over loopback, one worker each",
        &[
            "profile",
            "subject",
            "replies/CPU-s",
            "spread",
            "of aquatic_udp",
            "replies/s",
            "peers a reply",
        ],
    );
    for profile in or_all(&args.profiles) {
        measure(profile, &args.turns, &mut table)?;
    }
    let tables = [table, measure_with_foreign_load(&args.turns)?];
    report::publish("udp", &tables)
}

/// Trackers that take torrents which are on no list, as that load makes them.
const FOREIGN_KINDS: [Kind; 2] = [Kind::Aquatic, Kind::Userspace];

fn measure_with_foreign_load(turns: &Turns) -> Result<Table> {
    let mut table = Table::new(
        "Likewise, with aquatic_udp_load_test",
        &["subject", "replies/CPU-s", "spread", "of aquatic_udp", "replies/s"],
    );
    let figures = Figures::uniform(20_000, 1, 1);
    let folder = TempDir::new()?;
    let start = |kind: &Kind| -> Result<_> {
        let host = Namespace::new()?;
        let program = subject::start_in_userspace(*kind, &host, TRACKER, &figures, folder.path())?;
        Ok((host, program))
    };
    let trackers: Vec<_> = FOREIGN_KINDS.iter().map(start).collect::<Result<_>>()?;
    let mut series = vec![[Series::default(), Series::default()]; FOREIGN_KINDS.len()];
    for _ in 0..turns.rounds {
        for ((host, program), [per_cpu_s, per_s]) in trackers.iter().zip(&mut series) {
            let clock = CpuClock::of(program)?;
            let replies = aquatic_load::play(host, folder.path())?;
            per_cpu_s.0.push(replies / clock.elapsed()?.as_secs_f64());
            per_s.0.push(replies / aquatic_load::SECONDS as f64);
        }
    }
    for (kind, [per_cpu_s, per_s]) in FOREIGN_KINDS.iter().zip(&series) {
        table.push(vec![
            kind.name().into(),
            Cell::number(per_cpu_s.median(), 0),
            Cell::spread(per_cpu_s),
            Cell::ratio(per_cpu_s.relative_to(&series[0][0]).median()),
            Cell::number(per_s.median(), 0),
        ]);
    }
    Ok(table)
}

fn measure(profile: Profile, turns: &Turns, table: &mut Table) -> Result<()> {
    let load = Load::new(profile.figures(), 0);
    let folder = TempDir::new()?;
    let hosts: Vec<_> = KINDS.iter().map(|_| Namespace::new()).collect::<Result<_>>()?;
    let mut contestants: Vec<_> = KINDS
        .iter()
        .zip(&hosts)
        .map(|(kind, host)| {
            Contestant::start(*kind, host, &load, &folder)
                .with_context(|| format!("starting {}", kind.name()))
        })
        .collect::<Result<_>>()?;
    let mut series = vec![[Series::default(), Series::default()]; KINDS.len()];
    for _ in 0..turns.rounds {
        for (contestant, [per_cpu_s, per_s]) in contestants.iter_mut().zip(&mut series) {
            let (cpu, played) = contestant.take_turn(turns.time())?;
            per_cpu_s.0.push(played.good as f64 / cpu.as_secs_f64());
            per_s.0.push(played.good as f64 / played.elapsed.as_secs_f64());
        }
    }
    let baseline = series[0][0].clone();
    for (contestant, [per_cpu_s, per_s]) in contestants.iter_mut().zip(&series) {
        table.push(vec![
            profile.name().into(),
            contestant.kind.name().into(),
            Cell::number(per_cpu_s.median(), 0),
            Cell::spread(per_cpu_s),
            Cell::ratio(per_cpu_s.relative_to(&baseline).median()),
            Cell::number(per_s.median(), 0),
            Cell::number(contestant.check()?.peers_per_announce(), 1),
        ]);
    }
    Ok(())
}

struct Contestant<'a> {
    kind: Kind,
    load: &'a Load,
    loader: Loader<'a>,
    program: Program,
    /// With this tracker's connection ids.
    list: Vec<Request>,
    connected_at: Instant,
}

impl<'a> Contestant<'a> {
    /// Starts a tracker and makes all peers known to it.
    fn start(kind: Kind, host: &'a Namespace, load: &'a Load, folder: &TempDir) -> Result<Self> {
        let program =
            subject::start_in_userspace(kind, host, TRACKER, &load.figures, folder.path())?;
        let loader = Loader::new(host)?;
        let list = load.list.clone();
        let mut contestant =
            Self { kind, load, loader, program, list, connected_at: Instant::now() };
        contestant.connect()?;
        let mut joins = load.joins();
        contestant.loader.connect(&mut joins, load.figures.clients)?;
        contestant.loader.play(&joins, Length::Once, |_| None)?;
        Ok(contestant)
    }

    fn connect(&mut self) -> Result<()> {
        self.connected_at = Instant::now();
        self.loader.connect(&mut self.list, self.load.figures.clients)
    }

    fn take_turn(&mut self, time: Duration) -> Result<(Duration, Played)> {
        if self.connected_at.elapsed() > IDS_USABLE {
            self.connect()?;
        }
        self.loader.play(&self.list, Length::For(WARM_UP), |_| None)?;
        let clock = CpuClock::of(&self.program)?;
        let played = self.loader.play(&self.list, Length::For(time), |_| None)?;
        Ok((clock.elapsed()?, played))
    }

    /// Looks at the replies of a turn.
    fn check(&mut self) -> Result<Findings> {
        let mut findings = Findings::default();
        let mut wrong = None;
        self.loader.play(&self.list, Length::For(WARM_UP), |message| {
            if let Err(error) = findings.look_at_message(message, self.load) {
                wrong = Some(error.context(format!("{message:02x?}")));
            }
            Some(())
        })?;
        match wrong {
            Some(error) => Err(error.context(format!("a reply of {}", self.kind.name()))),
            None => Ok(findings),
        }
    }
}
