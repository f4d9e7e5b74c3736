//! Looks at Redis every `gc_interval`, and when there is a reason to.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    error::LinkError,
    health::Part,
    shared::{RETRY_PAUSE, Shared},
    survey::Survey,
};
use crate::worker::{Stopping, Worker};

/// How often it sees whether it is wanted.
const LOOK: Duration = Duration::from_millis(250);

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Worker> {
    let shared = Arc::clone(shared);
    Worker::start("redis-syncer", move |stopping| run(&shared, stopping))
}

fn run(shared: &Shared, stopping: &Stopping) {
    let mut begun = Instant::now();
    while !stopping.is_set() {
        let is_due = begun.elapsed() >= *shared.config.load().gc_interval;
        if !shared.sync_wanted.take() && !is_due {
            stopping.rest(LOOK);
            continue;
        }
        begun = Instant::now();
        match survey(shared, stopping) {
            Ok(()) => _ = shared.health.is_back(Part::Syncer),
            Err(error) => {
                shared.health.lost(Part::Syncer, &error);
                shared.sync_wanted.set();
                stopping.rest(RETRY_PAUSE);
            }
        }
    }
}

fn survey(shared: &Shared, stopping: &Stopping) -> Result<(), LinkError> {
    let mut link = shared.settings.connect()?;
    Survey::new(shared).run(&mut link, &|| stopping.is_set()).map(drop)
}
