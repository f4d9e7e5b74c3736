//! As much HTTP as it takes to read metrics and to look at an announce.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
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
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        ensure!(line.contains(" 200"), "{server} answered {line}");
        // Not everybody closes the connection that was asked to.
        let mut length = u64::MAX;
        while line != "\r\n" {
            line.clear();
            ensure!(stream.read_line(&mut line)? > 0, "no end of the HTTP head");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = Vec::new();
        stream.take(length).read_to_end(&mut body)?;
        Ok(body)
    })
}
