use super::*;
use crate::{
    config::Config,
    daemon::{Frontend, Tracker},
};

#[test]
fn all_frontends_stop_when_told_to() {
    let running = Running::start(
        "metrics_addr: 127.0.0.1:0\nhttp: { addr: '127.0.0.1:0' }\nudp: { addr: '127.0.0.1:0' }",
    )
    .unwrap();
    let addrs = ["metrics", "HTTP", "UDP"].map(|what| running.addr(what));
    drop(running);
    assert!(TcpStream::connect(addrs[0]).is_err() && TcpStream::connect(addrs[1]).is_err());
    UdpSocket::bind(addrs[2]).unwrap();
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let error = Running::start(&format!("http: {{ addr: '{addr}' }}")).err().unwrap();
    let message = format!("{error:#}");
    assert!(message.starts_with(&format!("http.addr: {addr}: cannot listen:")), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_in_the_runtime_of_its_embedder_is_started_and_stopped_there() {
    let mut config = Config::default();
    config.http.addr = "127.0.0.1:0".parse().ok();
    let start = |config: Config| {
        let builder = Tracker::builder().config(config);
        builder.runtime(tokio::runtime::Handle::current()).start().unwrap()
    };
    for stop in [Tracker::stop, Tracker::stop_for_restart, drop] {
        let tracker = start(config.clone());
        let http = tracker.address(Frontend::Http).unwrap();
        TcpStream::connect(http).unwrap();
        stop(tracker);
        TcpStream::connect(http).unwrap_err();
    }
}
