//! The commands that ask a running tracker: `reload`, `status` and `check`. None of them waits without end: the tracker
//! may be stopped, or have more clients than it listens to.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{RELOAD, STATUS, Status};

/// How long a connection may take. The system makes it, unless too many wait for the tracker to accept theirs.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a tracker may take to tell its status. Clients that ask before are heard first.
const STATUS_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest status, in bytes.
const STATUS_BYTES_MAX: u64 = 64 << 10;

/// How long a tracker may take to reload: lists of millions are read anew.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(300);

/// The longest report of a reload, in bytes.
const REPORT_BYTES_MAX: u64 = 1 << 20;

/// Why there is no connection to a tracker.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// No tracker listens there.
    #[error("no tracker runs with this configuration")]
    NoTracker,
    /// The system does not let this user.
    #[error("a tracker of another user may run; run this as that user")]
    Forbidden,
    /// The tracker does not accept connections, and the system keeps no more of them waiting.
    #[error(
        "the tracker there accepts no connections: its queue is full; is its process stopped, or does something \
         ask it all the time?"
    )]
    Full,
    /// Something else.
    #[error("cannot connect to the tracker there: {0}")]
    Io(io::Error),
}

/// What comes of a question for the status.
#[derive(Debug)]
pub(in crate::daemon) enum Asked {
    /// This.
    Answered(Status),
    /// No tracker is there.
    NoTracker,
    /// A tracker may be there; why it does not tell.
    Untold(String),
}

/// Connects to the tracker at this socket, within a second.
pub(super) fn connect(socket: &Path) -> Result<UnixStream, ConnectError> {
    let connected = SockAddr::unix(socket).and_then(|address| {
        let stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A connection waits as long as a write for its place in the queue.
        stream.set_write_timeout(Some(CONNECT_TIME_MAX))?;
        stream.connect(&address)?;
        Ok(stream.into())
    });
    connected.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            ConnectError::NoTracker
        }
        ErrorKind::PermissionDenied => ConnectError::Forbidden,
        ErrorKind::WouldBlock => ConnectError::Full,
        _ => ConnectError::Io(error),
    })
}

/// Sends a request and reads the whole answer, within `limit` altogether.
fn ask(
    mut stream: UnixStream,
    request: &[u8],
    bytes_max: u64,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let slow = || io::Error::new(ErrorKind::TimedOut, format!("nothing came within {limit:?}"));
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        // A timeout of each read alone would be met by a byte now and then.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(slow());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(slow()),
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > bytes_max {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer does not end"));
        }
    }
}

/// Has the tracker at this socket reload its configuration, and returns what it has to say. It has a second to accept
/// the connection, and five minutes to reload.
///
/// # Errors
/// When there is no tracker, when it does not answer in time, or when its configuration stays as it was.
pub fn request_reload(socket: &Path) -> anyhow::Result<String> {
    let at = || format!("control_socket: {}", socket.display());
    let stream = connect(socket).with_context(at)?;
    let answer = ask(stream, RELOAD, REPORT_BYTES_MAX, RELOAD_TIME_MAX)
        .with_context(|| format!("{}: the tracker there does not answer", at()))?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_once('\n') {
        Some(("ok", report)) => Ok(report.trim_end().to_owned()),
        Some(("failed", report)) => {
            bail!("the tracker's configuration stays as it was: {}", report.trim_end())
        }
        _ => bail!("{}: the tracker ended before it answered", at()),
    }
}

/// Asks whether a tracker serves that listens at this socket.
///
/// # Errors
/// When there is none, or when it does not accept the connection within a second and answer within 5.
pub fn request_status(socket: &Path) -> anyhow::Result<()> {
    let at = socket.display();
    match ask_status(socket) {
        Asked::Answered(_) => Ok(()),
        Asked::NoTracker => bail!("control_socket: {at}: {}", ConnectError::NoTracker),
        Asked::Untold(why) => bail!("control_socket: {at}: {why}"),
    }
}

/// Asks the tracker at this socket what it holds: a second to connect, and 5 to answer.
pub(in crate::daemon) fn ask_status(socket: &Path) -> Asked {
    let stream = match connect(socket) {
        Ok(stream) => stream,
        Err(ConnectError::NoTracker) => return Asked::NoTracker,
        Err(error) => return Asked::Untold(error.to_string()),
    };
    match ask(stream, STATUS, STATUS_BYTES_MAX, STATUS_TIME_MAX) {
        Err(error) => Asked::Untold(format!("the tracker there does not answer: {error}")),
        Ok(answer) => serde_json::from_slice(&answer).map_or_else(
            |_| {
                Asked::Untold(
                    "the tracker there is of another version, and does not tell what it holds"
                        .to_owned(),
                )
            },
            Asked::Answered,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::{super::check, *};

    /// A socket at which connections are accepted no more: as many wait as the system keeps.
    fn full() -> (TempDir, PathBuf, Vec<Socket>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let address = SockAddr::unix(&path).unwrap();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(1).unwrap();
        let mut held = vec![listener];
        for _ in 0..16 {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            match client.connect(&address) {
                Ok(()) => held.push(client),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (folder, path, held),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the queue does not fill");
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_not_waited_for() {
        let (_folder, path, _held) = full();
        let Asked::Untold(why) = ask_status(&path) else { panic!("it answers") };
        assert!(why.contains("its queue is full"), "{why}");
        for error in [request_status(&path).unwrap_err(), request_reload(&path).unwrap_err()] {
            let text = format!("{error:#}");
            assert!(text.starts_with("control_socket: ") && text.contains(&why), "{text}");
        }
        // A start finds the place taken, and goes on without.
        let error = check(&path).unwrap_err().to_string();
        assert!(error.starts_with("another tracker listens there"), "{error}");
    }

    #[test]
    fn an_answer_that_drips_is_given_up_at_the_deadline() {
        let (stream, mut server) = UnixStream::pair().unwrap();
        let dripping = std::thread::spawn(move || {
            let gap = Duration::from_millis(20);
            while server.write_all(b"x").is_ok() {
                std::thread::sleep(gap);
            }
        });
        let error = ask(stream, STATUS, STATUS_BYTES_MAX, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        dripping.join().unwrap();
    }
}
