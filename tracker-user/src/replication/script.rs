//! What Redis does by itself, so that nobody comes between its looking and its doing.

use redis::Cmd;

use super::schema::{Swarm, swarms_count_key};

/// Removes peers that have not announced since they were looked at, and the swarm from its list if that
/// leaves nobody.
const EXPIRE: &str = "\
local gone = 0
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
if gone > 0 then
  redis.pcall('DECRBY', KEYS[3], gone)
end
if redis.call('EXISTS', KEYS[1]) == 0 and redis.call('HDEL', KEYS[2], KEYS[1]) == 1 and ARGV[1] == '1' then
  redis.pcall('DECR', KEYS[4])
end
return gone
";

/// The command for a swarm and those of its peers, with their times, that have expired.
pub(super) fn expire(swarm: &Swarm, peers: &[(Vec<u8>, Vec<u8>)]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(EXPIRE).arg(4);
    command.arg(swarm.key()).arg(swarm.group.key());
    command.arg(swarm.count_key()).arg(swarms_count_key(swarm.group));
    command.arg(u8::from(swarm.is_seeders));
    for (field, time) in peers {
        command.arg(field).arg(time);
    }
    command
}
