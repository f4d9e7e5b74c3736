//! Good requests, while ten times as many bad ones arrive: see [`Attack`].
//!
//! Our own tracker has the limits that it comes with.

use std::time::Duration;

use anyhow::Result;

use super::{
    attack::Attack,
    contest::Contest,
    loadgen::{Outcome, Pace},
    report::{Cell, Table},
    stats::{Series, Turns},
};

/// Bad requests for each good one.
const FAULTS: u32 = 10;

/// Good requests per second, far below what any flood leaves room for on one processor.
const GOOD_PER_S: u32 = 50_000;

/// What is measured.
pub fn table() -> Table {
    Table::new(
        format!(
            "Good requests, {GOOD_PER_S} a second, without and with {FAULTS} bad ones for each"
        ),
        &[
            "subject",
            "bad ones",
            "answered without",
            "answered with",
            "spread",
            "of without",
            "bad answered/s",
            "passed/s",
        ],
    )
}

/// Has a subject answer good requests without and with bad ones among them, in turn.
///
/// # Errors
/// The generator fails, or the tracker does not take the limits that it comes with.
pub fn measure(
    contest: &mut Contest<'_>,
    index: usize,
    turns: &Turns,
    table: &mut Table,
) -> Result<()> {
    for attack in Attack::ALL {
        contest.subject(index).use_default_limits(attack == Attack::Options)?;
        let [mut without, mut with, mut bad, mut passed] = [const { Series(Vec::new()) }; 4];
        for _ in 0..turns.rounds {
            for faults in [0, FAULTS] {
                let interval = Duration::from_secs(1) / (GOOD_PER_S * (faults + 1));
                let pace = Pace { faults, interval, ..Pace::FLAT_OUT };
                let before = contest.subject(index).answered()?;
                let outcome = contest.play_beside(index, attack, &pace, turns.time())?;
                if faults == 0 {
                    without.0.push(answered(&outcome, 0));
                    continue;
                }
                let by_daemon = (contest.subject(index).answered()? - before).by_daemon;
                with.0.push(answered(&outcome, faults));
                bad.0.push(outcome.faulty as f64 / outcome.elapsed.as_secs_f64());
                passed.0.push(by_daemon / contest.played(turns.time()).as_secs_f64());
            }
        }
        table.push(vec![
            contest.subject(index).kind.name().into(),
            attack.name().into(),
            Cell::ratio(without.median()),
            Cell::ratio(with.median()),
            Cell::ratio_spread(&with),
            Cell::ratio(with.relative_to(&without).median()),
            Cell::number(bad.median(), 0),
            Cell::number(passed.median(), 0),
        ]);
    }
    Ok(())
}

/// The share of good requests that had a good reply.
fn answered(outcome: &Outcome, faults: u32) -> f64 {
    let sent = outcome.sent as f64 / f64::from(faults + 1);
    outcome.good() as f64 / sent
}
