//! Swarms shared by several trackers, and kept when all of them are down: in Redis, as Chihaya keeps them.
//!
//! Each tracker serves from its own table. What it hears goes to Redis and, by a channel, to the other
//! trackers; what was missed is taken from Redis at the start, after an outage, and every `gc_interval`. No
//! request waits for Redis.
//!
//! * `link`, `tls`: connections, and whom they are with;
//! * `schema`: keys and fields;
//! * `feed`, `queue`: announces on their way out;
//! * `writer`: brings them to Redis, and `message` to the other trackers;
//! * `reader`: hears those;
//! * `syncer`, `survey`: look at what Redis holds, and remove what has expired.

mod access;
mod change;
mod departed;
mod error;
mod feed;
mod health;
mod link;
pub mod message;
mod queue;
mod reader;
pub mod schema;
mod script;
mod shared;
mod survey;
mod syncer;
mod tls;
mod writer;

use std::{
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use redis::Connection;

pub use access::Writes;

use self::{
    departed::Departed,
    error::{FileError, LinkError},
    health::Health,
    link::Settings,
    queue::Queue,
    reader::Reader,
    shared::{Shared, Wanted},
    survey::{Found, Survey},
    tls::Files,
    writer::Writer,
};
use crate::{
    config::{Broker, BrokerError, RedisConfig, StorageConfig},
    metrics::{Metrics, RedisMetrics},
    pipeline::PostHook,
    privileges,
    storage::memory::MemoryStorage,
    worker::Worker,
};

/// How long a start waits for what Redis holds. The rest is fetched while the tracker serves.
const START_SYNC_MAX: Duration = Duration::from_secs(60);

/// How long an end waits for Redis.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Why the storage `redis` cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL names no server.
    #[error("storage.config.redis_broker: {0}")]
    Broker(#[from] BrokerError),
    /// The server cannot be reached, or does not let us in.
    #[error("storage.config.redis_broker: cannot use Redis at {broker}: {error}; {}", .error.advice(.broker))]
    Link {
        /// Where it is.
        broker: Box<Broker>,
        /// What it says.
        error: LinkError,
    },
    /// The system has no thread, or no randomness.
    #[error("storage: redis: {0}")]
    Io(#[from] io::Error),
}

/// Tells whether the files that a connection over TLS takes can be used.
///
/// # Errors
/// What is wrong with one of them.
pub fn check_files(storage: &StorageConfig) -> Result<(), FileError> {
    match storage {
        StorageConfig::Redis(config) => {
            Files::of(config).map_or(Ok(()), |files| files.read().map(drop))
        }
        StorageConfig::Memory(_) => Ok(()),
    }
}

/// Tells whether Redis can be reached, lets us in, and lets us do what a start does: read, run the script that removes
/// peers, and subscribe, within the configured times; and, as far as it tells, whether it lets us write. No peer is
/// added or removed by that.
///
/// # Errors
/// Why not.
pub fn check(config: &RedisConfig) -> Result<Writes, StartError> {
    let settings = Settings::of(config)?;
    let broker = Box::new(settings.broker.clone());
    let limit = settings.login_max() + settings.read_timeout;
    let seen = within(limit, move || access::look(&settings))?;
    seen.unwrap_or(Err(LinkError::Slow)).map_err(|error| StartError::Link { broker, error })
}

/// Connects, and hears the other trackers.
fn connect(shared: &Arc<Shared>) -> io::Result<Result<(Connection, Worker), LinkError>> {
    let this = Arc::clone(shared);
    let work = move || match this.settings.connect() {
        Ok(link) => Ok(Reader::start(&this)?.map(|reader| (link, reader))),
        Err(error) => Ok(Err(error)),
    };
    within(shared.settings.login_max(), work)?.unwrap_or(Ok(Err(LinkError::Slow)))
}

/// Takes what Redis holds into the table. The connection is kept if that came to an end in time.
fn look(
    shared: &Arc<Shared>,
    mut link: Connection,
) -> io::Result<Result<(Found, Option<Connection>), LinkError>> {
    let deadline = Instant::now() + START_SYNC_MAX;
    let this = Arc::clone(shared);
    let work = move || {
        let found = Survey::new(&this).run(&mut link, &|| Instant::now() > deadline)?;
        Ok((found, Some(link)))
    };
    let limit = START_SYNC_MAX + shared.settings.read_timeout;
    Ok(within(limit, work)?.unwrap_or_else(|| Ok((Found::default(), None))))
}

/// Does some work on a thread of its own, and waits for it no longer than `limit`; `None` when it takes
/// longer. Each read has a timeout of its own, but a server that sends a byte now and then never meets it.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, is_done) = mpsc::channel();
    privileges::spawn("redis-start", move || {
        // When the time is over the result is of no use.
        let _ = done.send(work());
    })?;
    Ok(is_done.recv_timeout(limit).ok())
}

/// The connection between a table and Redis.
pub struct Replica {
    shared: Arc<Shared>,
    workers: [Worker; 3],
}

impl Replica {
    /// Connects, and fills the table with what Redis holds: before the tracker serves, so that its first
    /// clients find their peers.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub fn start(
        config: &RedisConfig,
        storage: &Arc<MemoryStorage>,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let settings = Settings::of(config)?;
        let broker = Box::new(settings.broker.clone());
        let failed = |error| StartError::Link { broker: broker.clone(), error };
        let figures = RedisMetrics::new(metrics.registry()).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            instance: getrandom::u64().map_err(io::Error::from)?,
            storage: Arc::clone(storage),
            queue: Queue::new(metrics.limit_reached("redis_queue")),
            departed: Departed::new(metrics.limit_reached("redis_departed")),
            sync_wanted: Wanted::default(),
            health: Health::new(&broker.to_string(), &figures),
            config: ArcSwap::from_pointee(config.clone()),
            metrics: figures,
            settings,
        });
        // First the messages, then what was before them: so nothing is missed in between.
        let (link, reader) = connect(&shared)?.map_err(failed)?;
        let (found, link) = look(&shared, link)?.inspect_err(|_| reader.tell()).map_err(failed)?;
        tracing::info!("Redis at {broker}: found {} peers of {} swarms", found.peers, found.swarms);
        if !found.is_complete {
            tracing::warn!("Redis at {broker}: there is more, which is fetched while serving");
            shared.sync_wanted.set();
        }
        let writer = Writer::start(&shared, link)?;
        let syncer = syncer::start(&shared)?;
        Ok(Self { shared, workers: [writer, syncer, reader] })
    }

    /// Hears announces: to be one of the pipeline's post-hooks.
    #[must_use]
    pub fn feed(&self) -> Box<dyn PostHook> {
        Box::new(feed::Feed::new(Arc::clone(&self.shared)))
    }

    /// Exchanges `peer_lifetime` and `gc_interval`. The others count at the start.
    pub fn reload(&self, config: &RedisConfig) {
        self.shared.config.store(Arc::new(config.clone()));
        let [_, syncer, _] = &self.workers;
        syncer.wake();
    }

    /// Writes what was heard last, if Redis is there, and ends.
    pub fn stop(&self) {
        let deadline = Instant::now() + STOP_MAX;
        self.workers.iter().for_each(Worker::tell);
        let ended = self.workers.iter().filter(|worker| worker.stop_until(deadline)).count();
        if ended < self.workers.len() {
            tracing::warn!("Redis does not answer: what was heard last may be missing there");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, thread};

    use super::*;

    #[test]
    fn a_redis_that_drips_does_not_hold_up_a_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // An answer without an end, of which each byte is in time.
            while stream.write_all(b"+").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let url = format!("redis://{address}");
        let config = RedisConfig {
            redis_broker: Some(serde_json::from_value(url.into()).unwrap()),
            ..RedisConfig::default()
        };
        let settings = Settings::of(&config).unwrap();
        let connected = within(Duration::from_millis(500), move || settings.connect()).unwrap();
        assert!(connected.is_none_or(|connected| connected.is_err()));
    }

    #[test]
    fn what_ends_in_time_has_its_result() {
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), Some(7));
    }
}
