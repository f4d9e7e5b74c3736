//! What Redis lets its user do, found out before a start and without a change to the peers that it holds.

use redis::{Arg, Cmd, Connection, Value};
use tracker_common::id::InfoHash;

use super::{
    error::{LinkError, is_forbidden},
    link::{self, Settings},
    message,
    schema::{Group, Swarm, swarms_count_key},
    script, survey,
};

/// Whether the commands that write may be used. A start does not depend on it: what cannot be written is kept for later,
/// and is missing in Redis until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// All of them.
    Allowed,
    /// Not this one; what Redis says of it.
    Refused(String),
    /// Redis is older than 7.0, or its user may not ask (`ACL WHOAMI`, `ACL DRYRUN`).
    Untold,
}

/// Looks at what a start reads, and asks for what is written while a tracker runs.
pub(super) fn look(settings: &Settings) -> Result<Writes, LinkError> {
    let mut link = settings.connect()?;
    for group in Group::ALL {
        let listed = survey::scan(&mut link, group.key(), 0)?;
        survey::scan(&mut link, &some_swarm(group).key(), 0)?;
        if listed.is_some() {
            expire(&mut link, group)?;
        }
    }
    let channel = message::channel(settings.broker.database);
    let writes = writes(&mut link, &channel);
    // At the end: after it nothing else can be asked.
    link::subscribe(&mut link, &channel)?;
    Ok(writes)
}

/// A swarm of a torrent that there is not, for its keys.
fn some_swarm(group: Group) -> Swarm {
    Swarm { group, is_seeders: true, info_hash: InfoHash([0; 20]) }
}

/// Has Redis run the script by which a start removes peers that have expired: it finds none.
fn expire(link: &mut Connection, group: Group) -> Result<(), LinkError> {
    match script::expire(&some_swarm(group), &[]).exec(link) {
        Err(error) if is_forbidden(&error) => Err(error.into()),
        // A Redis that cannot write for now does not keep a tracker from its start.
        _ => Ok(()),
    }
}

fn writes(link: &mut Connection, channel: &str) -> Writes {
    let Ok(user) = redis::cmd("ACL").arg("WHOAMI").query::<String>(link) else {
        return Writes::Untold;
    };
    // In one go: a distant server is not to hold up a start.
    let mut asked = redis::pipe();
    asked.ignore_errors();
    for command in Group::ALL.into_iter().flat_map(|group| commands(group, channel)) {
        asked.cmd("ACL").arg("DRYRUN").arg(&user);
        for argument in command.args_iter() {
            if let Arg::Simple(argument) = argument {
                asked.arg(argument);
            }
        }
    }
    let Ok(answers) = asked.query::<Vec<Value>>(link) else { return Writes::Untold };
    for answer in answers {
        match answer
            .extract_error()
            .and_then(|answer| Ok(redis::from_redis_value::<String>(answer)?))
        {
            Ok(answer) if answer == "OK" => {}
            Ok(refusal) => return Writes::Refused(refusal),
            Err(_) => return Writes::Untold,
        }
    }
    Writes::Allowed
}

/// Those that change what Redis holds of a family, or tell others of it.
fn commands(group: Group, channel: &str) -> Vec<Cmd> {
    let command = |name: &str, arguments: &[&str]| {
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command
    };
    let swarm = some_swarm(group);
    let key = swarm.key();
    vec![
        command("HSET", &[&key, "peer", "0"]),
        command("HDEL", &[&key, "peer"]),
        command("HSET", &[group.key(), &key, "0"]),
        command("INCRBY", &[&swarm.count_key(), "1"]),
        command("INCRBY", &[&swarms_count_key(group), "1"]),
        command("PUBLISH", &[channel, ""]),
    ]
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::{super::check, *};
    use crate::config::RedisConfig;

    /// One command, as clients send it.
    fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
        let number = |stream: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            line.get(1..)?.trim_end().parse::<usize>().ok()
        };
        let count = number(stream)?;
        let argument = |_| {
            let length = number(stream)?;
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        (0..count).map(argument).collect()
    }

    /// What comes of a look at a Redis that answers so; the commands that are not answered succeed.
    fn look(
        answer: impl Fn(&[&str]) -> Option<&'static str> + Send + 'static,
    ) -> Result<Writes, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut commands = BufReader::new(stream.try_clone().unwrap());
            while let Some(command) = command(&mut commands) {
                let words: Vec<_> = command.iter().map(String::as_str).collect();
                let reply = answer(&words).unwrap_or(match words[..] {
                    ["HSCAN", ..] => "*2\r\n$1\r\n0\r\n*0\r\n",
                    ["SUBSCRIBE", ..] => "*3\r\n$9\r\nsubscribe\r\n$13\r\nxdp-tracker:0\r\n:1\r\n",
                    ["ACL", "WHOAMI"] => "+someone\r\n",
                    _ => "+OK\r\n",
                });
                if stream.write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let config = RedisConfig {
            redis_broker: Some(serde_json::from_value(url.into()).unwrap()),
            ..RedisConfig::default()
        };
        check(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_user_who_may_do_all_is_told_so() {
        assert_eq!(look(|_: &[&str]| None).unwrap(), Writes::Allowed);
    }

    #[test]
    fn a_command_that_a_start_needs_and_that_the_user_may_not_use_is_an_error() {
        let refused = "-NOPERM User someone has no permissions to run the 'hscan' command\r\n";
        let error =
            look(move |command: &[&str]| (command[0] == "HSCAN").then_some(refused)).unwrap_err();
        assert!(
            error.contains("'hscan'") && error.ends_with("that docs/operations.md names"),
            "{error}"
        );
        let refused = "-NOPERM User someone has no permissions to run the 'eval' command\r\n";
        let error =
            look(move |command: &[&str]| (command[0] == "EVAL").then_some(refused)).unwrap_err();
        assert!(error.contains("'eval'"), "{error}");
        // Redis 7.2, and 7.0.
        for refused in [
            "-ERR ACL failure in script: User someone has no permissions to run the 'exists' command\r\n",
            "-ERR The user executing the script can't run this command or subcommand\r\n",
        ] {
            let error = look(move |command: &[&str]| (command[0] == "EVAL").then_some(refused));
            let error = error.unwrap_err();
            assert!(error.ends_with("that docs/operations.md names"), "{error}");
        }
        // Another error passes: a start may go on with it.
        let read_only = "-READONLY You can't write against a read only replica.\r\n";
        assert!(look(move |command: &[&str]| (command[0] == "EVAL").then_some(read_only)).is_ok());
        let refused = "-NOPERM No permissions to access a channel\r\n";
        let error = look(move |command: &[&str]| (command[0] == "SUBSCRIBE").then_some(refused))
            .unwrap_err();
        assert!(error.contains("No permissions to access a channel"), "{error}");
    }

    #[test]
    fn a_command_that_writes_is_asked_for_and_not_used() {
        let refused = "$3\r\nno!\r\n";
        let is_published =
            |command: &[&str]| command.starts_with(&["ACL", "DRYRUN", "someone", "PUBLISH"]);
        assert_eq!(
            look(move |command: &[&str]| is_published(command).then_some(refused)).unwrap(),
            Writes::Refused("no!".to_owned())
        );
        let writes = ["HSET", "HDEL", "INCRBY", "PUBLISH"];
        assert!(
            look(move |command: &[&str]| writes.contains(&command[0]).then_some("-ERR used\r\n"))
                .is_ok()
        );
    }

    #[test]
    fn a_redis_that_may_not_be_asked_tells_nothing_of_writes() {
        let unknown = "-ERR unknown subcommand 'DRYRUN'\r\n";
        assert_eq!(
            look(move |command: &[&str]| (command.get(1) == Some(&"DRYRUN")).then_some(unknown))
                .unwrap(),
            Writes::Untold
        );
    }
}
