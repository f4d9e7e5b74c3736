//! What tests of hooks share.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use tracker_common::{
    announce::Event,
    id::{InfoHash, PeerId},
};

use crate::pipeline::{AnnounceRequest, AnnounceResponse, Params, Pipeline, PreHook, Refusal};

/// An announce in which nothing but the torrent matters.
pub(crate) fn announce_of(info_hash: InfoHash) -> AnnounceRequest {
    AnnounceRequest {
        info_hash,
        peer_id: PeerId(*b"-TR4050-abcdefghijkl"),
        peer: ([192, 0, 2, 1], 6881).into(),
        event: Event::Started,
        left: 1,
        downloaded: 0,
        uploaded: 0,
        numwant: 50,
        seed: 0,
        interface: 0,
        params: Params::default(),
    }
}

/// What the daemon says of an announce with this hook alone.
pub(crate) fn judge(
    hook: impl PreHook + 'static,
    request: &AnnounceRequest,
) -> Result<(), Refusal> {
    Pipeline::of_hooks(vec![Box::new(hook)]).admit(request, &mut AnnounceResponse::default())
}

/// An HTTP service on loopback that answers with what it is told to, and remembers what it was asked.
pub(crate) struct Service {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    status: u16,
    /// What is answered with status 422.
    refused: Option<String>,
    answer: String,
    is_down: bool,
    bodies: Vec<String>,
}

impl Service {
    /// Runs until the test ends.
    pub(crate) fn start(answer: impl ToString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = answer.to_string();
        let state =
            State { status: 200, refused: None, answer, is_down: false, bodies: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = serve(stream, &served);
            }
        });
        Self { url, state }
    }

    pub(super) fn answer(&self, answer: impl ToString) {
        self.state.lock().unwrap().answer = answer.to_string();
    }

    pub(super) fn answer_with_status(&self, status: u16) {
        self.state.lock().unwrap().status = status;
    }

    /// From now on what contains this is answered with status 422.
    pub(super) fn refuse(&self, text: &str) {
        self.state.lock().unwrap().refused = Some(text.to_owned());
    }

    /// The bodies of all requests.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.state.lock().unwrap().bodies.clone()
    }

    /// From now on connections are closed without an answer.
    pub(crate) fn go_down(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    pub(super) fn come_back(&self) {
        self.state.lock().unwrap().is_down = false;
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut state = state.lock().unwrap();
    let body = String::from_utf8(body).unwrap();
    let is_refused = state.refused.as_ref().is_some_and(|text| body.contains(text));
    state.bodies.push(body);
    if state.is_down {
        return Ok(());
    }
    let State { status, answer, .. } = &*state;
    let (status, length) = (if is_refused { 422 } else { *status }, answer.len());
    write!(
        &stream,
        "HTTP/1.1 {status} \r\nLocation: /\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
    )
}
