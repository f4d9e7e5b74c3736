//! As much HTTP as it takes to read metrics and to announce.

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
/// The server cannot be reached, or does not answer 200.
pub fn get(host: &Host, server: SocketAddr, path: &str) -> Result<Vec<u8>> {
    host.namespace.enter(|| {
        let timeout = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&server, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        // The old version keeps the answer free of chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(end.context("no end of the HTTP head")? + 4);
        let head = String::from_utf8(answer)?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200"), "{server} answered {status}");
        Ok(body)
    })
}
