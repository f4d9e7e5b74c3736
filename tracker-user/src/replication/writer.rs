//! Brings changes to Redis, and tells the other trackers of them.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use redis::{Connection, Pipeline, RedisError, Value};

use super::{
    change::{Change, Key, State},
    error::LinkError,
    health::Part,
    link::WRONG_TYPE,
    message,
    schema::{self, Group, Swarm},
    shared::{RETRY_PAUSE, Shared},
};
use crate::{
    clock::wall_ns,
    log_limit::LogLimit,
    worker::{Stopping, Worker},
};

/// What Redis says when `maxmemory` is reached.
const OUT_OF_MEMORY: &str = "OOM";

/// Changes of one peer within this time are one.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a server that is back is left to the readers of other trackers, which try it as often as we do:
/// who does not listen yet would not hear who has left.
const OTHERS_PAUSE: Duration = RETRY_PAUSE.saturating_mul(3);

/// Changes that are sent at once: a message of at most 160 KiB.
const BATCH: usize = 4096;

/// The thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    link: Option<Connection>,
    /// What has been taken from the queue and is not written yet, the first at the end.
    taken: Vec<(Key, Change)>,
    refusals: LogLimit,
}

impl Writer {
    pub(super) fn start(shared: &Arc<Shared>, link: Option<Connection>) -> io::Result<Worker> {
        let mut writer = Self {
            shared: Arc::clone(shared),
            link,
            taken: Vec::new(),
            refusals: LogLimit::default(),
        };
        Worker::start("redis-writer", move |stopping| writer.run(stopping))
    }

    fn run(&mut self, stopping: &Stopping) {
        loop {
            let is_last = stopping.is_set();
            let written = self.write(stopping);
            if let Err(error) = &written {
                self.shared.health.lost(Part::Writer, error);
                self.link = None;
            } else {
                self.shared.health.is_back(Part::Writer);
            }
            if is_last {
                return;
            }
            stopping.rest(if written.is_ok() { PAUSE } else { RETRY_PAUSE });
        }
    }

    /// Writes all that there is. What fails is written again the next time: twice does no harm, but for a
    /// completed download that counts twice elsewhere.
    fn write(&mut self, stopping: &Stopping) -> Result<(), LinkError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let link = self.shared.settings.connect()?;
                stopping.rest(OTHERS_PAUSE);
                link
            }
        };
        loop {
            if self.taken.is_empty() {
                self.taken = self.shared.queue.take();
            }
            if self.taken.is_empty() {
                self.link = Some(link);
                return Ok(());
            }
            let rest = self.taken.len().saturating_sub(BATCH);
            self.write_batch(&mut link, &self.taken[rest..])?;
            self.taken.truncate(rest);
        }
    }

    fn write_batch(&self, link: &mut Connection, batch: &[(Key, Change)]) -> Result<(), LinkError> {
        let Shared { settings, instance, .. } = &*self.shared;
        let mut writes = Writes::of(batch);
        let replies: Vec<Value> = writes.pipeline.ignore_errors().query(link)?;
        self.see_to_refusals(&replies)?;
        // Others may look at Redis at any time: who has left is to be gone from there when they hear of it.
        let message = message::encode(*instance, batch, wall_ns());
        let channel = message::channel(settings.broker.database);
        redis::cmd("PUBLISH").arg(channel).arg(message).query::<()>(link)?;
        self.depart(batch);
        let mut counts = counts(&writes.counted, &replies);
        if !counts.is_empty() {
            // They only show: a count that cannot be brought up to date is left as it is.
            let replies: Vec<Value> = counts.ignore_errors().query(link)?;
            let refused = replies.iter().filter(|reply| matches!(reply, Value::ServerError(_)));
            self.shared.metrics.refused.inc_by(refused.count() as u64);
        }
        Ok(())
    }

    /// Passes over commands that Redis refuses for the key's or for memory's sake, as it would the next time.
    /// Any other refusal concerns all of them.
    fn see_to_refusals(&self, replies: &[Value]) -> Result<(), LinkError> {
        let refused = replies.iter().filter_map(|reply| match reply {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        for error in refused {
            if !matches!(error.code(), WRONG_TYPE | OUT_OF_MEMORY) {
                return Err(RedisError::from(error.clone()).into());
            }
            self.shared.metrics.refused.inc();
            if let Some(times) = self.refusals.admit() {
                tracing::error!(
                    "storage.config.redis_broker: Redis refuses to write ({times} times): {error}"
                );
            }
        }
        Ok(())
    }

    /// Removes who has left from the table once more, where a look at Redis may have brought them back; but
    /// not who is here again.
    fn depart(&self, batch: &[(Key, Change)]) {
        let Shared { departed, storage, queue, .. } = &*self.shared;
        let now_ns = wall_ns();
        for (key, change) in batch.iter().filter(|(_, change)| change.state == State::Gone) {
            departed.note(*key);
            if departed.may_be_back(change.at_ns) && !queue.has(key) {
                let (info_hash, peer) = key;
                storage.depart(info_hash, *peer, message::age(change.at_ns, now_ns));
            }
        }
    }
}

/// What a reply adds to, and how: a field that was new or was there counts 1.
type Counted = (String, i64);

/// The commands of a batch, and what the replies to the first of them count.
struct Writes {
    pipeline: Pipeline,
    counted: Vec<Counted>,
}

impl Writes {
    fn of(batch: &[(Key, Change)]) -> Self {
        let mut writes = Self { pipeline: redis::pipe(), counted: Vec::new() };
        let mut touched = HashMap::new();
        for ((info_hash, peer), change) in batch {
            let group = Group::of(peer);
            let field = schema::field(&change.peer_id, peer);
            for is_seeders in [false, true] {
                let swarm = Swarm { group, is_seeders, info_hash: *info_hash };
                let is_in = match change.state {
                    State::Leecher => !is_seeders,
                    State::Seeder => is_seeders,
                    State::Gone => false,
                };
                if is_in {
                    writes.pipeline.cmd("HSET").arg(swarm.key()).arg(&field).arg(change.at_ns);
                    touched.insert(swarm, change.at_ns);
                } else {
                    writes.pipeline.cmd("HDEL").arg(swarm.key()).arg(&field);
                }
                writes.counted.push((swarm.count_key(), if is_in { 1 } else { -1 }));
            }
        }
        // After the peers: a swarm that is listed and empty would be taken off the list.
        for (swarm, at_ns) in touched {
            writes.pipeline.cmd("HSET").arg(swarm.group.key()).arg(swarm.key()).arg(at_ns);
            let counts = if swarm.is_seeders { 1 } else { 0 };
            writes.counted.push((schema::swarms_count_key(swarm.group), counts));
        }
        writes
    }
}

/// The commands that bring Chihaya's counts up to date.
fn counts(counted: &[Counted], replies: &[Value]) -> Pipeline {
    let mut sums = HashMap::new();
    for ((key, counts), reply) in counted.iter().zip(replies) {
        if let Value::Int(reply) = reply {
            *sums.entry(key).or_insert(0) += counts * reply;
        }
    }
    let mut pipeline = redis::pipe();
    for (key, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
        pipeline.cmd("INCRBY").arg(key).arg(sum);
    }
    pipeline
}
