//! A seeded simulation of kernel and daemon at work on one table.
//!
//! * [`world`]: processors with the XDP program, a daemon of several threads, and who announces;
//! * [`turns`]: who runs when, and dies;
//! * [`model`]: what the table may hold; [`check`]: whether it does;
//! * [`kernel`], [`heap`]: what the program does, and the memory that outlives a daemon.
//!
//! A world is made of its seed alone, so it comes out the same every time.

#[cfg(test)]
mod budget;
mod check;
mod heap;
mod kernel;
mod model;
mod turns;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use clap::Parser;
use shuttle::{Config, FailurePersistence, Runner, scheduler::RandomScheduler};

use world::{Figures, World, locked};

/// Simulates worlds, each of the seed after the one before's, until enough has been done in them.
#[derive(Parser)]
struct Args {
    /// The first world's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Operations on shared memory, at least
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut seed, mut steps, mut sum) = (args.seed, 0, Figures::default());
    while steps < args.steps {
        match world_of(seed) {
            Ok((more, figures)) => {
                steps += more;
                sum.add(&figures);
            }
            Err(plan) => {
                eprintln!("simulate: FAILED in the world of seed {seed}: {plan}");
                eprintln!("simulate: again with `cargo xtask simulate --seed {seed} --steps 1`");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    println!(
        "simulate: {} worlds from seed {} on, {steps} operations on shared memory; {sum}; \
         no peer lost, doubled or torn",
        seed - args.seed,
        args.seed,
    );
    ExitCode::SUCCESS
}

/// Runs one world. Returns its operations, and what happened in it.
fn world_of(seed: u64) -> Result<(u64, Figures), String> {
    let mut config = Config::new();
    config.stack_size = 1 << 19;
    config.failure_persistence = FailurePersistence::None;
    let result = Arc::new(Mutex::new(None));
    let world = World::new(seed);
    let plan = format!("{:?}", world.plan);
    let shared = (Arc::clone(&result), Mutex::new(Some(world)));
    let run = AssertUnwindSafe(|| {
        let scheduler = RandomScheduler::new_from_seed(seed, 1);
        Runner::new(scheduler, config).run(move || {
            let world = locked(&shared.1).take().expect("one world a run");
            let table = world.run(seed);
            let steps = turns::end();
            check::all(&world, &table);
            *locked(&shared.0) = Some((steps, *locked(&world.figures)));
        });
    });
    catch_unwind(run).map_err(|_| plan)?;
    let result = locked(&result).take();
    result.ok_or_else(|| "it did not come to its end".to_owned())
}
