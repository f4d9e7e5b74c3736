//! A connection to Redis.

use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::config::{Broker, BrokerError, RedisConfig};

/// When a server of which nothing is heard is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What to do about a login that fails.
const LOGIN: &str =
    "give its password as in redis://PASSWORD@HOST:PORT/DATABASE, and none if it has none";

/// What Redis says of a key that holds something else.
pub(super) const WRONG_TYPE: &str = "WRONGTYPE";

/// Where Redis is, and how long it may take.
pub(super) struct Settings {
    pub(super) broker: Broker,
    pub(super) read_timeout: Duration,
    write_timeout: Duration,
    connect_timeout: Duration,
}

impl Settings {
    pub(super) fn of(config: &RedisConfig) -> Result<Self, BrokerError> {
        Ok(Self {
            broker: config.broker()?,
            read_timeout: *config.redis_read_timeout,
            write_timeout: *config.redis_write_timeout,
            connect_timeout: *config.redis_connect_timeout,
        })
    }

    /// Connects and logs in.
    pub(super) fn connect(&self) -> Result<Connection, LinkError> {
        let Broker { host, port, user, password, database } = &self.broker;
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password);
        }
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info()?;
        let info = info.set_redis_settings(login).set_tcp_settings(tcp);
        let mut link = Client::open(info)?.get_connection_with_timeout(self.connect_timeout)?;
        link.set_read_timeout(Some(self.read_timeout))?;
        link.set_write_timeout(Some(self.write_timeout))?;
        if *database != 0 {
            // Not a part of the login, where a password that is missing would read like a missing database.
            redis::cmd("SELECT").arg(*database).exec(&mut link)?;
        }
        Ok(link)
    }
}

/// What Redis refuses, or why it cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct LinkError(#[from] RedisError);

impl LinkError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.0.kind() {
            ErrorKind::AuthenticationFailed => LOGIN,
            _ if self.0.code() == Some("NOAUTH") => LOGIN,
            ErrorKind::Io => "start it, or name another",
            _ => "see its configuration",
        }
    }

    /// Of many commands that fail together the first is enough.
    fn text(&self) -> String {
        match self.0.clone().into_server_errors() {
            Some(errors) if !errors.is_empty() => errors[0].1.to_string(),
            _ if self.0.is_timeout() => "it does not answer in time".to_owned(),
            _ => self.0.to_string(),
        }
    }

    /// Whether nothing has come in time.
    pub(super) fn is_timeout(&self) -> bool {
        self.0.is_timeout()
    }
}

impl From<redis::ParsingError> for LinkError {
    fn from(error: redis::ParsingError) -> Self {
        Self(error.into())
    }
}
