//! Which Redis server, written as in Chihaya: `redis://[password@]host[:port][/database]`, or `rediss://` for
//! one that speaks TLS.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Redis's own.
const DEFAULT_PORT: u16 = 6379;

/// A Redis server, one of its databases, and how to log in. Displayed without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A name or an address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Who logs in; nobody is Redis's default user.
    pub user: Option<String>,
    /// How.
    pub password: Option<String>,
    /// The number of the database.
    pub database: u32,
}

/// Why a text names no server. It has no part of the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It begins otherwise.
    #[error("a server is written redis://PASSWORD@HOST:PORT/DATABASE, and with rediss:// for TLS")]
    Scheme,
    /// Nothing between the slashes.
    #[error("there is no host in it")]
    Host,
    /// What follows the host's colon.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// What follows the host's slash.
    #[error("its database is no number")]
    Database,
    /// Percent signs that lead to no text.
    #[error("its user or password is no UTF-8 when unescaped")]
    Login,
}

impl Broker {
    /// Chihaya's, where none is given.
    pub const DEFAULT: &str = "redis://myRedis@127.0.0.1:6379/0";

    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, BrokerError> {
        let (scheme, rest) = url.split_once("://").ok_or(BrokerError::Scheme)?;
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(BrokerError::Scheme),
        };
        // A password may have any character but a slash; the last `@` is before the host.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address)?;
        if host.is_empty() {
            return Err(BrokerError::Host);
        }
        let (user, password) = login.map_or(Ok((None, None)), split_login)?;
        let database = match path.trim_end_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| BrokerError::Database)?,
        };
        Ok(Self { tls, host: host.to_owned(), port, user, password, database })
    }
}

fn split_port(address: &str) -> Result<(&str, u16), BrokerError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(BrokerError::Host)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')) };
            (host, port.map(|port| port.ok_or(BrokerError::Port)).transpose()?)
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| BrokerError::Port)?;
    if port == 0 { Err(BrokerError::Port) } else { Ok((host, port)) }
}

/// `password`, as in Chihaya; `:password` and `user:password`, as in Redis's own tools.
fn split_login(login: &str) -> Result<(Option<String>, Option<String>), BrokerError> {
    let (user, password) = login.split_once(':').unwrap_or(("", login));
    let unescaped = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| BrokerError::Login)?;
        Ok((!text.is_empty()).then(|| text.into_owned()))
    };
    Ok((unescaped(user)?, unescaped(password)?))
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, database, .. } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}/{database}")?;
        } else {
            write!(f, "{host}:{port}/{database}")?;
        }
        f.write_str(if *tls { " over TLS" } else { "" })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn assert_reads(url: &str, shown: &str, user: Option<&str>, password: Option<&str>) {
        let broker = Broker::parse(url).unwrap();
        assert_eq!(broker.to_string(), shown);
        assert_eq!((broker.user.as_deref(), broker.password.as_deref()), (user, password));
    }

    #[test]
    fn chihayas_and_rediss_own_spelling_are_read() {
        assert_reads("redis://127.0.0.1", "127.0.0.1:6379/0", None, None);
        assert_reads("redis://h:1/", "h:1/0", None, None);
        assert_reads(Broker::DEFAULT, "127.0.0.1:6379/0", None, Some("myRedis"));
        assert_reads("redis://p@w@[::1]:7/3", "[::1]:7/3", None, Some("p@w"));
        assert_reads("redis://:p%2f@h/12", "h:6379/12", None, Some("p/"));
        assert_reads("redis://u:p@h", "h:6379/0", Some("u"), Some("p"));
        assert_reads("rediss://u:p@h:1/2", "h:1/2 over TLS", Some("u"), Some("p"));
        assert_reads("rediss://p@[::1]", "[::1]:6379/0 over TLS", None, Some("p"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, error) in [
            ("redisss://h", BrokerError::Scheme),
            ("rediss:h", BrokerError::Scheme),
            ("127.0.0.1:6379", BrokerError::Scheme),
            ("redis://", BrokerError::Host),
            ("redis://p@:1", BrokerError::Host),
            ("redis://[::1", BrokerError::Host),
            ("redis://h:x", BrokerError::Port),
            ("redis://h:0", BrokerError::Port),
            ("redis://[::1]7", BrokerError::Port),
            ("redis://h/x", BrokerError::Database),
            ("redis://h/-1", BrokerError::Database),
            // What a client library reads as: do not look at the certificate.
            ("rediss://h/#insecure", BrokerError::Database),
            ("redis://%ff@h", BrokerError::Login),
        ] {
            assert_eq!(Broker::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        for url in ["redis://user:secret@h", "rediss://secret@h"] {
            let broker = Broker::parse(url).unwrap();
            assert!(!format!("{broker} {broker:?}").contains("secret"), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(rediss?://)?[a-z0-9:@/%\\[\\]]{0,20}") {
            let _ = Broker::parse(&text);
        }
    }
}
