//! Hooks that have to ask somebody before they can judge.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    connections::{Server, get, patient, read_reply},
    *,
};
use crate::pipeline::{Asking, Pending};

/// Asks so many times before it approves.
struct Asker {
    /// Tells the test whenever it asks; the question ends when the test drops what it is given.
    asks: mpsc::UnboundedSender<Asking>,
    times: Mutex<usize>,
}

impl PreHook for Asker {
    fn name(&self) -> &'static str {
        "asker"
    }

    fn announce(&self, _: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        let mut times = self.times.lock().unwrap();
        let Some(left) = times.checked_sub(1) else { return Ok(()) };
        *times = left;
        let (asking, pending) = Pending::new();
        self.asks.send(asking).unwrap();
        Err(Refusal::Pending(pending))
    }
}

pub(super) async fn server_that_asks(
    times: usize,
    options: HttpConfig,
) -> (Server, mpsc::UnboundedReceiver<Asking>) {
    let server = Server::start(options).await;
    let (asks, asked) = mpsc::unbounded_channel();
    let hook = Asker { asks, times: Mutex::new(times) };
    let storage = Arc::new(Swarms::default());
    let pipeline = Pipeline::new(storage, vec![Box::new(hook)], Vec::new(), 1800, 900);
    server.tracker.pipeline.store(Arc::new(pipeline));
    (server, asked)
}

#[tokio::test]
async fn a_request_waits_for_a_hook_that_has_to_ask() {
    let (server, mut asked) = server_that_asks(1, patient()).await;
    let mut client = server.connect().await;
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    let asking = asked.recv().await.unwrap();
    assert_eq!(*server.tracker.journal.responses.lock().unwrap(), []);
    drop(asking);
    assert!(read_reply(&mut client).await.contains("8:interval"));
    assert_eq!(server.tracker.journal.responses.lock().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn requests_behind_one_that_waits_are_answered_after_it() {
    let (server, mut asked) = server_that_asks(1, patient()).await;
    let mut client = server.connect().await;
    let requests = [get(&announce(1, "")), get("/missing")].concat();
    client.write_all(&requests).await.unwrap();
    drop(asked.recv().await.unwrap());
    assert!(read_reply(&mut client).await.contains("8:interval"));
    assert!(read_reply(&mut client).await.starts_with("http/1.1 404"));
    server.stop().await;
}

#[tokio::test]
async fn a_request_does_not_wait_for_ever() {
    for (times, expected) in [(4, "8:interval"), (5, "internal server error")] {
        let (server, mut asked) = server_that_asks(times, patient()).await;
        let mut client = server.connect().await;
        client.write_all(&get(&announce(1, ""))).await.unwrap();
        for _ in 0..4 {
            drop(asked.recv().await.unwrap());
        }
        let reply = read_reply(&mut client).await;
        assert!(reply.contains(expected), "{reply}");
        server.stop().await;
    }
}

#[tokio::test]
async fn no_timeout_of_the_client_s_counts_while_it_waits() {
    let hurried = GoDuration::from(Duration::from_millis(50));
    let options = HttpConfig { read_timeout: hurried, idle_timeout: hurried, ..patient() };
    let (server, mut asked) = server_that_asks(1, options).await;
    let mut client = server.connect().await;
    client.write_all(&get(&announce(1, ""))).await.unwrap();
    let asking = asked.recv().await.unwrap();
    tokio::time::sleep(2 * *hurried).await;
    drop(asking);
    assert!(read_reply(&mut client).await.contains("8:interval"));
    // But it does again afterwards.
    assert!(client.read_u8().await.is_err());
    server.stop().await;
}
