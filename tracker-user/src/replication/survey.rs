//! One look at all that Redis holds: the table gets what it has missed, Redis loses what has expired.

use std::{thread, time::Duration};

use redis::{Connection, Value};

use super::{
    error::LinkError,
    link::WRONG_TYPE,
    message::age,
    schema::{self, Group, Swarm},
    script,
    shared::Shared,
};
use crate::clock::wall_ns;

/// Swarms that are asked for at a time.
const SWARMS: usize = 64;

/// Fields that a command should return. Redis returns small hashes as a whole.
const FIELDS: usize = 512;

/// How often a table that makes room is looked at, and how often at most: it may be full.
const ROOM_PAUSE: Duration = Duration::from_millis(1);
const ROOM_PAUSES: u32 = 1000;

/// Fields and values of a hash.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Seeders and leechers of a torrent count apart.
    pub(super) swarms: u64,
    pub(super) peers: u64,
    pub(super) is_complete: bool,
}

/// The look.
pub(super) struct Survey<'a> {
    shared: &'a Shared,
    found: Found,
}

impl<'a> Survey<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, found: Found::default() }
    }

    /// Looks at everything, or until it is over.
    pub(super) fn run(
        mut self,
        link: &mut Connection,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Found, LinkError> {
        self.shared.departed.begin();
        let walked = self.walk(link, is_over);
        self.shared.departed.end();
        self.found.is_complete = walked?;
        if self.found.is_complete {
            self.shared.metrics.synced_at.set((wall_ns() / 1_000_000_000) as i64);
        }
        Ok(self.found)
    }

    /// Returns whether it came to the end.
    fn walk(
        &mut self,
        link: &mut Connection,
        is_over: &dyn Fn() -> bool,
    ) -> Result<bool, LinkError> {
        for group in Group::ALL {
            let mut cursor = 0;
            loop {
                let Some((next, listed)) = scan(link, group.key(), cursor)? else {
                    self.pass_over(group);
                    break;
                };
                let swarms: Vec<_> =
                    listed.iter().filter_map(|(key, _)| self.swarm(group, key)).collect();
                for swarms in swarms.chunks(SWARMS) {
                    if !self.swarms(link, swarms, is_over)? {
                        return Ok(false);
                    }
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
                if is_over() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The list of a group's swarms is no hash: another program has that key.
    fn pass_over(&self, group: Group) {
        self.shared.metrics.malformed.inc();
        tracing::error!(
            "storage.config.redis_broker: the key `{}` of Redis is no hash, so its swarms are not read: \
             delete it, or choose another database",
            group.key()
        );
    }

    fn swarm(&self, group: Group, key: &[u8]) -> Option<Swarm> {
        let swarm = Swarm::parse(key).filter(|swarm| swarm.group == group);
        if swarm.is_none() {
            self.shared.metrics.malformed.inc();
        }
        swarm
    }

    /// All peers of a few swarms: some of each at a time, until none has more. Returns whether it came to
    /// the end.
    fn swarms(
        &mut self,
        link: &mut Connection,
        swarms: &[Swarm],
        is_over: &dyn Fn() -> bool,
    ) -> Result<bool, LinkError> {
        self.found.swarms += swarms.len() as u64;
        let mut cursors: Vec<_> = swarms.iter().map(|swarm| (*swarm, 0)).collect();
        while !cursors.is_empty() {
            if is_over() {
                return Ok(false);
            }
            let mut pipeline = redis::pipe();
            pipeline.ignore_errors();
            for (swarm, cursor) in &cursors {
                pipeline.cmd("HSCAN").arg(swarm.key()).arg(*cursor).arg("COUNT").arg(FIELDS);
            }
            let replies: Vec<Value> = pipeline.query(link)?;
            let mut expired = redis::pipe();
            let mut more = Vec::new();
            for ((swarm, _), reply) in cursors.iter().zip(replies) {
                if is_of_wrong_type(&reply) {
                    self.shared.metrics.malformed.inc();
                    continue;
                }
                let (next, peers): (u64, Pairs) = redis::from_redis_value(reply.extract_error()?)?;
                let is_empty = peers.is_empty();
                let old = self.merge(swarm, peers);
                if !old.is_empty() || is_empty {
                    expired.add_command(script::expire(swarm, &old)).ignore();
                }
                if next != 0 {
                    more.push((*swarm, next));
                }
            }
            if !expired.is_empty() {
                expired.query::<()>(link)?;
            }
            self.wait_for_room();
            cursors = more;
        }
        Ok(true)
    }

    /// Returns the peers that have expired.
    fn merge(&mut self, swarm: &Swarm, peers: Pairs) -> Pairs {
        let now_ns = wall_ns();
        let lifetime = *self.shared.config.load().peer_lifetime;
        let lifetime_ns = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        let mut old = Vec::new();
        for (field, time) in peers {
            let read = schema::parse_field(swarm.group, &field).zip(schema::parse_time(&time));
            let Some((peer, at_ns)) = read else {
                self.shared.metrics.malformed.inc();
                continue;
            };
            if now_ns.saturating_sub(at_ns) > lifetime_ns {
                old.push((field, time));
                continue;
            }
            if at_ns.saturating_sub(now_ns) > lifetime_ns {
                // It would not expire here. Whose clock is wrong is not known.
                self.shared.metrics.malformed.inc();
                continue;
            }
            self.found.peers += 1;
            self.shared.departed.unless_gone(&(swarm.info_hash, peer), || {
                // Rounded up: what was announced later must not look earlier.
                let age = age(at_ns, now_ns).saturating_add(1);
                self.shared.storage.merge(&swarm.info_hash, peer, swarm.is_seeders, age);
            });
        }
        old
    }

    /// A table that the kernel shares makes room later, and only so much may wait for it.
    fn wait_for_room(&self) {
        for _ in 0..ROOM_PAUSES {
            if !self.shared.storage.makes_room() {
                break;
            }
            thread::sleep(ROOM_PAUSE);
        }
    }
}

/// Whether the key is none of ours or Chihaya's.
fn is_of_wrong_type(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.code() == WRONG_TYPE)
}

/// Some fields of a hash, and where the next ones are; `None` where the key holds something else.
pub(super) fn scan(
    link: &mut Connection,
    key: &str,
    cursor: u64,
) -> Result<Option<(u64, Pairs)>, LinkError> {
    let mut command = redis::cmd("HSCAN");
    match command.arg(key).arg(cursor).arg("COUNT").arg(FIELDS).query(link) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(WRONG_TYPE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
