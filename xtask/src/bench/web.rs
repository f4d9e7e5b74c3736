//! As much HTTP as it takes to read metrics and to look at an announce.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tracker_tests::Namespace;

/// The body of `GET path`, asked by a client on `host`.
///
/// # Errors
/// The server cannot be reached, or does not answer 200.
pub fn get(host: &Namespace, server: SocketAddr, path: &str) -> Result<Vec<u8>> {
    host.enter(|| {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.context("no end of the HTTP head")? + 4);
        ensure!(head.windows(4).any(|window| window == b" 200"), "{}", head.escape_ascii());
        Ok(body.to_vec())
    })
}
