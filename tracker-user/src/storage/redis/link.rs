//! A connection to Redis.

use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::tls::{self, FileError, Files};
use crate::config::{Broker, BrokerError, RedisConfig};

/// When a server of which nothing is heard is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What to do about a login that fails.
const LOGIN: &str =
    "give its password as in redis://PASSWORD@HOST:PORT/DATABASE, and none if it has none";

/// What to do about a server that is spoken to in plain, and hangs up or makes no sense.
const SECURE: &str = "if it speaks TLS, write rediss:// in place of redis://";

/// What to do about one that is spoken to over TLS, and does not understand.
pub(super) const PLAIN: &str =
    "if it does not speak TLS there, write redis:// in place of rediss://";

/// What to do about one that hangs up over TLS.
const REFUSES: &str =
    "see its log: it may want a certificate, by redis_cert_path and redis_key_path";

/// What to do about a user who may not use a command or a key.
const ACCESS: &str = "give its user (ACL) the commands and keys that docs/operations.md names";

/// What Redis says of a command or a key that its user may not use.
const NO_PERMISSION: &str = "NOPERM";

/// What Redis 7.2 and Redis 7.0 say of a command within a script, with the code `ERR`.
const NO_PERMISSION_IN_SCRIPT: [&str; 2] =
    ["ACL failure in script", "The user executing the script can't run this command"];

/// What Redis says of a key that holds something else.
pub(super) const WRONG_TYPE: &str = "WRONGTYPE";

/// Where Redis is, and how long it may take.
pub(super) struct Settings {
    pub(super) broker: Broker,
    /// Where TLS is spoken.
    tls: Option<Files>,
    pub(super) read_timeout: Duration,
    write_timeout: Duration,
    connect_timeout: Duration,
}

impl Settings {
    pub(super) fn of(config: &RedisConfig) -> Result<Self, BrokerError> {
        Ok(Self {
            broker: config.broker()?,
            tls: Files::of(config),
            read_timeout: *config.redis_read_timeout,
            write_timeout: *config.redis_write_timeout,
            connect_timeout: *config.redis_connect_timeout,
        })
    }

    /// Connects and logs in. What TLS takes is exchanged before the login, and with it within
    /// `redis_connect_timeout`.
    pub(super) fn connect(&self) -> Result<Connection, LinkError> {
        let mut link = self.client()?.get_connection_with_timeout(self.connect_timeout)?;
        link.set_read_timeout(Some(self.read_timeout))?;
        link.set_write_timeout(Some(self.write_timeout))?;
        if self.broker.database != 0 {
            // Not a part of the login, where a password that is missing would read like a missing database.
            redis::cmd("SELECT").arg(self.broker.database).exec(&mut link)?;
        }
        Ok(link)
    }

    /// How long two connections, their logins and a subscription may take altogether.
    pub(super) fn login_max(&self) -> Duration {
        2 * self.connect_timeout + self.read_timeout
    }

    fn client(&self) -> Result<Client, LinkError> {
        let Broker { tls, host, port, user, password, database: _ } = &self.broker;
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let (host, port) = (host.clone(), *port);
        let address = match tls {
            false => ConnectionAddr::Tcp(host, port),
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info = address.into_connection_info()?;
        let info = info.set_redis_settings(login).set_tcp_settings(tcp);
        match &self.tls {
            None => Ok(Client::open(info)?),
            Some(files) => files.client(info),
        }
    }
}

/// Whether Redis refuses what its user may not do.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    let says = |words: &&str| error.detail().is_some_and(|detail| detail.contains(*words));
    error.code() == Some(NO_PERMISSION) || NO_PERMISSION_IN_SCRIPT.iter().any(says)
}

/// Has the connection hear the messages of a channel: by [`Connection::as_pubsub`], of which `subscribe` takes an error
/// of Redis for a success.
pub(super) fn subscribe(link: &mut Connection, channel: &str) -> Result<(), LinkError> {
    Ok(redis::cmd("SUBSCRIBE").arg(channel).exec(link)?)
}

/// What Redis refuses, or why it cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// What it says, or the way to it.
    #[error("{}", text(.0))]
    Redis(#[from] RedisError),
    /// What it takes to speak TLS.
    #[error(transparent)]
    File(#[from] FileError),
    /// It has said something again and again, and has not come to an end in time.
    #[error("it does not answer in time")]
    Slow,
}

impl LinkError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self, broker: &Broker) -> &'static str {
        let error = match self {
            Self::Redis(error) => error,
            Self::File(_) => return "then start again",
            Self::Slow => return "start it, or name another",
        };
        if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("NOAUTH") {
            return LOGIN;
        }
        if is_forbidden(error) {
            return ACCESS;
        }
        if broker.tls
            && let Some(advice) = tls::advice(error)
        {
            return advice;
        }
        let is_there = !error.is_connection_refusal();
        match (error.kind(), broker.tls) {
            (ErrorKind::Io, true) if error.is_timeout() => PLAIN,
            (ErrorKind::Io, true) if error.is_connection_dropped() && is_there => REFUSES,
            (ErrorKind::Io, false) if error.is_connection_dropped() && is_there => SECURE,
            (ErrorKind::Parse, false) => SECURE,
            (ErrorKind::Io, _) => "start it, or name another",
            _ => "see its configuration",
        }
    }

    /// Whether nothing has come in time.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_timeout())
    }
}

/// Of many commands that fail together the first is enough.
fn text(error: &RedisError) -> String {
    match error.clone().into_server_errors() {
        Some(errors) if !errors.is_empty() => errors[0].1.to_string(),
        _ if error.is_timeout() => "it does not answer in time".to_owned(),
        _ => error.to_string(),
    }
}

impl From<redis::ParsingError> for LinkError {
    fn from(error: redis::ParsingError) -> Self {
        Self::Redis(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Shutdown, TcpListener},
        thread,
        time::Instant,
    };

    use super::*;
    use crate::config::GoDuration;

    /// What comes of a connection to the listener, soon.
    fn connect(scheme: &str, listener: &TcpListener) -> (LinkError, &'static str) {
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let config = RedisConfig {
            redis_broker: Some(serde_json::from_value(url.into()).unwrap()),
            redis_connect_timeout: GoDuration::from_secs(1),
            ..RedisConfig::default()
        };
        let settings = Settings::of(&config).unwrap();
        let begun = Instant::now();
        let error = settings.connect().err().expect("nobody logs us in");
        assert!(begun.elapsed() < Duration::from_secs(10), "{error} after {:?}", begun.elapsed());
        let advice = error.advice(&settings.broker);
        (error, advice)
    }

    #[test]
    fn who_accepts_and_says_nothing_is_not_waited_for() {
        // The system accepts.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let (error, _) = connect("redis", &silent);
        assert!(error.is_timeout(), "{error}");
        let (error, advice) = connect("rediss", &silent);
        assert!(error.is_timeout(), "{error}");
        assert_eq!(advice, PLAIN);
    }

    #[test]
    fn to_who_hangs_up_or_says_something_else_the_other_scheme_is_proposed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let abrupt = listener.try_clone().unwrap();
        thread::spawn(move || {
            for stream in abrupt.incoming().flatten() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        assert_eq!(connect("redis", &listener).1, SECURE);
        assert_eq!(connect("rediss", &listener).1, REFUSES);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alien = listener.try_clone().unwrap();
        thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for mut stream in alien.incoming().flatten() {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        assert_eq!(connect("redis", &listener).1, SECURE);
        assert_eq!(connect("rediss", &listener).1, PLAIN);
    }
}
