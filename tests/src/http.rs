//! As much HTTP as it takes to read metrics.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::Host;

/// The body of `GET path`, asked by a client on `host`.
///
/// # Errors
/// The server cannot be reached, or does not answer 200 with text.
pub fn get(host: &Host, server: SocketAddr, path: &str) -> Result<String> {
    host.namespace.enter(|| {
        let timeout = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&server, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        // The old version keeps the answer free of chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the HTTP head")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200"), "{server} answered {status}");
        Ok(body.to_owned())
    })
}
