//! Subjects that are measured in turn, under one load.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use loadgen::Request;

use super::{
    attack::{self, Attack},
    check::Findings,
    loadgen::{ConnectionIds, Loadgen, Outcome, Pace},
    profile::Load,
    subject::{Kind, Subject},
};

/// Requests that may wait in a socket of 32 MiB: each keeps a page of 4 KiB and more.
pub const WINDOW: u64 = 6000;

/// Each turn begins with so much of the load that does not count.
const WARM_UP: Duration = Duration::from_millis(150);

/// One in so many replies is looked at, in a turn of its own.
const SAMPLE_MASK: u32 = 0xff;

/// Announces for which fresh connection ids do.
const PART: usize = 2_000_000;

/// Requests of the load that are played when measuring: reading more would cost the generator more.
const MEASURED_MAX: usize = 4_000_000;

/// The share of peers that must have had a reply when they were announced last.
const KNOWN_MIN: f64 = 0.999;

/// How often every peer is announced before measuring, at most.
const LAPS_MAX: usize = 8;

/// The subjects, and what they are asked.
pub struct Contest<'a> {
    /// Asks.
    pub loadgen: Loadgen,
    /// The load.
    pub load: &'a Load,
    contestants: Vec<Contestant>,
    /// Their requests come behind those of the load.
    attackers: Vec<Request>,
}

struct Contestant {
    subject: Subject,
    ids: Option<ConnectionIds>,
}

impl<'a> Contest<'a> {
    /// Starts the subjects and makes all peers of the load known to them.
    ///
    /// # Errors
    /// One does not start, or does not answer.
    pub fn new(object: &Path, load: &'a Load, kinds: &[Kind], folder: &Path) -> Result<Self> {
        let attackers = attack::all(load.figures.clients);
        let (clients, more) = (load.figures.clients, attackers.len() as u32);
        let requests = load.list.len().min(MEASURED_MAX).max(clients as usize) as u32;
        let mut loadgen = Loadgen::load(object, requests + more, clients + more)?;
        let mut contestants = Vec::new();
        for (number, &kind) in (0..).zip(kinds) {
            eprintln!("bench: starting {}", kind.name());
            let subject = Subject::start(kind, &mut loadgen, number, &load.figures, folder)
                .with_context(|| format!("starting {}", kind.name()))?;
            contestants.push(Contestant { subject, ids: None });
        }
        let mut contest = Self { loadgen, load, contestants, attackers };
        for (index, kind) in kinds.iter().enumerate() {
            contest.populate(index).with_context(|| format!("asking {}", kind.name()))?;
        }
        Ok(contest)
    }

    /// A subject.
    pub fn subject(&self, index: usize) -> &Subject {
        &self.contestants[index].subject
    }

    /// Announces every peer; where the kernel answers, until it answers no more of them than before.
    fn populate(&mut self, index: usize) -> Result<()> {
        let kind = self.subject(index).kind;
        if kind == Kind::Echo {
            return Ok(());
        }
        let joins = self.load.joins();
        let mut passed_before = f64::INFINITY;
        for lap in 0..LAPS_MAX {
            let (before, start) = (self.subject(index).answered()?, Instant::now());
            let joined = self.announce_all(index, &joins)?;
            let passed = self.subject(index).answered()?.by_daemon - before.by_daemon;
            let rate = joined as f64 / start.elapsed().as_secs_f64();
            eprintln!("bench: {joined} peers known to {} ({rate:.0}/s)", kind.name());
            let settled =
                kind != Kind::Kernel || lap > 0 && (passed == 0.0 || passed > 0.98 * passed_before);
            if settled && joined as f64 > KNOWN_MIN * joins.len() as f64 {
                return Ok(());
            }
            passed_before = passed;
        }
        bail!("it goes on changing after {LAPS_MAX} announces of every peer")
    }

    /// Announces all of these, in parts, for connection ids to outlive each.
    fn announce_all(&mut self, index: usize, joins: &[Request]) -> Result<u64> {
        let mut joined = 0;
        for part in joins.chunks(PART) {
            self.put(index, part)?;
            let cable = &self.contestants[index].subject.cable;
            joined += self.loadgen.play_once(cable, part.len(), WINDOW)?.good();
        }
        Ok(joined)
    }

    /// Gives the list to the generator, with this subject's connection ids.
    fn put(&mut self, index: usize, list: &[Request]) -> Result<()> {
        let Contestant { subject, ids } = &mut self.contestants[index];
        if ids.as_ref().is_none_or(ConnectionIds::are_stale) {
            let new = match subject.kind {
                Kind::Echo => ConnectionIds::none(),
                _ => {
                    let all = self.load.list.iter().chain(&self.attackers);
                    self.loadgen.connect(&subject.cable, all, WINDOW)?
                }
            };
            *ids = Some(new);
        }
        self.loadgen
            .put(list.iter().chain(&self.attackers), ids.as_ref().expect("they were just set"));
        Ok(())
    }

    /// Plays the load to one subject, flat out. One in userspace is asked by one generator, and is
    /// not overrun.
    ///
    /// # Errors
    /// The generator fails, or a client gets no connection id.
    pub fn take_turn(
        &mut self,
        index: usize,
        generators: usize,
        time: Duration,
    ) -> Result<Outcome> {
        self.put(index, self.measured())?;
        let Subject { kind, cable, .. } = &self.contestants[index].subject;
        let (loadgen, len) = (&self.loadgen, self.measured().len());
        if kind.is_userspace() {
            let pace = Pace { window: WINDOW, ..Pace::FLAT_OUT };
            return loadgen.play(cable, len, &pace, WARM_UP, time);
        }
        loadgen.play_flat_out(cable, len, generators, u32::MAX, WARM_UP)?;
        loadgen.play_flat_out(cable, len, generators, u32::MAX, time)
    }

    /// Plays the load to one subject at a pace, by one generator.
    ///
    /// # Errors
    /// As [`Contest::take_turn`].
    pub fn play(&mut self, index: usize, pace: &Pace, time: Duration) -> Result<Outcome> {
        self.put(index, self.measured())?;
        let cable = &self.contestants[index].subject.cable;
        self.loadgen.play(cable, self.measured().len(), pace, WARM_UP, time)
    }

    /// The load at the pace of [`Contest::play`], with an attack beside it.
    ///
    /// # Errors
    /// As [`Contest::take_turn`].
    pub fn play_beside(
        &mut self,
        index: usize,
        attack: Attack,
        pace: &Pace,
        time: Duration,
    ) -> Result<Outcome> {
        let (first, count) = attack.attackers();
        let attackers = (self.measured().len() + first, count);
        self.play(index, &Pace { attack: attack.number(), attackers, ..*pace }, time)
    }

    /// How long a turn of this time is played, with what does not count.
    pub fn played(&self, time: Duration) -> Duration {
        WARM_UP + time
    }

    fn measured(&self) -> &'a [Request] {
        &self.load.list[..self.load.list.len().min(MEASURED_MAX)]
    }

    /// Looks at some of a subject's replies.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn check(&mut self, index: usize) -> Result<Option<Findings>> {
        let kind = self.subject(index).kind;
        if kind == Kind::Echo {
            return Ok(None);
        }
        self.loadgen.samples();
        let pace = Pace { window: WINDOW, sample_mask: SAMPLE_MASK, ..Pace::FLAT_OUT };
        self.play(index, &pace, Duration::ZERO)?;
        let samples = self.loadgen.samples();
        let findings = Findings::of(&samples, self.load, kind.sends_checksums())
            .with_context(|| format!("a reply of {}", kind.name()))?;
        Ok(Some(findings))
    }
}
