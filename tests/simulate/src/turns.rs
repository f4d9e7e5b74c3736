//! Who runs when. All actors are coroutines of one thread; before an operation on a shared word the
//! turn may go to another, and a daemon that has been killed gets no further.
//!
//! Turns are of very different lengths: most races need one side to rest for long.

use std::{cell::RefCell, panic::resume_unwind};

use tracker_common::sync::simulate::{Hooks, install};

/// The lengths of turns, in operations.
const TURNS: [u32; 8] = [0, 0, 1, 2, 5, 20, 100, 400];

/// A daemon's number, counted from one.
pub type Generation = u32;

/// What a killed daemon unwinds with.
pub struct Killed;

#[derive(Default)]
struct Turns {
    rng: fastrand::Rng,
    steps: u64,
    /// Operations until the turn ends.
    left: u32,
    /// Of which daemon the present actor is a part.
    actor: Option<Generation>,
    /// The daemon before the next.
    dead: Generation,
    /// At which operation a daemon is to be killed.
    kill_at: Option<u64>,
}

thread_local! {
    static TURNS_NOW: RefCell<Turns> = RefCell::default();
}

fn with<T>(what: impl FnOnce(&mut Turns) -> T) -> T {
    TURNS_NOW.with_borrow_mut(what)
}

/// Begins a world.
pub fn begin(seed: u64) {
    with(|turns| *turns = Turns { rng: fastrand::Rng::with_seed(seed), ..Turns::default() });
    install(Some(Hooks { step: |_| step(), wait }));
}

/// Ends it: what is done now is done at once.
pub fn end() -> u64 {
    install(None);
    with(|turns| turns.steps)
}

/// The actor that calls is a part of this daemon from now on.
pub fn belong_to(daemon: Generation) {
    with(|turns| turns.actor = Some(daemon));
}

/// The actor that calls is no part of a daemon any more.
pub fn leave() {
    with(|turns| turns.actor = None);
}

/// Has whichever daemon runs so many operations from now killed.
pub fn kill_in(steps: u64) {
    with(|turns| turns.kill_at = Some(turns.steps + steps));
}

/// Kills all of this daemon.
fn kill(turns: &mut Turns) {
    turns.kill_at = None;
    turns.dead += 1;
}

fn step() {
    if std::thread::panicking() {
        return;
    }
    die_if_killed();
    let is_over = with(|turns| {
        turns.steps += 1;
        if turns.kill_at.is_some_and(|at| turns.steps >= at) {
            kill(turns);
            return true;
        }
        if turns.left > 0 {
            turns.left -= 1;
            return false;
        }
        turns.left = TURNS[turns.rng.usize(..TURNS.len())];
        true
    });
    if is_over {
        pass();
    }
}

/// Lets another have its turn, and comes back as who one was.
pub fn wait() {
    if std::thread::panicking() {
        return;
    }
    with(|turns| {
        turns.steps += 1;
        if turns.kill_at.is_some_and(|at| turns.steps >= at) {
            kill(turns);
        }
    });
    pass();
}

fn pass() {
    let actor = with(|turns| turns.actor.take());
    shuttle::thread::yield_now();
    with(|turns| turns.actor = actor);
    die_if_killed();
}

fn die_if_killed() {
    let killed = with(|turns| turns.actor.is_some_and(|daemon| turns.dead >= daemon));
    if killed {
        with(|turns| turns.actor = None);
        resume_unwind(Box::new(Killed));
    }
}
