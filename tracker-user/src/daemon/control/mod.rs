//! The control socket: how `xdp-tracker reload` and `xdp-tracker status` find a running tracker, and how the first
//! learns what came of it.
//!
//! A client sends the line `reload` and is sent `ok` or `failed` on a line of its own, and then what
//! an operator should read. Or it sends the line `status`, as `xdp-tracker check` does, and is sent a
//! [`Status`] in JSON.

mod client;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::client::ConnectError;
use super::Report;
use crate::{config::ConfigSource, files};

pub(super) use client::{Asked, ask_status};
pub use client::{request_reload, request_status};

/// The requests there are. They are of one length.
const RELOAD: &[u8; REQUEST_BYTES] = b"reload\n";
const STATUS: &[u8; REQUEST_BYTES] = b"status\n";
const REQUEST_BYTES: usize = 7;

/// How long a client may take to send it, and to read the answer. Others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Only the user who runs the tracker may use the socket.
const MODE: u32 = 0o600;

/// Clients that may wait to be heard.
const CLIENTS_MAX: usize = 16;

/// What a running tracker holds from its start to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Status {
    /// The number of its process, as it calls itself.
    pub(super) process: u32,
    /// What it serves where: `metrics`, `HTTP`, `HTTPS` or `UDP`.
    pub(super) serves: Vec<(String, SocketAddr)>,
    /// The folder of its pins; empty where it has none.
    pub(super) pin_path: PathBuf,
    /// The configuration file that it reads at its next reload, as an absolute path; empty where it goes by the
    /// defaults.
    pub(super) config: PathBuf,
}

/// Listens, unless that was not possible. The socket's file goes with it.
pub(super) struct Control {
    listening: Option<Listening>,
    told: Arc<Told>,
}

/// What is told of a tracker.
struct Told {
    status: Status,
    /// Which file it is depends on those that there are when it is asked for.
    file: ConfigSource,
}

impl Told {
    fn status(&self) -> Status {
        Status { config: self.file.place(), ..self.status.clone() }
    }
}

/// Clients are read in a task of their own: the main loop goes on meanwhile, and loses none of them when something
/// else happens first.
struct Listening {
    path: PathBuf,
    task: JoinHandle<()>,
    clients: mpsc::Receiver<Client>,
}

impl Listening {
    fn start(listener: UnixListener, path: &Path, told: Arc<Told>) -> Self {
        let (sender, clients) = mpsc::channel(CLIENTS_MAX);
        let task = tokio::spawn(accept(listener, sender, told));
        Self { path: path.to_owned(), task, clients }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

impl Control {
    /// Listens at `path`, or says in the log why not: a tracker without it tracks no worse. It tells `status`, and that
    /// the tracker goes by `file`. To be called within a tokio runtime.
    pub(super) fn listen(path: &Path, status: Status, file: &ConfigSource) -> Self {
        Self::tell(path, Arc::new(Told { status, file: file.clone() }))
    }

    fn tell(path: &Path, told: Arc<Told>) -> Self {
        let listening = match bind(path) {
            Ok(listener) => Some(Listening::start(listener, path, Arc::clone(&told))),
            Err(error) => {
                tracing::warn!("control_socket: {}", without(path, &error));
                None
            }
        };
        Self { listening, told }
    }

    /// Listens at `path` instead, if it does not already.
    pub(super) fn follow(self, path: &Path) -> Self {
        match &self.listening {
            Some(listening) if listening.path == path => self,
            // Where it could not listen before, what prevented that may have been mended.
            _ => Self::tell(path, self.told),
        }
    }

    /// Waits for a client that asks for a reload.
    pub(super) async fn next(&mut self) -> Client {
        if let Some(listening) = &mut self.listening
            && let Some(client) = listening.clients.recv().await
        {
            return client;
        }
        std::future::pending().await
    }
}

async fn accept(listener: UnixListener, clients: mpsc::Sender<Client>, told: Arc<Told>) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let mut request = [0; REQUEST_BYTES];
                let read = timeout(PATIENCE, stream.read_exact(&mut request)).await;
                if !matches!(read, Ok(Ok(_))) {
                    continue;
                }
                if request == *RELOAD {
                    if clients.send(Client(stream)).await.is_err() {
                        return;
                    }
                } else if request == *STATUS {
                    let text = serde_json::to_vec(&told.status()).unwrap_or_default();
                    let _ = timeout(PATIENCE, stream.write_all(&text)).await;
                }
            }
            Err(error) => {
                tracing::warn!("control_socket: {error}");
                sleep(PATIENCE).await;
            }
        }
    }
}

/// Tells what keeps a tracker from listening at `path`, and changes nothing.
///
/// # Errors
/// What it is.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    // A tracker that accepts no connections now has the path all the same.
    if matches!(client::connect(path), Ok(_) | Err(ConnectError::Full)) {
        bail!("another tracker listens there; give this one a control_socket of its own");
    }
    if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        bail!("this file is no socket");
    }
    Ok(files::check_folder_of(path)?)
}

/// What a tracker that cannot listen at `path` goes without.
pub(super) fn without(path: &Path, error: &anyhow::Error) -> String {
    format!(
        "{}: {error:#}; `xdp-tracker reload` will not find this tracker, SIGUSR1 will",
        path.display()
    )
}

/// Listens at `path`. The file of a socket whose process was killed is replaced.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    check(path)?;
    if path.exists() {
        fs::remove_file(path).context("cannot take the place of a socket left behind")?;
    }
    let listener = UnixListener::bind(path).context("cannot listen")?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).context("cannot close it off")?;
    Ok(listener)
}

/// Somebody who waits for what comes of a reload.
pub(super) struct Client(UnixStream);

impl Client {
    /// Tells it. A client that has gone is no concern of ours.
    pub(super) async fn answer(mut self, report: &Report) {
        let word = if report.is_applied { "ok" } else { "failed" };
        let text = format!("{word}\n{}\n", report.lines.join("\n"));
        let _ = timeout(PATIENCE, self.0.write_all(text.as_bytes())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream as StdStream,
    };

    use super::*;
    use crate::config::{ConfigFile, UnknownKeys};
    use tempfile::TempDir;
    use tokio::task::spawn_blocking;

    fn file() -> ConfigSource {
        ConfigFile { path: Some("t.yaml".to_owned()), unknown_keys: UnknownKeys::Refuse }.into()
    }

    fn status() -> Status {
        let serves = vec![("UDP".to_owned(), "[::]:6969".parse().unwrap())];
        Status { process: 7, serves, pin_path: PathBuf::new(), config: PathBuf::new() }
    }

    fn socket() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        (folder, path)
    }

    /// What a client reads when the tracker gives this report.
    async fn answered(is_applied: bool, lines: &[&str]) -> Result<String, String> {
        let (_folder, path) = socket();
        let mut control = Control::listen(&path, status(), &file());
        let client = spawn_blocking({
            let path = path.clone();
            move || request_reload(&path)
        });
        let lines = lines.iter().map(ToString::to_string).collect();
        control.next().await.answer(&Report { is_applied, lines }).await;
        client.await.unwrap().map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_client_reads_the_report() {
        assert_eq!(answered(true, &[]).await.unwrap(), "");
        assert_eq!(answered(true, &["one", "two"]).await.unwrap(), "one\ntwo");
        let failed = answered(false, &["a: b:\n  line"]).await.unwrap_err();
        assert_eq!(failed, "the tracker's configuration stays as it was: a: b:\n  line");
    }

    #[tokio::test]
    async fn a_tracker_tells_what_it_holds() {
        let (_folder, path) = socket();
        let ask = |path: &Path| {
            let path = path.to_owned();
            spawn_blocking(move || ask_status(&path))
        };
        assert!(matches!(ask(&path).await.unwrap(), Asked::NoTracker));
        let _control = Control::listen(&path, status(), &file());
        let Asked::Answered(told) = ask(&path).await.unwrap() else { panic!("it does not tell") };
        let config = std::env::current_dir().unwrap().join("t.yaml");
        assert_eq!(told, Status { config, ..status() });
    }

    #[tokio::test]
    async fn a_tracker_that_reloads_says_that_it_serves() {
        let (_folder, path) = socket();
        let mut control = Control::listen(&path, status(), &file());
        let ask = |path: &Path| {
            let path = path.to_owned();
            spawn_blocking(move || request_status(&path))
        };
        let reload = spawn_blocking({
            let path = path.clone();
            move || request_reload(&path)
        });
        let reloading = control.next().await;
        ask(&path).await.unwrap().unwrap();
        reloading.answer(&Report { is_applied: false, lines: vec![] }).await;
        reload.await.unwrap().unwrap_err();
        drop(control);
        let error = ask(&path).await.unwrap().unwrap_err().to_string();
        assert!(error.ends_with("no tracker runs with this configuration"), "{error}");
    }

    #[tokio::test]
    async fn whoever_says_something_else_is_sent_away() {
        let (_folder, path) = socket();
        let mut control = Control::listen(&path, status(), &file());
        let stranger = spawn_blocking({
            let path = path.clone();
            move || {
                let mut stream = StdStream::connect(&path).unwrap();
                stream.write_all(b"restart").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert_eq!(answer, "");
                request_reload(&path)
            }
        });
        control.next().await.answer(&Report { is_applied: true, lines: vec![] }).await;
        stranger.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let (_folder, path) = socket();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let control = Control::listen(&path, status(), &file());
        assert!(control.listening.is_some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.starts_with("another tracker listens there"), "{error}");
        drop(control);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn it_follows_the_configuration() {
        let (_folder, path) = socket();
        let other = path.with_extension("other");
        let control = Control::listen(&path, status(), &file()).follow(&other);
        assert!(!path.exists() && other.exists());
        assert!(control.follow(&other).listening.is_some());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let (_folder, path) = socket();
        fs::write(&path, "precious").unwrap();
        assert!(Control::listen(&path, status(), &file()).listening.is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn without_a_tracker_the_socket_is_named() {
        let (_folder, path) = socket();
        let error = format!("{:#}", request_reload(&path).unwrap_err());
        assert!(
            error.ends_with("control.sock: no tracker runs with this configuration"),
            "{error}"
        );
    }
}
