//! The server over real sockets.

use std::{
    net::{IpAddr, UdpSocket},
    sync::mpsc,
    time::Duration,
};

use arc_swap::ArcSwap;

use super::*;
use crate::{
    pipeline::{AnnounceResponse, PostHook},
    udp::{Action, Observe, UdpError, UdpServer},
};

fn pipeline_of(post_hooks: Vec<Box<dyn PostHook>>, interval_s: u32) -> Pipeline {
    Pipeline::new(Arc::new(FakeStorage::default()), Vec::new(), post_hooks, interval_s, 900)
}

fn listening(addrs: &[&str], workers: u16) -> UdpSettings {
    settings_of(config_of(addrs, workers))
}

fn config_of(addrs: &[&str], workers: u16) -> UdpConfig {
    let addr = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
    UdpConfig { addr, workers, ..UdpConfig::default() }
}

fn start(settings: UdpSettings) -> Result<UdpServer, UdpError> {
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline_of(Vec::new(), 1800)));
    UdpServer::start(settings, pipeline, Arc::new(()))
}

/// A client whose requests fail the test, rather than hang it, if they are never answered.
struct Client(UdpSocket);

impl Client {
    fn new(from: &str, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A connected socket takes replies from this address only.
        socket.connect(to).unwrap();
        Self(socket)
    }

    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        self.0.send(packet).unwrap();
        let mut reply = [0; 2048];
        let len = self.0.recv(&mut reply).expect("a reply");
        reply[..len].to_vec()
    }

    fn announce(&self) -> Vec<u8> {
        let mut packet = Announce::default().packet();
        packet[..8].copy_from_slice(&self.ask(&connect())[8..]);
        self.ask(&packet)
    }
}

/// Announces from `client` to `server`, and checks that the client is told its own address.
fn assert_served(client: &str, server: SocketAddr) {
    let reply = Client::new(client, server).announce();
    let address = match client.parse().unwrap() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    assert_eq!(reply[20..], [address, vec![26, 225]].concat(), "{client} at {server}");
}

#[test]
fn ipv4_and_ipv6_addresses_are_served_side_by_side() {
    let server = start(listening(&["127.0.0.1:0", "[::1]:0"], 1)).unwrap();
    let [v4, v6] = *server.local_addrs() else { panic!("two addresses") };
    assert_served("127.0.0.1", v4);
    assert_served("::1", v6);
    server.stop();
}

#[test]
fn an_ipv6_wildcard_serves_ipv4_clients_as_ipv4() {
    let server = start(listening(&["[::]:0"], 1)).unwrap();
    let port = server.local_addrs()[0].port();
    assert_served("127.0.0.1", ([127, 0, 0, 1], port).into());
    assert_served("::1", (std::net::Ipv6Addr::LOCALHOST, port).into());
    server.stop();
}

#[test]
fn a_reply_comes_from_the_address_that_was_asked() {
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let server = start(listening(&[wildcard], 1)).unwrap();
        let port = server.local_addrs()[0].port();
        // Left to itself, the system would answer this client from 127.0.0.1.
        assert_served("127.0.0.1", ([127, 1, 2, 3], port).into());
        server.stop();
    }
}

#[test]
fn both_wildcards_share_a_port() {
    // The port that the system chose may be taken for the other family; not many times in a row.
    let server = (0..20).find_map(|_| {
        let free = UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
        start(listening(&[&format!("0.0.0.0:{free}"), &format!("[::]:{free}")], 2)).ok()
    });
    let server = server.expect("a port that is free for both families");
    let port = server.local_addrs()[0].port();
    assert_served("127.0.0.1", ([127, 0, 0, 1], port).into());
    assert_served("::1", (std::net::Ipv6Addr::LOCALHOST, port).into());
    server.stop();
}

#[test]
fn several_workers_accept_each_other_s_connection_ids() {
    let server = start(listening(&["127.0.0.1:0"], 4)).unwrap();
    // Ports differ, so the system spreads these over the workers.
    let connected = Client::new("127.0.0.1", server.local_addrs()[0]).ask(&connect());
    let mut packet = Announce::default().packet();
    packet[..8].copy_from_slice(&connected[8..]);
    for _ in 0..32 {
        let reply = Client::new("127.0.0.1", server.local_addrs()[0]).ask(&packet);
        assert_eq!(reply[..4], action::ANNOUNCE);
    }
    server.stop();
}

#[test]
fn more_requests_than_a_batch_holds_are_all_answered() {
    const REQUESTS: u32 = 150;
    let server = start(listening(&["127.0.0.1:0"], 1)).unwrap();
    let client = Client::new("127.0.0.1", server.local_addrs()[0]);
    for transaction in 0..REQUESTS {
        let mut packet = connect();
        packet[12..].copy_from_slice(&transaction.to_be_bytes());
        client.0.send(&packet).unwrap();
    }
    let mut reply = [0; 64];
    for transaction in 0..REQUESTS {
        assert_eq!(client.0.recv(&mut reply).expect("a reply"), 16);
        assert_eq!(reply[4..8], transaction.to_be_bytes());
    }
    server.stop();
}

#[test]
fn nonsense_does_not_stop_a_worker() {
    let server = start(listening(&["127.0.0.1:0"], 1)).unwrap();
    let client = Client::new("127.0.0.1", server.local_addrs()[0]);
    for packet in [&[][..], &[0; 15], &[0xff; 3000]] {
        client.0.send(packet).unwrap();
    }
    assert_eq!(client.announce()[..4], action::ANNOUNCE);
    server.stop();
}

#[test]
fn a_new_pipeline_is_used_at_once() {
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline_of(Vec::new(), 1800)));
    let settings = listening(&["127.0.0.1:0"], 1);
    let server = UdpServer::start(settings, Arc::clone(&pipeline), Arc::new(())).unwrap();
    let client = Client::new("127.0.0.1", server.local_addrs()[0]);
    assert_eq!(client.announce()[8..12], 1800_u32.to_be_bytes());
    pipeline.store(Arc::new(pipeline_of(Vec::new(), 600)));
    assert_eq!(client.announce()[8..12], 600_u32.to_be_bytes());
    server.stop();
}

#[test]
fn new_options_are_used_at_once_and_addresses_stay() {
    let server = start(listening(&["127.0.0.1:0"], 2)).unwrap();
    let client = Client::new("127.0.0.1", server.local_addrs()[0]);
    let mut claiming = Announce { ip: vec![127, 9, 9, 9], ..Announce::default() }.packet();
    claiming[..8].copy_from_slice(&client.ask(&connect())[8..]);
    assert_eq!(client.ask(&claiming)[20..24], [127, 0, 0, 1]);
    let config = UdpConfig { allow_ip_spoofing: true, ..config_of(&["127.0.0.9:1"], 9) };
    server.reload(settings_of(config));
    assert_eq!(client.ask(&claiming)[20..24], [127, 9, 9, 9]);
    server.stop();
}

#[test]
fn post_hooks_see_announces() {
    struct Tell(mpsc::Sender<SocketAddr>);
    impl PostHook for Tell {
        fn name(&self) -> &'static str {
            "tell"
        }

        fn announced(&self, request: &AnnounceRequest, _response: &AnnounceResponse) {
            self.0.send(request.peer).unwrap();
        }
    }

    let (told, peers) = mpsc::channel();
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline_of(vec![Box::new(Tell(told))], 1800)));
    let settings = listening(&["127.0.0.1:0"], 1);
    let server = UdpServer::start(settings, pipeline, Arc::new(())).unwrap();
    Client::new("127.0.0.1", server.local_addrs()[0]).announce();
    assert_eq!(peers.recv().unwrap(), "127.0.0.1:6881".parse().unwrap());
    server.stop();
}

#[test]
fn every_datagram_is_observed() {
    type Seen = (Option<Action>, Option<IpAddr>, String, Duration);
    struct Record(Mutex<mpsc::Sender<Seen>>);
    impl Observe for Record {
        fn response(
            &self,
            action: Option<Action>,
            client: Option<IpAddr>,
            error: &str,
            time: Duration,
        ) {
            self.0.lock().unwrap().send((action, client, error.to_owned(), time)).unwrap();
        }

        fn replies_lost(&self, replies: usize) {
            panic!("{replies} lost");
        }
    }

    let (record, seen) = mpsc::channel();
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline_of(Vec::new(), 1800)));
    let settings = listening(&["[::]:0"], 1);
    let server =
        UdpServer::start(settings, pipeline, Arc::new(Record(Mutex::new(record)))).unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], server.local_addrs()[0].port()));
    let client = Client::new("127.0.0.1", to);
    client.announce();
    client.0.send(&[0; 3]).unwrap();
    let known = Some(IpAddr::from([127, 0, 0, 1]));
    for (action, client, error) in [
        (Some(Action::Connect), known, ""),
        (Some(Action::Announce), known, ""),
        (None, None, "malformed packet"),
    ] {
        let seen = seen.recv().unwrap();
        assert_eq!((seen.0, seen.1, &*seen.2), (action, client, error));
        assert_eq!(seen.3, Duration::ZERO, "not asked for");
    }
    server.stop();
}

#[test]
fn an_address_in_use_is_an_error_even_among_trackers() {
    let server = start(listening(&["127.0.0.1:0"], 2)).unwrap();
    let addr = server.local_addrs()[0].to_string();
    for workers in [1, 2] {
        let error = start(listening(&[&addr], workers)).map(drop).unwrap_err();
        let expected = format!("cannot listen on udp {addr}: another program listens there");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    server.stop();
}

#[test]
fn after_a_stop_the_address_is_free_again() {
    let server = start(listening(&["127.0.0.1:0"], 3)).unwrap();
    let addr = server.local_addrs()[0];
    server.stop();
    UdpSocket::bind(addr).unwrap();
}
