//! A Redis server, and a client of it that shares nothing with the tracker.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{Certificates, Host, Program};

/// Each host has its own loopback interface.
const PORT: u16 = 6379;

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A redis-server on a host, killed when dropped. It saves nothing.
pub struct Redis<'a> {
    host: &'a Host,
    program: Program,
}

impl<'a> Redis<'a> {
    /// Its URL for a tracker on the same host.
    pub const URL: &'static str = "redis://127.0.0.1:6379/3";

    /// The URL of one that speaks TLS.
    pub const TLS_URL: &'static str = "rediss://127.0.0.1:6379/3";

    /// The database of the URLs.
    const DATABASE: &'static str = "3";

    /// Starts one with its log in `folder`, and waits until it serves.
    ///
    /// # Errors
    /// It is not installed, or ends.
    pub fn start(host: &'a Host, folder: &Path) -> Result<Self> {
        Self::start_with(host, folder, &[])
    }

    /// The same with options of its own.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_with(host: &'a Host, folder: &Path, options: &[&str]) -> Result<Self> {
        let mut command = host.namespace.command("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &PORT.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder).args(options);
        let mut program = Program::start(&mut command, &folder.join("redis.log"))?;
        program.wait_for_output("Ready to accept connections")?;
        Ok(Self { host, program })
    }

    /// Starts one that speaks TLS, and only with those who show a certificate.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_tls(host: &'a Host, folder: &Path, certificates: &Certificates) -> Result<Self> {
        let [authority, chain, key] = [
            certificates.authority(),
            certificates.chain(Certificates::SERVER),
            certificates.key(Certificates::SERVER),
        ];
        let port = PORT.to_string();
        let options = [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-ca-cert-file", &authority],
            ["--tls-cert-file", &chain],
            ["--tls-key-file", &key],
        ];
        Self::start_with(host, folder, options.as_flattened())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// A client in the database of the URL.
    ///
    /// # Errors
    /// It does not answer.
    pub fn client(&self) -> Result<RedisClient> {
        let stream = self.host.namespace.enter(|| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            anyhow::Ok(stream)
        })?;
        let mut client = RedisClient(BufReader::new(stream));
        client.run(&["SELECT", Self::DATABASE])?;
        Ok(client)
    }
}

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A word.
    Status(String),
    /// A number.
    Number(i64),
    /// A text; none where there is nothing.
    Text(Option<Vec<u8>>),
    /// Several of these.
    List(Vec<Reply>),
}

/// A connection to a [`Redis`].
pub struct RedisClient(BufReader<TcpStream>);

impl RedisClient {
    /// Runs a command.
    ///
    /// # Errors
    /// Redis refuses it, or does not answer.
    pub fn run<T: AsRef<[u8]>>(&mut self, command: &[T]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            request.extend(format!("${}\r\n", word.as_ref().len()).bytes());
            request.extend(word.as_ref());
            request.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&request)?;
        self.read()
    }

    /// The fields of a hash and their values.
    ///
    /// # Errors
    /// As [`RedisClient::run`].
    pub fn hash(&mut self, key: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let Reply::List(texts) = self.run(&["HGETALL", key])? else { bail!("{key} is no hash") };
        let text = |reply: &Reply| match reply {
            Reply::Text(Some(text)) => Ok(text.clone()),
            other => bail!("{key} has {other:?}"),
        };
        texts.chunks(2).map(|pair| Ok((text(&pair[0])?, text(&pair[1])?))).collect()
    }

    /// A number that is kept as a text; 0 where there is none.
    ///
    /// # Errors
    /// As [`RedisClient::run`].
    pub fn number(&mut self, key: &str) -> Result<i64> {
        match self.run(&["GET", key])? {
            Reply::Text(Some(text)) => Ok(str::from_utf8(&text)?.parse()?),
            _ => Ok(0),
        }
    }

    fn read(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").context("Redis has hung up")?;
        let (kind, rest) = line.split_at_checked(1).context("an empty reply")?;
        Ok(match kind {
            "+" => Reply::Status(rest.to_owned()),
            ":" => Reply::Number(rest.parse()?),
            "$" if rest == "-1" => Reply::Text(None),
            "$" => {
                let mut text = vec![0; rest.parse::<usize>()? + 2];
                self.0.read_exact(&mut text)?;
                ensure!(text.ends_with(b"\r\n"), "a text that does not end");
                text.truncate(text.len() - 2);
                Reply::Text(Some(text))
            }
            "*" => {
                let replies = (0..rest.parse::<usize>()?).map(|_| self.read());
                Reply::List(replies.collect::<Result<_>>()?)
            }
            _ => bail!("Redis says {line}"),
        })
    }
}
