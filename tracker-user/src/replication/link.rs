//! A connection to Redis.

use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{error::LinkError, tls::Files};
use crate::config::{Broker, BrokerError, RedisConfig};

/// When a server of which nothing is heard is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

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

/// Has the connection hear the messages of a channel: by [`Connection::as_pubsub`], of which `subscribe` takes an error
/// of Redis for a success.
pub(super) fn subscribe(link: &mut Connection, channel: &str) -> Result<(), LinkError> {
    Ok(redis::cmd("SUBSCRIBE").arg(channel).exec(link)?)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Shutdown, TcpListener},
        thread,
        time::Instant,
    };

    use super::*;
    use crate::{
        config::GoDuration,
        replication::error::{PLAIN, REFUSES, SECURE},
    };

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
